"""What a search comes to: its winner trained anew on fresh seeds, one look at examples that decided nothing.

The published comparison reports the winner's own run, which was chosen for being lucky; ours never does.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from archrepair_jax.errors import InputError
from archrepair_jax.keys import named
from archrepair_jax.programs.data import WORST, Data, Split
from archrepair_jax.programs.program import Edit, Program
from archrepair_jax.programs.training import Run
from archrepair_jax.training.ledger import Ledger

SEEDS = 5


def trained(program: Program, data: Data, keys: Sequence[PRNGKeyArray]) -> list[Run | None]:
    """A whole training for each key; None where the program cannot be built."""
    runs = []
    for key in keys:
        try:
            runs.append(Run(program, data, key, Ledger()))
        except (InputError, ValueError):
            runs.append(None)
            continue
        runs[-1].advance(1.0)
    return runs


def scores(runs: Sequence[Run | None], split: Split, data: Data) -> list[float]:
    return [run.score(split) if run else WORST[data.metric] for run in runs]


def improvement(faulty: float, fixed: float, patched: float) -> float:
    """The improvement rate of Kim et al. (ICST 2023) from three scores, clipped to [0, 1].

    0 is the faulty program, 1 the known fix. 0 where the fix is no better, and for an improvement that is no number.
    """
    if not patched > faulty or not fixed > faulty:
        return 0.0
    if not np.isfinite(faulty):  # from nothing to anything
        return 1.0 if patched >= fixed else 0.5
    return float(np.clip((patched - faulty) / (fixed - faulty), 0, 1))


def minimal(faulty: Program, patched: Program, enough: Callable[[Program], bool]) -> Program:
    """The patch without edits that it does not need: delta debugging (Zeller and Hildebrandt, 2002).

    Args:
        faulty, patched: of the same layers.
        enough: whether a program is still as good; asked of one between the two at a time.

    Returns:
        A program from which no part of the patch that was asked for can be taken back.
    """
    edits, parts = list(faulty.edits(patched)), 2
    while len(edits) > 1:
        size = -(-len(edits) // parts)
        for start in range(0, len(edits), size):
            rest = edits[:start] + edits[start + size :]
            if rest and enough(applied(faulty, rest)):
                edits, parts = rest, max(parts - 1, 2)
                break
        else:
            if parts >= len(edits):
                break
            parts = min(2 * parts, len(edits))
    return applied(faulty, edits)


def overlap(known: Sequence[Edit], patch: Sequence[Edit]) -> tuple[float, float]:
    """Of kinds of edits, as ``act`` of ``act2``: the share of the fix's that a patch has, and of its that the fix has.

    The first is the asymmetric Jaccard index of Kim et al. (ICST 2023), which a patch that changes everything gets too;
    so the second, its precision, stands beside it (NaN for an empty patch).
    """
    fix, own = ({edit.field.rstrip("0123456789") for edit in edits} for edits in (known, patch))
    both = len(fix & own)
    return both / len(fix), both / len(own) if own else float("nan")


def applied(program: Program, edits: Sequence[Edit]) -> Program:
    return program.changed({edit.field: edit.after for edit in edits})


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was judged, on examples held out; all with the same seeds.

    Attributes:
        program: the winner, or the faulty one where there is none.
        smallest: it without edits that it does not need.
        faulty, fixed, patched, reduced: scores of the faulty program, the known fix, the winner and the smallest, one
            a seed.
    """

    program: Program
    smallest: Program
    faulty: tuple[float, ...]
    fixed: tuple[float, ...]
    patched: tuple[float, ...]
    reduced: tuple[float, ...]

    @property
    def better(self) -> int:
        """With how many seeds the smallest patch is better than the faulty program."""
        return sum(new > old for old, new in zip(self.faulty, self.reduced, strict=True))

    @property
    def repaired(self) -> bool:
        """Whether that is so with most seeds; what is not may not be called a repair."""
        return 2 * self.better > len(self.faulty)

    @property
    def rate(self) -> float:
        """The improvement rate of the means."""
        return improvement(*(float(np.mean(each)) for each in (self.faulty, self.fixed, self.patched)))


def judged(faulty: Program, fixed: Program, winner: Program, data: Data, key: PRNGKeyArray) -> Outcome:
    """Trains all with ``SEEDS`` seeds that no search used, takes back what the patch does not need, and looks once.

    Edits are taken back on validation examples, as long as two seeds' mean stays within the winner's standard deviation
    and nearer to the winner than to the faulty program (ours); nothing is decided by the examples held out.
    """
    keys = [jax.random.fold_in(named(key, "judge"), seed) for seed in range(SEEDS)]
    runs, before = trained(winner, data, keys), trained(faulty, data, keys)
    after, start = (scores(each, data.validation, data) for each in (runs, before))
    middle = (np.mean(after) + np.mean(start)) / 2
    floor = float(np.nanmax([np.mean(after) - np.std(after, ddof=1), middle]))

    def enough(program: Program) -> bool:
        return float(np.mean(scores(trained(program, data, keys[:2]), data.validation, data))) >= floor

    smallest = minimal(faulty, winner, enough)
    known = before if fixed == faulty else trained(fixed, data, keys)
    reduced = runs if smallest == winner else trained(smallest, data, keys)
    told = (tuple(scores(each, data.holdout, data)) for each in (before, known, runs, reduced))
    return Outcome(winner, smallest, *told)
