"""What must hold on whole regions of inputs, as plain arrays."""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, ArrayLike, Float, Int

from archrepair_jax.errors import InputError
from archrepair_jax.precision import exact


class Property(struct.PyTreeNode):
    """R input boxes, and for each the outputs that are unsafe there: a union of U intersections of M half-spaces.

    An output ``y`` is unsafe in box ``r`` if for some ``u`` all of ``matrix[r, u] @ y <= bound[r, u]`` hold, as in
    VNN-LIB; ties are unsafe. Where there are fewer half-spaces or intersections than M or U, rows of zeros fill up:
    with the bound inf a row always holds, with -inf never.

    Attributes:
        lower, upper: [R, D], the boxes' corners.
        matrix: [R, U, M, K].
        bound: [R, U, M].
    """

    lower: Float[ArrayLike, "R D"]
    upper: Float[ArrayLike, "R D"]
    matrix: Float[ArrayLike, "R U M K"]
    bound: Float[ArrayLike, "R U M"]


Box = tuple[np.ndarray, np.ndarray]
HalfSpaces = tuple[np.ndarray, np.ndarray]


def make_property(regions: list[tuple[Box, list[HalfSpaces]]]) -> Property:
    """Packs boxes ``(lower [D], upper [D])``, each with its unsafe intersections ``(matrix [m, K], bound [m])``.

    Raises InputError for a box that is inverted or not finite, and for boxes or outputs of different sizes.
    """
    boxes = [box for box, _ in regions]
    for number, (lower, upper) in enumerate(boxes, 1):
        for i, (low, high) in enumerate(zip(lower, upper, strict=True)):
            if not (np.isfinite(low) and np.isfinite(high)):
                raise InputError(f"box {number} has no end for input X_{i}: give it a lower and an upper bound")
            if low > high:
                raise InputError(f"box {number} is empty: input X_{i} goes from {low} to {high}; exchange the bounds")
    spaces = [space for _, unsafe in regions for space in unsafe]
    if len({len(lower) for lower, _ in boxes}) > 1 or len({matrix.shape[1] for matrix, _ in spaces}) > 1:
        raise InputError("the boxes or constraints differ in their numbers of variables: give all of them alike")
    disjuncts = max(len(unsafe) for _, unsafe in regions)
    rows = max(len(bound) for _, bound in spaces)
    matrix = np.zeros((len(regions), disjuncts, rows, spaces[0][0].shape[1]))
    bound = np.full((len(regions), disjuncts, rows), -np.inf)
    for r, (_, unsafe) in enumerate(regions):
        for u, (own_matrix, own_bound) in enumerate(unsafe):
            matrix[r, u, : len(own_bound)] = own_matrix
            bound[r, u] = np.inf
            bound[r, u, : len(own_bound)] = own_bound
    return Property(np.stack([box[0] for box in boxes]), np.stack([box[1] for box in boxes]), matrix, bound)


@exact
def margin(prop: Property, region: Int[ArrayLike, "B"], y: Float[ArrayLike, "B K"]) -> Float[Array, "B"]:
    """How far outputs are from being unsafe in their regions; safe where it is positive.

    The smallest over the unsafe intersections of the largest violation of one of its half-spaces: with scores of an
    ACAS Xu network, a difference of two scores.
    """
    slack = jnp.einsum("bumk,bk->bum", prop.matrix[region], y) - prop.bound[region]
    return slack.max(-1).min(-1)
