"""Properties from VNN-LIB files: input boxes, and the outputs that are unsafe there.

A file declares real constants ``X_i`` (inputs) and ``Y_i`` (outputs) and asserts formulas in the notation of SMT-LIB;
all assertions together describe the counter-examples. Read here are ``and``, ``or`` and comparisons of linear terms
of the inputs, or of the outputs. Strict comparisons are read as their closures, ``<`` as ``<=``: ties are unsafe, so
what is proved is a little more than what is asked.

Forms are evaluated as their parentheses close, innermost first, so that nesting may be of any depth: a term becomes
its coefficients, a formula its disjunctive normal form. Few lines can ask for very much of that: the work is counted.
"""

import math
import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import numpy as np

from archrepair_jax.errors import InputError
from archrepair_jax.regions.properties import Property, make_property

TOKEN = re.compile(r";.*|[()]|[^\s();]+")
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
VARIABLE = re.compile(r"([XY])_(0|[1-9]\d{0,8})", re.ASCII)
COMPARISONS = ("<=", "<", ">=", ">")
SHOWN = 40  # characters of a token in an error
LIMIT = 10_000  # alternatives in a normal form; each is bounded and searched on its own
WORK = 5_000_000  # coefficients, ends and half-spaces gone through to get there: some seconds, and 300 MB at most
NUMBERS = 2**24  # in the arrays of a property, which are as large for all regions as for the largest


class Alternative(NamedTuple):
    """A conjunction: an input box, and half-spaces of the outputs.

    Attributes:
        ends: X_i is at most ``ends[i]``, and -X_i at most ``ends[~i]``.
        spaces: each is the coefficients of some outputs, by number, and what the sum of these is at most.
    """

    ends: dict[int, float]
    spaces: tuple[tuple[dict[int, float], float], ...]

    @property
    def size(self) -> int:
        return 1 + len(self.ends) + len(self.spaces)


class Symbol(NamedTuple):
    line: int
    text: str


class Term(NamedTuple):
    """A linear term: coefficients by variable, the constant under the empty name."""

    line: int
    coefficients: dict[str, float]


class Formula(NamedTuple):
    """A disjunction of alternatives."""

    line: int
    alternatives: list[Alternative]


Value = Symbol | Term | Formula


def read_vnnlib(path: str | os.PathLike, inputs: int, outputs: int) -> Property:
    """The property of a VNN-LIB file for a network of so many inputs and outputs; alternatives share equal boxes.

    Raises InputError, with the line and what was expected there, for a file that is not of this form, does not fit
    the network, leaves an input without bounds or the outputs without a constraint, or is too long when written out.
    """
    script = Script(path, inputs, outputs)
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); check the path") from error
    script.run(text)
    last = text.rstrip().count("\n") + 1
    regions: dict[tuple[float, ...], list] = {}
    for ends, spaces in script.alternatives(last):
        regions.setdefault(tuple(ends[i] for i in range(-inputs, inputs)), []).append(spaces)
    most = max(map(len, regions.values())) * max(len(spaces) for unsafe in regions.values() for spaces in unsafe)
    if len(regions) * (2 * inputs + most * (outputs + 1)) > NUMBERS:
        script.fail(last, f"expected regions that fit in {NUMBERS} numbers, found more: split the file")
    return make_property(
        [(box(ends), [half_spaces(one, outputs) for one in unsafe]) for ends, unsafe in regions.items()]
    )


