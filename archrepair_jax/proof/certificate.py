"""What a proof leaves behind: all that a checker needs to go through it again, in one file."""

import hashlib
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from archrepair_jax.errors import InputError
from archrepair_jax.files import Declared, read_npz, write_whole
from archrepair_jax.models.formats.dense import to_layers
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.regions.properties import Property

if TYPE_CHECKING:  # a checker shares no code with the prover, and does not load it either
    from archrepair_jax.proof.branch_and_bound import Proof

WHAT = "certificate: write it again"
VERSION = 2  # 1: with cuts from looser bounds, of another kind, which the checker does not find again


class Certificate(NamedTuple):
    """The tree of boxes by which a property was proved.

    The first R of its N boxes are the property's own, one for each of its unsafe intersections in the order of
    ``matrix[r, u]`` (without those of a bound -inf, which no output meets). They are not repeated here, and neither is
    what a box is about, which is the same as of the box that it is a part of.

    Attributes:
        network: the ``fingerprint`` of the network.
        prop: the property.
        lower, upper: the corners of the boxes that others were split into.
        child: [N], the first of the two boxes that a box was split into (the other one follows it); -1 where there are
            none, because the box itself is safe.
    """

    network: str
    prop: Property
    lower: Float[np.ndarray, "N-R D"]
    upper: Float[np.ndarray, "N-R D"]
    child: Int[np.ndarray, "N"]


# Of each array of a file the type and the shape, in which equal letters are equal numbers.
ARRAYS = {
    "network": (np.uint8, "h"),
    "region_lower": (np.float64, "rd"),
    "region_upper": (np.float64, "rd"),
    "matrix": (np.float64, "rumk"),
    "bound": (np.float64, "rum"),
    "lower": (np.float64, "bd"),
    "upper": (np.float64, "bd"),
    "child": (np.int32, "n"),
}


def fingerprint(network: Network, variables: Variables) -> str:
    """The SHA-256 of a network's activation and of its layers' shapes and float32 weights, in hexadecimal digits.

    Raises InputError naming the block for a network that is no plain mlp.
    """
    layers, activation = to_layers(network, variables)
    digest = hashlib.sha256(f"{activation} {[layer.kernel.shape for layer in layers]}\n".encode())
    for array in (array for layer in layers for array in layer):
        digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()


def make_certificate(network: Network, variables: Variables, prop: Property, proof: "Proof") -> Certificate:
    """The certificate of a proof of ``prop``; one that is not ``proved`` convinces no checker."""
    own = Property(*(np.asarray(array, np.float64) for array in (prop.lower, prop.upper, prop.matrix, prop.bound)))
    roots = len(proof.child) - 2 * np.count_nonzero(proof.child >= 0)
    lower, upper = proof.boxes.lower[roots:], proof.boxes.upper[roots:]
    return Certificate(fingerprint(network, variables), own, lower, upper, proof.child)


def write_certificate(path: str | os.PathLike, certificate: Certificate) -> None:
    """Writes a certificate whole or not at all; equal ones as equal bytes."""
    network, prop, lower, upper, child = certificate
    parts = np.frombuffer(network.encode(), np.uint8), prop.lower, prop.upper, prop.matrix, prop.bound
    arrays = zip(ARRAYS.items(), (*parts, lower, upper, child), strict=True)
    file = io.BytesIO()
    np.savez_compressed(file, version=VERSION, **{name: np.asarray(part, kind) for (name, (kind, _)), part in arrays})
    write_whole(path, file.getvalue())


def read_certificate(path: str | os.PathLike) -> Certificate:
    """Reads a certificate; whether it proves anything is for the checker to say.

    Raises InputError for a file that cannot be read, is no certificate, is damaged, or is of another version; arrays
    that do not fit together are not even unpacked.
    """
    arrays = read_npz(
        path, lambda declared: declared if fit_together(declared) else declared.keys() & {"version"}, WHAT
    )
    version = arrays.pop("version", None)
    if version is None or version.shape or version.dtype.kind != "i":
        raise damaged(path)
    if version != VERSION:
        raise InputError(f"{path} is of version {version}, but only {VERSION} can be read: write it again")
    if not arrays:
        raise damaged(path)
    prop = Property(*(arrays[name] for name in ("region_lower", "region_upper", "matrix", "bound")))
    network = arrays["network"].tobytes().decode("ascii", "replace")
    return Certificate(network, prop, arrays["lower"], arrays["upper"], arrays["child"].astype(np.int64))


def fit_together(declared: Mapping[str, Declared]) -> bool:
    """Whether these are the types and shapes of a certificate's arrays."""
    own = {name: declared[name] for name in declared if name != "version"}
    if {name: kind for name, (kind, _) in own.items()} != {name: kind for name, (kind, _) in ARRAYS.items()}:
        return False
    shapes = [(letters, own[name].shape) for name, (_, letters) in ARRAYS.items()]
    sizes = {pair for letters, shape in shapes for pair in zip(letters, shape, strict=False)}
    return all(len(letters) == len(shape) for letters, shape in shapes) and len(sizes) == len(dict(sizes))


def damaged(path: str | os.PathLike) -> InputError:
    return InputError(f"{path} is damaged or no {WHAT}")
