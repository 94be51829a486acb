"""The searched block: a small graph of operations in place of a block's branch, relaxed or decided.

Node 0 is the block's input, nodes 1 to ``hidden`` lie inside, the last is the branch's output; every earlier node feeds
every later one. The shortcut stays outside, in the original block's ``join``. On the edge from input to output the
original branch is a candidate too; the other operations into the output start silent. So with equal mixing weights the
relaxed block computes what the original computes.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Block, Identity
from archrepair_jax.models.network import Network, Variables, block_variables
from archrepair_jax.search.operations import ORIGINAL, SPATIAL, VECTOR, Candidate

DEFAULT = ("sep_conv_3x3", "dil_conv_3x3", "blur_conv_3x3", "gated_conv_1x1")
MOST_HIDDEN = 16  # inner nodes of a genotype in a file
Edge = tuple[int, int]
Alphas = dict[str, Float[ArrayLike, "_K"]]  # for each edge, one number a candidate


@dataclasses.dataclass(frozen=True)
class Space:
    """The architectures that one block may get.

    Attributes:
        hidden: the number of inner nodes.
        operations: the candidates of every edge.
        channels: of the branch's output.
        stride: between the block's input and its branch's output.
    """

    hidden: int
    operations: tuple[str, ...]
    channels: int
    stride: int

    @property
    def edges(self) -> tuple[Edge, ...]:
        return tuple((i, j) for j in range(1, self.hidden + 2) for i in range(j))

    @property
    def direct(self) -> Edge:
        """The edge from the input to the output, where the original branch is a candidate."""
        return 0, self.hidden + 1

    def candidates(self, edge: Edge) -> tuple[str, ...]:
        return (ORIGINAL, *self.operations) if edge == self.direct else self.operations


@dataclasses.dataclass(frozen=True)
class Genotype:
    """A decided architecture: one operation an edge."""

    space: Space
    choices: tuple[str, ...]

    def __iter__(self):
        return zip(self.space.edges, self.choices, strict=True)

    def inserted(self) -> Block:
        """The block that an edit inserts: the architecture beside the identity."""
        return FoundBlock(Identity(), self)

    def as_json(self) -> dict:
        edges = {arrow(edge): {"operation": choice} for edge, choice in self}
        return {"nodes": self.space.hidden + 2, "edges": edges} | dataclasses.asdict(self.space)


def genotype_from_json(saved: dict) -> Genotype:
    """The inverse of ``Genotype.as_json``. Raises InputError for anything that it cannot have written."""
    try:
        hidden, channels, stride = (int(saved[name]) for name in ("hidden", "channels", "stride"))
        if not (0 <= hidden <= MOST_HIDDEN and channels > 0 and stride > 0):
            raise ValueError
        space = Space(hidden, tuple(saved["operations"]), channels, stride)
        choices = tuple(saved["edges"][arrow(edge)]["operation"] for edge in space.edges)
        if not all(choice in space.candidates(edge) for edge, choice in zip(space.edges, choices, strict=True)):
            raise ValueError
        if not all(name in SPATIAL | VECTOR for name in space.operations):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"no genotype is written as {str(saved)[:80]}: take one that a run has written") from error
    return Genotype(space, choices)


def arrow(edge: Edge) -> str:
    """How reports write an edge."""
    return f"{edge[0]}->{edge[1]}"


def edge_name(edge: Edge) -> str:
    """How pytrees write an edge; part of its candidates' parameter paths."""
    return f"edge_{edge[0]}_{edge[1]}"


def candidate_name(edge: Edge, operation: str) -> str:
    """The name of one candidate's submodule in a relaxed or found block."""
    return ORIGINAL if operation == ORIGINAL else f"{edge_name(edge)}_{operation}"


