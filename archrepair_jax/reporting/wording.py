"""Numbers and names in words."""

from collections.abc import Mapping, Sequence
from typing import Any

CHANGES = {
    "replaced": "a new branch of {block}",
    "inserted": "a new block in front of {before}",
    "scaled": "a factor for each channel behind {block}",
}


def percent(share: float | None, digits: int = 1) -> str:
    """``0.313`` as ``31.3 %``; ``-`` where it is not known."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def interval(ends: Sequence[float], digits: int = 1) -> str:
    """``[28.1, 34.6]``, in percent."""
    return f"[{', '.join(f'{100 * end:.{digits}f}' for end in ends)}]"


def with_interval(share: float | None, ends: Sequence[float] | None) -> str:
    """``31.3 % [28.1, 34.6]``."""
    return percent(share) + (f" {interval(ends)}" if share is not None and ends else "")


def points(difference: float | None) -> str:
    """A difference of two shares, in percentage points with its sign."""
    return "-" if difference is None else f"{100 * difference:+.2f}"


def points_with_interval(difference: Mapping[str, float] | None, unit: str = "") -> str:
    """The same with its ends: ``+2.00 [+1.00, +3.00]``."""
    if difference is None:
        return "-"
    return f"{points(difference['value'])}{unit} [{points(difference['low'])}, {points(difference['high'])}]"


def count(number: int, noun: str = "") -> str:
    """``4188`` as ``4,188``, and with a noun as ``4,188 boxes``."""
    plural = ("es" if noun.endswith("x") else "s") if noun and number != 1 else ""
    return f"{number:,} {noun}{plural}".rstrip()


def title(name: str) -> str:
    """``fine_tune_block`` as ``fine tune block``."""
    return name.replace("_", " ")


def label(arm: Mapping[str, Any]) -> str:
    """An arm's name in tables and figures."""
    return title(arm["name"]) + " (repair)" * (arm["role"] == "repair")


def duration(seconds: float) -> str:
    """``3723`` as ``1:02:03``; without hours ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def seconds(clock: Mapping[str, Any]) -> str:
    """``1.2 s (compilation 0.4 s)``."""
    return f"{clock['seconds']:.1f} s (compilation {clock['compile_seconds']:.1f} s)"


def because(told: Mapping[str, Any]) -> str:
    """The reason of a decision, where one is given."""
    return f" ({told['reason']})" if told["reason"] else ""


def change(edit: Mapping[str, Any]) -> str:
    """What an edit does to the architecture."""
    return CHANGES[edit["kind"]].format(**edit)


def arrow(edge: str, nodes: int) -> str:
    """``0->1`` as ``input → node 1``."""
    return " → ".join(place(int(node), nodes) for node in edge.split("->"))


def place(node: int, nodes: int) -> str:
    """What a node of a found block is called."""
    return {0: "input", nodes - 1: "output"}.get(node, f"node {node}")
