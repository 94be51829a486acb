"""Networks and properties as files: those of ACAS Xu by their short names, others by their paths."""

import dataclasses
import pathlib
import re

import numpy as np

from archrepair_jax.errors import InputError
from archrepair_jax.models.formats.nnet import Normalization, read_nnet
from archrepair_jax.models.formats.onnx import read_onnx
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.regions.properties import Property
from archrepair_jax.regions.sampling import Regions, make_regions
from archrepair_jax.regions.vnnlib import read_vnnlib

SHORT = re.compile(r"N(\d)_(\d)")


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A network, with what it needs to be written back, its whole domain if that is known, and a property.

    The names are short; the files are where both were read.
    """

    network_name: str
    property_name: str
    files: tuple[pathlib.Path, pathlib.Path]
    network: Network
    variables: Variables
    header: Normalization | None
    domain: Regions | None
    prop: Property

    @property
    def name(self) -> str:
        return f"{self.network_name}-{self.property_name}"


def read_case(folder: pathlib.Path, network: str, prop: str, domain: tuple[tuple[float, ...], ...] = ()) -> Case:
    """Reads a network and a property.

    Args:
        folder: holds ``nnet/`` and ``vnnlib/``, for short names.
        network: ``N2_9``, or a ``.nnet`` or ``.onnx`` file.
        prop: ``8``, or a ``.vnnlib`` file.
        domain: the lowest and the highest value of each input; without, what a ``.nnet`` file's header says.

    Raises:
        InputError: for files that do not exist, are malformed or do not fit together.
    """
    file, short = pathlib.Path(network).expanduser(), pathlib.Path(network).stem
    if acas := SHORT.fullmatch(network):
        file = folder / "nnet" / f"ACASXU_run2a_{acas[1]}_{acas[2]}_batch_2000.nnet"
    if file.suffix not in (".nnet", ".onnx"):
        raise InputError(f"network={network} is neither an ACAS Xu network, as N2_9, nor a .nnet or .onnx file")
    description, variables, header = read_nnet(file) if file.suffix == ".nnet" else (*read_onnx(file), None)
    property_file, short_property = pathlib.Path(prop).expanduser(), pathlib.Path(prop).stem
    if prop.isdecimal():
        property_file, short_property = folder / "vnnlib" / f"prop_{prop}.vnnlib", prop
    inputs, outputs = description.image_shape[0], description.num_classes
    if domain and len(domain) != inputs:
        raise InputError(f"domain has {len(domain)} pairs, but {short} takes {inputs} inputs: one for each")
    whole = whole_domain(domain, header)
    read = read_vnnlib(property_file, inputs, outputs)
    return Case(short, short_property, (file, property_file), description, variables, header, whole, read)


def whole_domain(domain: tuple[tuple[float, ...], ...], header: Normalization | None) -> Regions | None:
    """What was told, or else the network's header."""
    if domain:
        lower, upper = np.asarray(domain).T
    elif header:
        lower, upper = (header.normalize(np.asarray(end)) for end in (header.minimum, header.maximum))
    else:
        return None
    return make_regions(lower[None], upper[None])
