"""Which single edits the symptoms of a training suggest, the most suspicious first.

All rules and their weights are ours. They are what textbooks advise (a saturating activation, weights that start alike,
a rate too high or too low, a training too short, an output that its loss cannot take), and were written down before any
search was judged; they know a program, its space and its symptoms, and no subject by name.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from archrepair_jax.programs.layers import Value
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.recipe import SPARSE
from archrepair_jax.programs.space import KERNELS, PROBABILITIES, Space

ALIKE = ("zeros", "ones", "constant", "unit_normal")
SQUASHING = ("sigmoid", "hard_sigmoid", "tanh", "softsign", "softmax", "exponential")
CONTRAST = 1e-3  # of a layer's gradient to the largest, below which it hardly learns
FLAT, RISING = 0.01, 0.1  # shares of a loss: fallen by less, and still falling by more in the last quarter


class Suspicion(NamedTuple):
    """An edit, and how much speaks for it."""

    weight: float
    field: str
    value: Value


def suspicions(space: Space, program: Program, symptoms: Mapping[str, Any]) -> list[Suspicion]:
    """Edits of a program within its space, the heaviest first, each once."""
    found: dict[tuple[str, Value], float] = {}
    own = program.fields
    for rule in (outputs, starts, named, signals, course, habits):
        for weight, field, value in rule(space, program, symptoms):
            if field in space.domains and value != own[field] and space.holds(field, value):
                found[field, value] = max(weight, found.get((field, value), 0.0))
    return sorted((Suspicion(weight, *edit) for edit, weight in found.items()), key=lambda each: -each.weight)


def layers(program: Program) -> list[tuple[int, Any]]:
    """Numbers and layers of those with weights."""
    return [(number, program.layers[place]) for number, place in enumerate(program.weighted, 1)]


def start_for(act: str) -> str:
    return "glorot_uniform" if act in ("softmax", *SQUASHING, "linear") else "he_uniform"


def outputs(space: Space, program: Program, symptoms: Mapping[str, Any]) -> Iterator[Suspicion]:
    """A last activation that does not fit the loss or the targets."""
    last, layer = layers(program)[-1]
    if space.data.metric == "mae":
        yield Suspicion(9.0, f"act{last}", "linear")
        return
    fitting = "sigmoid" if space.data.outputs == 1 else "softmax"
    alone = space.data.outputs == 1 and layer.act == "softmax"  # a single one is always 1
    wrong = layer.act not in ("softmax", "sigmoid") or alone
    yield Suspicion(10.0 if wrong else 2.0, f"act{last}", fitting)
    if space.data.outputs > 1:
        yield Suspicion(1.9, f"act{last}", "sigmoid")
    entropy = "binary_crossentropy" if space.data.outputs == 1 else "categorical_crossentropy"
    yield Suspicion(2.5 if program.loss in PROBABILITIES else 6.0, "loss", entropy)
    yield Suspicion(1.8, "loss", SPARSE)


def starts(space: Space, program: Program, symptoms: Mapping[str, Any]) -> Iterator[Suspicion]:
    """Weights that start alike, or far too large."""
    for number, layer in layers(program):
        weight = 9.5 if layer.ki in ALIKE else 1.4
        yield Suspicion(weight, f"ki{number}", start_for(layer.act))
        yield Suspicion(4.0 if layer.bi in ("ones", "unit_normal") else 0.5, f"bi{number}", "zeros")


def named(space: Space, program: Program, symptoms: Mapping[str, Any]) -> Iterator[Suspicion]:
    """A module's own fields, where they hold or may hold names that we know."""
    for field, values in program.may_change:
        value = program.fields[field]
        if value in ALIKE:
            yield from (Suspicion(9.5, field, each) for each in values if each in KERNELS)
        elif value in SQUASHING:
            yield Suspicion(4.0, field, "relu")
            yield Suspicion(2.0, field, "elu")


