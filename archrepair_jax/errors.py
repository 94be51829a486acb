"""The one exception that is the user's to mend, and the two checks that most settings need."""

import difflib
import math
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: the message is one line that says what is wrong and what to do. The command line exits with 2."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))  # what is quoted from a file may have several


def one_of(name: str, values: Iterable, allowed: Iterable) -> None:
    """Raises InputError, with the nearest name there is, for a value that is not allowed or comes twice."""
    values, allowed = list(values), list(allowed)
    for place, value in enumerate(values):
        if value not in allowed:
            near = difflib.get_close_matches(str(value), map(str, allowed), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"{name} cannot hold {value!r}: {hint}choose from {', '.join(map(str, allowed))}")
        if value in values[:place]:
            raise InputError(f"{name} holds {value!r} twice: leave one out")


def within(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raises InputError for a number that is not finite or out of its range, both ends being allowed."""
    if not (math.isfinite(value) and low <= value <= high):
        bounds = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise InputError(f"{name}={value} is out of range: take a number {bounds}")