def make_space(network: Network, variables: Variables, block: str, hidden: int, operations: tuple[str, ...]) -> Space:
    """The space of a block, with the shapes of its branch.

    Raises InputError for a block without a branch on feature maps or vectors of its input's kind (the head), for one
    whose output no stride leads to (maps without padding), for an unknown operation, and for an empty choice.
    """
    index = network.index(block)
    module = network.blocks[index][1]
    if not module.has_branch:
        raise InputError(f"block {block!r} has nothing to replace: choose another one")
    x = jax.ShapeDtypeStruct((1, *network.image_shape), jnp.float32)
    x = jax.eval_shape(lambda x: network.span(variables, x, 0, index)[0], x)
    y = jax.eval_shape(lambda x: module.apply(block_variables(variables, block), x, False, method="branch"), x)
    if x.ndim != y.ndim:
        raise InputError(f"block {block!r} turns maps into vectors, so it cannot be searched: choose another one")
    stride = -(-x.shape[1] // y.shape[1]) if y.ndim == 4 else 1
    if any(-(-size // stride) != wanted for size, wanted in zip(x.shape[1:-1], y.shape[1:-1], strict=True)):
        raise InputError(
            f"block {block!r} makes {y.shape[1:3]} of maps {x.shape[1:3]}, which no stride does: choose another one"
        )
    known = SPATIAL if y.ndim == 4 else VECTOR
    operations = operations or (DEFAULT if y.ndim == 4 else tuple(VECTOR))
    if unknown := [name for name in operations if name not in known]:
        raise InputError(f"unknown operation {unknown[0]!r} for block {block!r}: choose from {', '.join(known)}")
    return Space(hidden, operations, y.shape[-1], stride)


class RelaxedBlock(Block):
    """``original`` with its branch relaxed: every edge computes a weighted sum of all its candidates."""

    original: Block
    space: Space

    @nn.compact
    def branch(self, x: Float[Array, "B ..."], train: bool, mixture: Alphas) -> Float[Array, "B ..."]:
        nodes = [x]
        for target in range(1, self.space.hidden + 2):
            total = 0
            for source in range(target):
                for weight, name in zip(
                    mixture[edge_name((source, target))], self.space.candidates((source, target)), strict=True
                ):
                    total += weight * apply_candidate(self, (source, target), name, nodes[source], train)
            nodes.append(total)
        return nodes[-1]

    def join(self, x, branch, train):
        return self.original.join(x, branch, False)

    def __call__(self, x: Float[Array, "B ..."], train: bool, mixture: Alphas) -> Float[Array, "B ..."]:
        return self.join(x, self.branch(x, train, mixture), train)


class FoundBlock(Block):
    """``original`` with its branch replaced by a decided architecture."""

    original: Block
    genotype: Genotype

    @property
    def space(self) -> Space:
        return self.genotype.space

    @nn.compact
    def branch(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        nodes = [x] + [0] * (self.space.hidden + 1)
        for (source, target), name in self.genotype:
            nodes[target] += apply_candidate(self, (source, target), name, nodes[source], train)
        return nodes[-1]

    def join(self, x, branch, train):
        return self.original.join(x, branch, False)


def apply_candidate(block: RelaxedBlock | FoundBlock, edge: Edge, name: str, x: Array, train: bool) -> Array:
    """One candidate's output, inside ``branch``; what lies in the original keeps its statistics whatever ``train``."""
    space, (source, target) = block.space, edge
    if name == ORIGINAL:
        return block.original.branch(x, False)
    if source:
        x = nn.relu(x)  # inner nodes are sums of normalised maps; a block's input is taken as it is
    silent = target == space.hidden + 1
    stride = 1 if source else space.stride
    return Candidate(name, space.channels, stride, silent, name=candidate_name(edge, name))(x, train)


def uniform_alphas(space: Space) -> Alphas:
    """Zeros: every candidate of an edge weighs the same."""
    return {edge_name(edge): jnp.zeros(len(space.candidates(edge))) for edge in space.edges}


def full_masks(space: Space) -> Alphas:
    """Ones: every candidate takes part."""
    return jax.tree.map(jnp.ones_like, uniform_alphas(space))


def mixing_weights(alphas: Alphas, masks: Alphas) -> Alphas:
    """K·softmax(alpha) over an edge's K candidates, where the mask lets them: all 1 at the start.

    DARTS mixes by softmax(alpha) alone; the factor K is ours and keeps the original branch at its full strength.
    """
    return jax.tree.map(lambda alpha, mask: mask * len(alpha) * jax.nn.softmax(alpha), alphas, masks)


def random_genotype(space: Space, key: PRNGKeyArray) -> Genotype:
    """A genotype beside the original branch: the original from input to output, any operation on the other edges."""
    draws = jax.random.randint(key, (len(space.edges),), 0, len(space.operations)).tolist()
    choices = [space.operations[draw] for draw in draws]
    return Genotype(
        space,
        tuple(ORIGINAL if edge == space.direct else draw for edge, draw in zip(space.edges, choices, strict=True)),
    )


def beside(new: Variables, original: Variables) -> Variables:
    """The variables of a relaxed or found block with the original block's put in."""
    return {
        collection: entries | ({ORIGINAL: original[collection]} if collection in original else {})
        for collection, entries in new.items()
    }
