"""AutoTrainer (Zhang et al., ICSE 2021), written anew from its published rules: five symptoms, each with its remedies.

Ours: symptoms are read from three looks at a training instead of every third epoch, on validation instead of train
accuracy, and oscillation from the training loss. Remedies that no field of a space holds are left out: batch
normalisation, gradient clipping, momentum, a rate that falls on plateaus, noise on inputs; leaky ReLU is ELU.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from archrepair_jax.programs.ingredients import ACTIVATIONS
from archrepair_jax.programs.layers import Value
from archrepair_jax.programs.recipe import DEFAULT_RATES, OPTIMIZERS
from archrepair_jax.programs.space import Space
from archrepair_jax.programs.techniques.contract import Moves, Technique, Tried, Values

LOOKS = (1 / 3, 2 / 3)
POOR, DEAD, EXPLODING, VANISHING, TINY, SLOW = 0.7, 0.7, 70.0, 1e-3, 1e-4, 0.01
OSCILLATING = 0.2  # of all epochs, with a loss that rises
STARTS = ("he_uniform", "lecun_uniform", "glorot_normal", "glorot_uniform", "he_normal", "lecun_normal")
CHOSEN_FROM = ("sgd", "adam", "nadam", "adamax", "rmsprop")
REMEDIES = {
    "vanishing gradient": ("selu", "relu"),
    "exploding gradient": ("selu", "relu", "tanh"),
    "dying relu": ("selu", "initial", "initial", "initial", "elu"),
    "oscillating loss": ("adam", "lr", "lr", "lr", "batch", "batch", "batch", "batch", "initial", "initial", "initial"),
    "slow convergence": ("optimizer", "optimizer", "optimizer", "lr", "lr", "lr", "initial", "initial", "initial"),
}
ROUNDS = 10


def symptom(seen: Tried, epochs: int) -> str:
    """The gravest symptom of a training; empty for none."""
    symptoms = seen.symptoms
    if not symptoms:
        return ""
    if not symptoms["finite"]:
        return "exploding gradient"
    scores = [*seen.looks.values(), seen.score]  # at equal distances; the first is no gain, chance has its share in it
    gain = max(np.diff(scores)) * len(scores) / epochs  # of an epoch
    first, last = symptoms["gradients"][0] or 0.0, symptoms["gradients"][-1] or 0.0
    if max(scores) < POOR or gain < SLOW:
        if symptoms["zeros"] >= DEAD:
            return "dying relu"
        if first > EXPLODING * last:
            return "exploding gradient"
        if first < VANISHING * last and first < TINY:
            return "vanishing gradient"
        return "slow convergence" if gain < SLOW else ""
    return "oscillating loss" if symptoms["swings"] >= OSCILLATING else ""


def remedied(space: Space, values: Values, issue: str, random: np.random.Generator) -> Iterator[dict[str, Value]]:
    """What the remedies of a symptom make of values, in their order, as far as the space holds it."""
    counts: dict[str, int] = {}
    for name in REMEDIES[issue]:
        variant = counts[name] = counts.get(name, -1) + 1
        changes = remedy(space, values, name, variant, random, up=issue == "slow convergence")
        if all(name in space.domains and space.holds(name, value) for name, value in changes.items()):
            yield {**values, **changes}


def remedy(
    space: Space, values: Values, name: str, variant: int, random: np.random.Generator, *, up: bool
) -> dict[str, Value]:
    """What one remedy changes; ``up`` raises rates instead of lowering them."""
    hidden, optimizer = range(1, len(space.faulty.weighted)), space.program(values).optimizer
    if name in ACTIVATIONS:
        changes = {f"act{number}": name for number in hidden}
        if name != "elu":
            changes |= {f"ki{number}": "lecun_uniform" if name == "selu" else "he_uniform" for number in hidden}
        return changes
    if name == "initial":
        start = str(random.choice(STARTS))
        return {f"ki{number}": start for number in (*hidden, len(space.faulty.weighted))}
    if name == "batch":
        return {"batch_size": 32 * 2**variant}
    if name == "lr":
        return {"lr": (0.01 if optimizer == "sgd" else 0.001) * (10.0**variant if up else 0.1**variant)}
    others = [each for each in CHOSEN_FROM if each != optimizer and each in OPTIMIZERS]
    chosen = "adam" if name == "adam" else str(random.choice(others))
    return {"optimizer": chosen, "lr": DEFAULT_RATES[chosen]}


def auto_trainer(space: Space, random: np.random.Generator) -> Moves:
    """Treats the symptom of the current program until a training shows none; a program without one is left alone."""
    current = space.origin
    seen = yield current
    if space.data.metric != "accuracy":
        return
    met: set[str] = set()
    for _ in range(ROUNDS):
        issue = symptom(seen, space.program(current).epochs)
        if not issue or issue in met:
            return
        met.add(issue)
        better: list[tuple[Mapping[str, Value], Tried]] = []
        for values in remedied(space, current, issue, random):
            if values == current:
                continue
            found = yield values
            now = symptom(found, space.program(values).epochs)
            if not now and found.symptoms:
                return
            if now != issue:
                better.append((values, found))
        if not better:
            return
        current, seen = max(better, key=lambda pair: pair[1].score)


AUTOTRAINER = {"autotrainer": Technique("AutoTrainer's rules", moves=auto_trainer, looks=LOOKS, observes=True)}
