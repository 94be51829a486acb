"""A plane through the worst violation: where a property holds along two inputs, before and after, and why."""

from typing import Any

import numpy as np

from archrepair_jax.models.network import Network, Variables
from archrepair_jax.proof.certificate import Certificate
from archrepair_jax.regions.sampling import inward
from archrepair_jax.repair.regions import RegionProblem, margins
from archrepair_jax.training.batches import Samples

GRID = 40  # inputs along a side
BOXES = 500  # of a proof that are kept at most, the largest


def plane(
    problem: RegionProblem, repaired: tuple[Network, Variables], violations: Samples, certificate: Certificate | None
) -> dict[str, Any] | None:
    """The plane along the two inputs in which the violated region is widest; the others stay as in the violation.

    Args:
        problem: the original network and the property.
        repaired: the network after the repair.
        violations: of the original, among them the one that the plane goes through.
        certificate: of the proof, if there is one.

    Returns:
        JSON for the report; None without a violation, and for a region with fewer than two wide sides.
    """
    if not len(violations.tags):
        return None
    original = problem.original.network, problem.original.variables
    worst = int(margins(problem, *original, violations).argmin())
    at, region = np.asarray(violations.inputs[worst]), int(violations.tags[worst])
    lower, upper = inward(np.asarray(problem.prop.lower)[region], np.asarray(problem.prop.upper)[region])
    axes = np.sort(np.argsort(lower - upper, kind="stable")[:2])
    if len(axes) < 2 or not (lower < upper)[axes].all():
        return None
    sides = [np.linspace(lower[axis], upper[axis], GRID, dtype=np.float32) for axis in axes]
    inputs = np.tile(at, (GRID * GRID, 1))
    inputs[:, axes[0]], inputs[:, axes[1]] = np.tile(sides[0], GRID), np.repeat(sides[1], GRID)
    samples = Samples(inputs, np.full(len(inputs), region, np.int32))
    violated = {
        when: (margins(problem, *network, samples) <= 0).reshape(GRID, GRID)
        for when, network in (("before", original), ("after", repaired))
    }
    boxes = crossing(certificate, at, axes) if certificate else np.zeros((0, 2, 2))
    return {
        "inputs": axes.tolist(),
        "lower": lower[axes].tolist(),
        "upper": upper[axes].tolist(),
        **{when: ["".join(row) for row in np.where(rows, "#", ".")] for when, rows in violated.items()},
        "boxes": boxes[np.argsort(-np.prod(boxes[:, 1] - boxes[:, 0], -1), kind="stable")[:BOXES]].tolist(),
        "boxes_crossed": len(boxes),
    }


def crossing(certificate: Certificate, at: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The corners [B, 2, 2] along two axes of the boxes that were found safe and that the plane crosses.

    A region that was safe as a whole is none of them, and neither is what bounds have cut off.
    """
    safe = certificate.child[-len(certificate.lower) :] < 0 if len(certificate.lower) else np.zeros(0, bool)
    lower, upper = certificate.lower[safe], certificate.upper[safe]
    others = np.setdiff1d(np.arange(len(at)), axes)
    inside = ((lower <= at) & (at <= upper))[:, others].all(-1)
    return np.stack([lower[inside][:, axes], upper[inside][:, axes]], 1)
