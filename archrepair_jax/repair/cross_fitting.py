"""Acceptance by cross-fitting, for so few labels that an image can be spared neither from learning nor from judging.

The images to learn from and the guard's are pooled and dealt into folds. For each, the method repairs with a part of
the budget what the other folds' images show, and the guard's rule looks at what that does to the fold. The last repair
learns from all of them with the budget that is left, and goes as far from the original as the folds together say. So
every image is learned from, and every image judges a repair that has not learned from it: cross-fitting, as statistics
knows it (Chernozhukov et al., Econometrics Journal 2018). That short repairs from fewer images speak for a longer one
from all is our assumption; the test set shows whether it held.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int

from archrepair_jax.repair.guard import evidence, guard_price, look
from archrepair_jax.repair.problem import Examples, Problem, Repair
from archrepair_jax.repair.settings import GuardSettings
from archrepair_jax.training.loop import Loop

FOLDS, SHARE = 4, 0.5  # and of the budget what all folds together may spend


def cross_fitted(
    problem: Problem, settings: GuardSettings, run: Callable[[Problem, Loop], Repair], loop: Loop
) -> Repair:
    """The repair from all images, with what the folds say of it; ``run`` is the method, its race run if it is one.

    A fold whose other images hold no failure, or nothing else, shows nothing and counts as left unchanged.
    """
    pooled = problem.train.joined(problem.guard)
    folds = dealt(pooled.labels[: pooled.count], min(FOLDS, pooled.count))
    share, right = loop.ledger.left.share(SHARE / len(folds)), {}
    for number, fold in enumerate(folds):
        others, own = pooled.only(~fold), pooled.only(fold, beside=False)
        if others.right.all() or not others.right.any():
            continue
        shown, part = divided(problem, others, own), loop.part(f"fold {number + 1}", share)
        with part.ledger.set_aside(guard_price(shown, settings, loop.devices)):
            repair = run(shown, part)
        for fraction, told in look(shown, repair, settings, part).items():
            right.setdefault(fraction, pooled.correct.copy())[:, fold] = told
        loop.ledger.charge(f"fold {number + 1}", part.ledger.spent)
    repair = run(divided(problem, pooled, pooled), loop)
    return dataclasses.replace(repair, seen={"folds": len(folds), **evidence(pooled.correct, right)})


def dealt(labels: Int[np.ndarray, "N"], folds: int) -> list[Bool[np.ndarray, "N"]]:
    """Which images each fold has; of every class they differ by one at most."""
    place = np.empty(len(labels), int)
    place[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % folds
    return [place == fold for fold in range(folds)]


def divided(problem: Problem, train: Examples, guard: Examples) -> Problem:
    """The problem with others to learn from and to judge; those to choose by stay."""
    parts = {"train": train, "validation": problem.validation, "guard": guard}
    return dataclasses.replace(problem, examples=parts.__getitem__, pools={})
