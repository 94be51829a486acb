"""Local search by single edits from the faulty program.

After the neutrality analysis of Kim et al.'s follow-up (2023), which found that 18 of 22 faulty programs have a good
one within a few single edits. Theirs trains all neighbours ten times; ours moves to the first that is better.
"""

import numpy as np

from archrepair_jax.programs.layers import Value
from archrepair_jax.programs.space import Domain, Interval, Space
from archrepair_jax.programs.techniques.contract import Moves, Technique, Values

STEP = 10.0  # of rates


def neighbours(domain: Domain, value: Value) -> list[Value]:
    """Other values one edit away: for rates ten times more or less, for sizes the next ones, for names all others."""
    if isinstance(domain, Interval):
        return [each for each in (value * STEP, value / STEP) if domain.low <= each <= domain.high]
    if isinstance(value, str):
        return [each for each in domain if each != value]
    ordered = sorted(domain)
    place = ordered.index(value)
    return ordered[max(place - 1, 0) : place] + ordered[place + 1 : place + 2]


def local(space: Space, random: np.random.Generator) -> Moves:
    """Tries single edits in random order, fields first, and goes on from each that is better."""
    current = space.origin
    best = (yield current).score
    while True:
        edits = shuffled(space, current, random)
        for values in edits:
            score = (yield values).score
            if score > best:
                current, best = values, score
                break
        else:
            return


def shuffled(space: Space, values: Values, random: np.random.Generator) -> list[dict[str, Value]]:
    """Single edits, so that every field comes before any comes again."""
    rounds: list[tuple[float, dict[str, Value]]] = []
    for name, domain in space.domains.items():
        others = neighbours(domain, values[name])
        random.shuffle(others)
        rounds += [(place + random.random(), {**values, name: other}) for place, other in enumerate(others)]
    return [each for _, each in sorted(rounds, key=lambda pair: pair[0])]


LOCAL = {"local": Technique("single edits in random order", moves=local)}