def box(ends: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a box, out of its ``ends`` from the last input's lower one to the last input's upper one."""
    below, above = np.array(ends).reshape(2, -1)
    return 0.0 - below[::-1], above + 0.0  # no negative zeros


def half_spaces(spaces: tuple[tuple[dict[int, float], float], ...], outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Their matrix [M, K] and bounds [M]."""
    matrix = np.zeros((len(spaces), outputs))
    for row, (coefficients, _) in zip(matrix, spaces, strict=True):
        row[list(coefficients)] = list(coefficients.values())
    return matrix, np.array([bound for _, bound in spaces])


def tokens(text: str) -> Iterator[Symbol]:
    """Parentheses and names with their lines, comments left out."""
    for number, line in enumerate(text.split("\n"), 1):
        yield from (Symbol(number, token) for token in TOKEN.findall(line) if not token.startswith(";"))


class Script:
    """What a file has declared and asserted so far."""

    def __init__(self, path: str | os.PathLike, inputs: int, outputs: int):
        self.path = path
        self.sizes = {"X": inputs, "Y": outputs}
        self.declared: dict[str, int] = {}  # the line of each variable's declaration
        self.asserted: list[Formula] = []
        self.work = 0

    def fail(self, line: int, message: str) -> NoReturn:
        raise InputError(f"{self.path}, line {line}: {message}")

    def run(self, text: str) -> None:
        """Evaluates every form of the file."""
        forms: list[tuple[int, list[Value]]] = []  # those that are open, with their lines
        for token in tokens(text):
            if token.text == "(":
                forms.append((token.line, []))
            elif not forms:
                self.fail(token.line, f"expected an opening parenthesis, found {token.text[:SHOWN]!r}")
            elif token.text != ")":
                forms[-1][1].append(token)
            else:
                line, items = forms.pop()
                if forms:
                    forms[-1][1].append(self.value(line, items))
                else:
                    self.command(line, items)
        if forms:
            self.fail(forms[-1][0], "expected a closing parenthesis for the one opened here, found the end of the file")

    def command(self, line: int, items: list[Value]) -> None:
        """A form of the outermost level."""
        name, arguments = self.split(line, items)
        if name == "declare-const":
            self.declare(line, arguments)
        elif name == "assert" and len(arguments) == 1:
            self.asserted.append(Formula(line, self.formula(arguments[0]).alternatives))
        else:
            self.fail(line, f"expected (declare-const NAME Real) or (assert FORMULA), found {name[:SHOWN]!r}")

    def declare(self, line: int, arguments: list[Value]) -> None:
        name, *sort = (value.text if isinstance(value, Symbol) else "" for value in arguments or [Symbol(line, "")])
        match = VARIABLE.fullmatch(name)
        if not match or sort != ["Real"]:
            self.fail(line, "expected (declare-const X_i Real) or (declare-const Y_i Real)")
        if int(match[2]) >= self.sizes[match[1]]:
            self.fail(line, f"expected {self.extent(match[1])}, found {name[:SHOWN]}")
        if name in self.declared:
            self.fail(line, f"{name} is declared already, on line {self.declared[name]}")
        self.declared[name] = line

    def extent(self, kind: str) -> str:
        """How many variables of a kind the network has, in words."""
        count = self.sizes[kind]
        return f"the network's {count} {'inputs' if kind == 'X' else 'outputs'}, {kind}_0 to {kind}_{count - 1}"

    def split(self, line: int, items: list[Value]) -> tuple[str, list[Value]]:
        if not items or not isinstance(items[0], Symbol):
            self.fail(line, "expected a name after the opening parenthesis")
        return items[0].text, items[1:]

    def value(self, line: int, items: list[Value]) -> Value:
        """The value of an inner form."""
        name, arguments = self.split(line, items)
        if name in ("assert", "declare-const"):
            self.fail(line, f"{name} stands inside another form: expected a closing parenthesis before it")
        if name not in ("and", "or", "+", "-", "*", *COMPARISONS):
            self.fail(line, f"expected one of and, or, <=, <, >=, >, +, -, *, found {name[:SHOWN]!r}")
        if not arguments:
            self.fail(line, f"expected something for {name} to apply to, found nothing")
        if name in ("and", "or"):
            formulas = [self.formula(value) for value in arguments]
            if len(formulas) == 1:
                return Formula(line, formulas[0].alternatives)
            return Formula(line, self.conjoin(formulas) if name == "and" else self.disjoin(line, formulas))
        terms = [self.term(value) for value in arguments]
        self.spend(line, sum(len(term.coefficients) for term in terms))
        if name in COMPARISONS:
            return Formula(line, [self.compare(line, name, terms)])
        return Term(line, self.product(line, terms) if name == "*" else linear_sum(terms, -1 if name == "-" else 1))

    def term(self, value: Value) -> Term:
        """A number, variable or term as a term."""
        if isinstance(value, Formula):
            self.fail(value.line, "expected a number, variable or linear term, found a formula")
        if isinstance(value, Term):
            return value
        if NUMBER.fullmatch(value.text):
            return Term(value.line, {"": float(value.text)})
        if value.text not in self.declared:
            self.fail(value.line, f"expected a number or a declared variable, found {value.text[:SHOWN]!r}")
        return Term(value.line, {value.text: 1.0})

    def formula(self, value: Value) -> Formula:
        if not isinstance(value, Formula):
            self.fail(value.line, "expected a comparison, an and or an or, found a term")
        return value

    def product(self, line: int, terms: list[Term]) -> dict[str, float]:
        scale = math.prod(factor[""] for _, factor in terms if set(factor) == {""})
        varying = [factor for _, factor in terms if set(factor) != {""}] or [{"": 1.0}]
        if len(varying) > 1:
            self.fail(line, "expected a product with at most one factor that is no number: it is not linear")
        return {name: scale * value for name, value in varying[0].items()}

    def compare(self, line: int, name: str, terms: list[Term]) -> Alternative:
        """One comparison: a bound of an input, or a half-space of the outputs."""
        if len(terms) != 2:
            self.fail(line, f"expected two terms to compare, found {len(terms)}")
        difference = linear_sum(terms if name in ("<=", "<") else terms[::-1], -1)  # at most zero
        if not all(map(math.isfinite, difference.values())):
            self.fail(line, "expected finite numbers, found one too large")
        bound = -difference.pop("", 0.0)
        used = {name: value for name, value in difference.items() if value}
        kinds = {name[0] for name in used}
        if len(kinds) != 1:
            self.fail(line, f"expected a comparison of inputs or of outputs, found {'both' if kinds else 'neither'}")
        if kinds == {"Y"}:
            return Alternative({}, (({int(name[2:]): value for name, value in used.items()}, bound),))
        if len(used) > 1:
            self.fail(
                line, f"expected one input and a number, found {' and '.join([*used][:2])}: only boxes are supported"
            )
        ((only, coefficient),) = used.items()
        i = int(only[2:])
        return Alternative({i if coefficient > 0 else ~i: bound / abs(coefficient)}, ())

    def conjoin(self, formulas: list[Formula]) -> list[Alternative]:
        """All choices of one alternative from each formula, without those whose boxes are empty.

        Nothing left is an error of the formula that leaves nothing. Formulas without a choice come first, so that the
        bounds of a long box are merged once.
        """
        ends: dict[int, float] = {}
        spaces: list = []
        for line, (one,) in (formula for formula in formulas if len(formula.alternatives) == 1):
            self.spend(line, one.size)
            if (i := narrow(ends, one.ends)) is not None:
                self.refuse_box(line, ends, i)
            spaces += one.spaces
        together = [Alternative(ends, tuple(spaces))]
        for line, alternatives in (formula for formula in formulas if len(formula.alternatives) > 1):
            self.check_count(line, len(together) * len(alternatives))
            for one, other in ((together, alternatives), (alternatives, together)):
                self.spend(line, len(one) * sum(alternative.size for alternative in other))
            merged = [merge(one, other) for one in together for other in alternatives]
            together = [one for one, empty in merged if empty is None]
            if not together:
                self.refuse_box(line, merged[0][0].ends, merged[0][1])
        return together

    def disjoin(self, line: int, formulas: list[Formula]) -> list[Alternative]:
        """The alternatives of all formulas."""
        count = sum(len(formula.alternatives) for formula in formulas)
        self.check_count(line, count)
        self.spend(line, count)
        return [one for formula in formulas for one in formula.alternatives]

    def refuse_box(self, line: int, ends: dict[int, float], i: int) -> NoReturn:
        low, high = 0.0 - ends[~i], ends[i]
        self.fail(line, f"expected a box, but with this X_{i} would go from {low} to {high}: it is empty")

    def check_count(self, line: int, count: int) -> None:
        if count > LIMIT:
            self.fail(line, f"expected at most {LIMIT} alternatives, found {count}: split the file")

    def spend(self, line: int, work: int) -> None:
        self.work += work
        if self.work > WORK:
            self.fail(line, "expected a file that is shorter when it is written out as alternatives: split it")

    def alternatives(self, line: int) -> list[Alternative]:
        """All that was asserted, in normal form, complete; ``line`` is the file's last, named for what is missing."""
        for kind, size in self.sizes.items():
            missing = [name for name in (f"{kind}_{i}" for i in range(size)) if name not in self.declared]
            if missing:
                self.fail(line, f"expected {self.extent(kind)}, found no declaration of {missing[0]}")
        alternatives = self.conjoin(self.asserted)
        inputs = range(self.sizes["X"])
        for ends, spaces in alternatives:
            for place in (*(~i for i in inputs), *inputs):
                if not math.isfinite(ends.get(place, math.inf)):
                    name, side = f"X_{max(place, ~place)}", "lower" if place < 0 else "upper"
                    self.fail(
                        self.declared[name], f"expected bounds of {name} in every alternative, found no {side} one"
                    )
            if not spaces:
                self.fail(line, "expected a constraint of the outputs in every alternative, found one without")
        return alternatives


def linear_sum(terms: list[Term], sign: int) -> dict[str, float]:
    """The sum of all terms; with ``sign`` -1 the first less the others, or the negative of a single one."""
    first = sign if len(terms) == 1 else 1
    total: dict[str, float] = {}
    for position, (_, coefficients) in enumerate(terms):
        for name, value in coefficients.items():
            total[name] = total.get(name, 0.0) + (sign if position else first) * value
    return total


def narrow(ends: dict[int, float], others: dict[int, float]) -> int | None:
    """Cuts a box to where other ends hold too, in place; stops at an input of which nothing is left, and returns it."""
    for place, end in others.items():
        ends[place] = min(end, ends.get(place, math.inf))
        if ends[place] < -ends.get(~place, math.inf):
            return max(place, ~place)
    return None


def merge(one: Alternative, other: Alternative) -> tuple[Alternative, int | None]:
    """Both at once, and an input of which that leaves nothing, if there is one."""
    ends = dict(one.ends)
    empty = narrow(ends, other.ends)
    return Alternative(ends, one.spaces + other.spaces), empty