def signals(space: Space, program: Program, symptoms: Mapping[str, Any]) -> Iterator[Suspicion]:
    """A layer where the signal ends: constant, dead or saturated, or with hardly a gradient."""
    if not symptoms:
        return
    gradients = [size or 0.0 for size in symptoms["gradients"]]
    stuck = symptoms["constant"].index(True) + 1 if True in symptoms["constant"] else 0
    hidden = layers(program)[:-1]
    for number, layer in hidden:
        place, weight = number - 1, 0.0
        if stuck == number:
            weight = 9.0
        elif (symptoms["saturated"][place] or 0.0) > 0.3:
            weight = 7.0
        elif gradients[place] <= CONTRAST * max(gradients):
            weight = 6.0
        elif layer.act in SQUASHING:
            weight = 4.0
        if weight and layer.act != "relu":
            yield Suspicion(weight, f"act{number}", "relu")
            yield Suspicion(weight - 2, f"act{number}", "elu")
        if weight:
            yield Suspicion(weight - 0.5, f"ki{number}", start_for(layer.act))
            yield Suspicion(weight - 1, f"norm{number}", "layer")
            yield Suspicion(weight - 1.5, f"skip{number}", "identity")
        if (symptoms["dead"][place] or 0.0) > 0.5:
            yield Suspicion(6.0, f"act{number}", "elu")
            yield Suspicion(5.0, f"ki{number}", start_for(layer.act))
            yield Suspicion(5.5, "lr", program.lr / 10)


def course(space: Space, program: Program, symptoms: Mapping[str, Any]) -> Iterator[Suspicion]:
    """A loss that explodes, rises, hardly falls, or is still falling when the training ends."""
    if not symptoms:
        return
    first, last, falling = (symptoms[name] for name in ("first", "last", "falling"))
    lr, more = program.lr, [step for step in sorted(epochs_of(space)) if step > program.epochs]
    if not symptoms["finite"] or last is None or first is None or last > first:
        weight = 9.2 if not symptoms["finite"] else 7.0
        for step, down in enumerate((100, 10, 1000)):
            yield Suspicion(weight - 0.3 * step, "lr", lr / down)
        return
    if first - last < FLAT * abs(first):
        for step, up in enumerate((100, 10, 1000)):
            yield Suspicion(6.5 - 0.3 * step, "lr", lr * up)
        yield Suspicion(6.4, "optimizer", "adam")
        yield Suspicion(5.0, "lr", lr / 10)
    if falling > RISING:
        for step, up in enumerate((10, 100)):
            yield Suspicion(6.3 - 0.4 * step, "lr", lr * up)
        yield Suspicion(6.1, "optimizer", "adam")
        for step, epochs in enumerate(reversed(more)):  # the longest that the budget lets one take, at once
            yield Suspicion(6.2 - 0.1 * step, "epochs", epochs)
        for smaller in (program.batch_size // 2, program.batch_size // 4):
            yield Suspicion(5.2, "batch_size", smaller)


def epochs_of(space: Space) -> tuple[int, ...]:
    return space.domains.get("epochs", ())


def habits(space: Space, program: Program, symptoms: Mapping[str, Any]) -> Iterator[Suspicion]:
    """What helps often, whatever is seen."""
    yield Suspicion(2.6, "optimizer", "adam")
    for step, factor in enumerate((10.0, 0.1, 100.0, 0.01)):
        yield Suspicion(2.4 - 0.3 * step, "lr", program.lr * factor)
    yield Suspicion(1.7, "batch_size", program.batch_size // 2)
    for step, epochs in enumerate(step for step in sorted(epochs_of(space)) if step > program.epochs):
        yield Suspicion(2.2 - 0.2 * step, "epochs", epochs)
    for number, layer in layers(program)[:-1]:
        if layer.act != "relu":
            yield Suspicion(2.1, f"act{number}", "relu")
        yield Suspicion(1.2, f"act{number}", "elu")
        yield Suspicion(1.3, f"norm{number}", "layer")
        yield Suspicion(1.1, f"skip{number}", "identity")
        if layer.kind == "dense":
            yield Suspicion(1.5, f"unit{number}", 2 * layer.unit)
            yield Suspicion(1.0, f"layer{number}", 2)
