"""What a repair changed in a network, as data: applied to the original, and to and from JSON."""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

import flax.linen as nn

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Scale
from archrepair_jax.models.network import Network
from archrepair_jax.search.cell import FoundBlock, Genotype, genotype_from_json
from archrepair_jax.search.conditional import FORM, Filters, filters_from_json


@dataclasses.dataclass(frozen=True)
class Replaced:
    """A block has a found architecture in place of its branch; its name stays."""

    kind: ClassVar[str] = "replaced"
    block: str
    genotype: Genotype

    def apply(self, network: Network) -> Network:
        return network.replace(self.block, FoundBlock(dict(network.blocks)[self.block], self.genotype))


@dataclasses.dataclass(frozen=True)
class Inserted:
    """A found architecture beside the identity, or filters, in front of a block; it is called ``name``."""

    kind: ClassVar[str] = "inserted"
    before: str
    genotype: Genotype | Filters

    @property
    def name(self) -> str:
        return f"before_{self.before}"

    def apply(self, network: Network) -> Network:
        return insert(network, network.index(self.before), self.name, self.genotype.inserted())


@dataclasses.dataclass(frozen=True)
class Scaled:
    """Behind a block each channel is multiplied by a factor of its own, in a block called ``name``."""

    kind: ClassVar[str] = "scaled"
    block: str

    @property
    def name(self) -> str:
        return f"{self.block}_scale"

    def apply(self, network: Network) -> Network:
        return insert(network, network.index(self.block) + 1, self.name, Scale())


Edit = Replaced | Inserted | Scaled
KINDS: dict[str, type[Edit]] = {kind.kind: kind for kind in (Replaced, Inserted, Scaled)}


def insert(network: Network, index: int, name: str, module: nn.Module) -> Network:
    blocks = network.blocks
    return dataclasses.replace(network, blocks=(*blocks[:index], (name, module), *blocks[index:]))


def apply(network: Network, edits: Iterable[Edit]) -> Network:
    """The edited network; without edits it is the original. Raises ValueError for a block that there is not."""
    for edit in edits:
        network = edit.apply(network)
    return network


def to_json(edits: Iterable[Edit]) -> list[dict[str, Any]]:
    """One object an edit: its ``kind``, the block's name, and the genotype if it has one."""

    def plain(value: Any) -> Any:
        return value.as_json() if isinstance(value, Genotype | Filters) else value

    return [
        {"kind": edit.kind} | {field.name: plain(getattr(edit, field.name)) for field in dataclasses.fields(edit)}
        for edit in edits
    ]


def from_json(saved: Any) -> tuple[Edit, ...]:
    """The inverse of ``to_json``. Raises InputError for anything that it cannot have written."""
    if not isinstance(saved, list):
        raise InputError("edits are a list: take those that a run has written")
    return tuple(map(_edit, saved))


def _edit(saved: Any) -> Edit:
    name = saved.get("kind") if isinstance(saved, dict) else None
    kind = KINDS.get(name) if isinstance(name, str) else None
    names = {field.name for field in dataclasses.fields(kind)} if kind else set()
    if not kind or saved.keys() != names | {"kind"} or not all(isinstance(saved[n], str) for n in names - {"genotype"}):
        raise InputError(f"no edit is written as {str(saved)[:80]}: take those that a run has written")
    own = {name: _genotype(kind, saved[name]) if name == "genotype" else saved[name] for name in names}
    return kind(**own)


def _genotype(kind: type[Edit], saved: Any) -> Genotype | Filters:
    filters = kind is Inserted and isinstance(saved, dict) and saved.get("form") == FORM
    return filters_from_json(saved) if filters else genotype_from_json(saved)
