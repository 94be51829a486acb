"""Neighbouring blocks as one, so that a whole stage is localized and repaired like a block.

A group is called what it is made of: ``stage1`` is the row of all blocks ``stage1_…``, ``stem+stage1`` the stem and
that stage. It is made when a network has its weights, which then lie under the group's name, and changes no number.
"""

import dataclasses
import functools

import flax.linen as nn
from jaxtyping import Array, Float

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Block
from archrepair_jax.models.network import Network, Variables


class Group(Block):
    """The members ``(name, module)`` one after the other: all of them are the branch."""

    members: tuple[tuple[str, Block], ...]

    @nn.compact
    def branch(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        for name, module in self.members:
            x = module.copy(name=name)(x, train)  # flax would name them members_0_1, members_1_1, …
        return x


def regroup(network: Network, variables: Variables, groups: tuple[str, ...]) -> tuple[Network, Variables]:
    """The same function with all these groups made. Raises as ``group`` does; takes empty variables, too."""
    return functools.reduce(lambda made, name: group(*made, name), groups, (network, variables))


def group(network: Network, variables: Variables, name: str) -> tuple[Network, Variables]:
    """The network with one block called ``name`` in place of the blocks that this names, and its variables.

    The normalisation of the input, which has nothing to repair, and the last block, which gives the logits, stay
    outside. Raises InputError for a part that names none of the others, or only some that are in a group already, and
    for blocks that are not neighbours.
    """
    free = [member for member, module in network.blocks[:-1] if module.has_branch and not isinstance(module, Group)]
    chosen = set()
    for part in name.split("+"):
        named = {member for member in free if member == part or member.startswith(f"{part}_")}
        if not named:
            raise InputError(
                f"the group {name!r} cannot hold {part!r}: name neighbours, or their stage, out of {', '.join(free)}"
            )
        chosen |= named
    places = [network.index(member) for member in chosen]
    start, stop = min(places), max(places) + 1
    if between := [member for member in network.names[start:stop] if member not in chosen]:
        raise InputError(f"the group {name!r} is no row of neighbours: add {', '.join(between)}, or make two groups")
    blocks = *network.blocks[:start], (name, Group(network.blocks[start:stop])), *network.blocks[stop:]
    grouped = {collection: nested(entries, chosen, name) for collection, entries in variables.items()}
    return dataclasses.replace(network, blocks=blocks), grouped


def neighbourhood(network: Network, block: str) -> tuple[str, ...]:
    """The blocks of a block's stage, which their names tell; the stem counts with the first stage.

    A group, the last block and a block without a stage are alone. Raises ValueError for a block that there is not.
    """
    index, free = network.index(block), [name for name, module in network.blocks[:-1] if module.has_branch]
    if block not in free or isinstance(network.blocks[index][1], Group):
        return (block,)
    first = {free[0], *free[1:2]}
    stages = {stage(name) for name in first} if stage(block) in map(stage, first) else {stage(block)}
    return tuple(name for name in free if stage(name) in stages)


def stage(name: str) -> str:
    """The part of a block's name that its neighbours share."""
    return name.partition("_")[0]


def nested(entries: dict, chosen: set[str], name: str) -> dict:
    """One collection's entries, the chosen blocks' moved under ``name``; unless none has any."""
    own = {member: entry for member, entry in entries.items() if member in chosen}
    return {member: entry for member, entry in entries.items() if member not in chosen} | ({name: own} if own else {})
