"""Properties from VNN-LIB files: input boxes, and the outputs that are unsafe there.

A file declares real constants ``X_i`` (inputs) and ``Y_i`` (outputs) and asserts formulas in the notation of SMT-LIB;
all assertions together describe the counter-examples. Read here are ``and``, ``or`` and comparisons of linear terms
of the inputs, or of the outputs. Strict comparisons are read as their closures, ``<`` as ``<=``: ties are unsafe, so
what is proved is a little more than what is asked.

Forms are evaluated as their parentheses close, innermost first, so that nesting may be of any depth: a term becomes
its coefficients, a formula its disjunctive normal form.
"""

import math
import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float

from archrepair_jax.errors import InputError
from archrepair_jax.regions.properties import Property, make_property

TOKEN = re.compile(r";.*|[()]|[^\s();]+")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
VARIABLE = re.compile(r"([XY])_(0|[1-9]\d*)", re.ASCII)
COMPARISONS = ("<=", "<", ">=", ">")
SHOWN = 40  # characters of a token in an error
LIMIT = 10_000  # alternatives in a normal form; each is bounded and searched on its own


class Alternative(NamedTuple):
    """A conjunction: an input box, and half-spaces ``row @ y <= bound`` of the outputs."""

    lower: Float[np.ndarray, "D"]
    upper: Float[np.ndarray, "D"]
    spaces: tuple[tuple[Float[np.ndarray, "K"], float], ...]


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
    the network, or leaves an input without bounds or the outputs without a constraint.
    """
    script = Script(path, inputs, outputs)
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); check the path") from error
    script.run(text)
    regions = {}
    for lower, upper, spaces in script.alternatives(line=text.rstrip().count("\n") + 1):
        _, unsafe = regions.setdefault((lower.tobytes(), upper.tobytes()), ((lower, upper), []))
        unsafe.append((np.stack([row for row, _ in spaces]), np.array([bound for _, bound in spaces])))
    return make_property(list(regions.values()))


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
        if name == "and":
            return Formula(line, self.conjoin([self.formula(value) for value in arguments]))
        if name == "or":
            alternatives = [one for value in arguments for one in self.formula(value).alternatives]
            self.check_count(line, len(alternatives))
            return Formula(line, alternatives)
        terms = [self.term(value) for value in arguments]
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
        result = {"": 1.0}
        for _, factor in terms:
            if set(result) != {""} and set(factor) != {""}:
                self.fail(line, "expected a product with at most one factor that is no number: it is not linear")
            result = {a or b: x * y for a, x in result.items() for b, y in factor.items()}
        return result

    def compare(self, line: int, name: str, terms: list[Term]) -> Alternative:
        """One comparison: a bound of an input, or a half-space of the outputs."""
        if len(terms) != 2:
            self.fail(line, f"expected two terms to compare, found {len(terms)}")
        difference = linear_sum(terms if name in ("<=", "<") else terms[::-1], -1)  # at most zero
        if not all(map(math.isfinite, difference.values())):
            self.fail(line, "expected finite numbers, found one too large")
        bound = -difference.pop("", 0.0) + 0.0  # no negative zero: equal boxes are to have equal bytes
        used = {name: value for name, value in difference.items() if value}
        kinds = {name[0] for name in used}
        if len(kinds) != 1:
            self.fail(line, f"expected a comparison of inputs or of outputs, found {'both' if kinds else 'neither'}")
        lower, upper = (np.full(self.sizes["X"], end) for end in (-np.inf, np.inf))
        if kinds == {"Y"}:
            row = np.zeros(self.sizes["Y"])
            for output, coefficient in used.items():
                row[int(output[2:])] = coefficient
            return Alternative(lower, upper, ((row, bound),))
        if len(used) > 1:
            self.fail(line, f"expected one input and a number, found {' and '.join(used)}: only boxes are supported")
        ((only, coefficient),) = used.items()
        (upper if coefficient > 0 else lower)[int(only[2:])] = bound / coefficient + 0.0
        return Alternative(lower, upper, ())

    def conjoin(self, formulas: list[Formula]) -> list[Alternative]:
        """All choices of one alternative from each formula, without those whose boxes are empty.

        Nothing left is an error of the formula that leaves nothing. Formulas without a choice come first, so that the
        bounds of a long box are merged once.
        """
        together = [Alternative(*(np.full(self.sizes["X"], end) for end in (-np.inf, np.inf)), ())]
        for line, alternatives in sorted(formulas, key=lambda formula: len(formula.alternatives) > 1):
            self.check_count(line, len(together) * len(alternatives))
            merged = [merge(one, other) for one in together for other in alternatives]
            together = [one for one in merged if (one.lower <= one.upper).all()]
            if not together:
                i = int(np.argmax(merged[0].lower > merged[0].upper))
                low, high = merged[0].lower[i], merged[0].upper[i]
                self.fail(line, f"expected a box, but with this X_{i} would go from {low} to {high}: it is empty")
        return together

    def check_count(self, line: int, count: int) -> None:
        if count > LIMIT:
            self.fail(line, f"expected at most {LIMIT} alternatives, found {count}: split the file")

    def alternatives(self, line: int) -> list[Alternative]:
        """All that was asserted, in normal form, complete; ``line`` is the file's last, named for what is missing."""
        for kind, size in self.sizes.items():
            missing = [name for name in (f"{kind}_{i}" for i in range(size)) if name not in self.declared]
            if missing:
                self.fail(line, f"expected {self.extent(kind)}, found no declaration of {missing[0]}")
        alternatives = self.conjoin(self.asserted)
        for lower, upper, spaces in alternatives:
            for side, ends in (("lower", lower), ("upper", upper)):
                if not np.isfinite(ends).all():
                    name = f"X_{np.argmin(np.isfinite(ends))}"
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


def merge(one: Alternative, other: Alternative) -> Alternative:
    """Both at once."""
    return Alternative(
        np.maximum(one.lower, other.lower), np.minimum(one.upper, other.upper), one.spaces + other.spaces
    )
