"""ACAS Xu's ``.nnet`` files: a plain ReLU network in decimal text, with the normalisation of what it reads and says.

Comment lines (``//``), then rows of numbers that end in a comma: how many layers, inputs, outputs and the largest
width; all widths; a flag for symmetric networks, unused; minimum and maximum of each input; mean and range of each
input and, last, of all outputs together. Then for each layer its weights, one row a neuron, and its biases, one a row.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import NoReturn, TypeVar

import numpy as np
from jaxtyping import Float

from archrepair_jax.errors import InputError
from archrepair_jax.files import write_whole
from archrepair_jax.models.formats.dense import LAYERS, Dense, from_layers, to_layers
from archrepair_jax.models.network import Network, Variables

COMMENT = "//"
CHANGED = f"{COMMENT} Modified: archrepair_jax changed the weights."
LARGEST = float(np.finfo(np.float32).max)  # whatever is larger becomes infinite in a network
Number = TypeVar("Number", int, float)


@dataclasses.dataclass(frozen=True)
class Normalization:
    """The header of a ``.nnet`` file: the units of the inputs and outputs outside the network.

    Attributes:
        minimum, maximum: the ends to which each input is clipped.
        mean, range: what is subtracted from each input, and what it is then divided by.
        output_mean, output_range: the same for all outputs.
        comments: the lines before the first number, among them the licence.
    """

    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    mean: tuple[float, ...]
    range: tuple[float, ...]
    output_mean: float = 0.0
    output_range: float = 1.0
    comments: tuple[str, ...] = ()

    def normalize(self, x: Float[np.ndarray, "... D"]) -> Float[np.ndarray, "... D"]:
        """What the network reads, for inputs in their own units; they are clipped first."""
        return (np.clip(x, self.minimum, self.maximum) - np.asarray(self.mean)) / np.asarray(self.range)

    def denormalize(self, y: Float[np.ndarray, "... K"]) -> Float[np.ndarray, "... K"]:
        """The network's outputs in their own units."""
        return y * self.output_range + self.output_mean


class Rows:
    """The lines of a file, taken one after the other; every complaint names the file and the line."""

    def __init__(self, path: str | os.PathLike):
        self.path, self.number = path, 0
        try:
            text = pathlib.Path(path).read_text(encoding="utf-8", errors="surrogateescape")  # names in comments
        except OSError as error:
            raise InputError(f"cannot read {path} ({error.strerror}); check the path") from error
        self.lines = text.rstrip().split("\n")

    def fail(self, expected: str, found: str) -> NoReturn:
        raise InputError(f"{self.path}, line {self.number}: expected {expected}, found {found}")

    def comments(self) -> tuple[str, ...]:
        """The comment lines that come next."""
        start = self.number
        while self.number < len(self.lines) and self.lines[self.number].startswith(COMMENT):
            self.number += 1
        return tuple(self.lines[start : self.number])

    def take(self, count: int, what: str, kind: Callable[[str], Number] = float) -> tuple[Number, ...]:
        """The ``count`` numbers of the next line, called ``what`` in errors."""
        self.number += 1
        if self.number > len(self.lines):
            self.fail(what, "the end of the file")
        line = self.lines[self.number - 1].strip().removesuffix(",")
        fields = line.split(",") if line else []
        if len(fields) != count:
            self.fail(f"{count} numbers, {what}", str(len(fields)))
        return tuple(self._parse(field, what, kind) for field in fields)

    def positive(self, count: int, what: str, kind: Callable[[str], Number] = int) -> tuple[Number, ...]:
        """As ``take``, of positive numbers; whole ones unless ``kind`` says otherwise."""
        values = self.take(count, what, kind)
        if min(values) <= 0:
            self.fail(f"positive numbers, {what}", str(min(values)))
        return values

    def end(self) -> None:
        if self.number < len(self.lines):
            self.number += 1
            self.fail("the end of the file", "another line")

    def _parse(self, field: str, what: str, kind: Callable[[str], Number]) -> Number:
        try:
            value = kind(field)
        except ValueError:
            self.fail(f"a {'whole ' if kind is int else ''}number, {what}", ascii(field.strip()[:40]))
        if not abs(value) <= LARGEST:  # true of nan, too
            self.fail(f"a finite float32 number, {what}", field.strip()[:40])
        return value


def read_nnet(path: str | os.PathLike) -> tuple[Network, Variables, Normalization]:
    """The network of a ``.nnet`` file, on normalised inputs and outputs, and the file's header; parameters are float32.

    Raises InputError, with the line and what was expected there, for a file that is not of this form.
    """
    rows = Rows(path)
    comments = rows.comments()
    count, inputs, outputs, largest = rows.positive(4, "how many layers, inputs and outputs, and the largest width")
    if count > LAYERS:
        rows.fail(f"at most {LAYERS} layers", str(count)[:40])
    widths = rows.positive(count + 1, "the width of the input and of every layer")
    if (widths[0], widths[-1], max(widths)) != (inputs, outputs, largest):
        rows.fail(f"widths from {inputs} to {outputs}, the largest {largest}", ", ".join(map(str, widths)))
    if rows.take(1, "the flag 0")[0]:
        rows.fail("the flag 0", "that of a symmetric network, which is not supported")
    minimum = rows.take(inputs, "the inputs' minima")
    maximum = rows.take(inputs, "the inputs' maxima")
    for low, high in zip(minimum, maximum, strict=True):
        if low > high:
            rows.fail(f"a maximum of at least {low}, the minimum", str(high))
    *mean, output_mean = rows.take(inputs + 1, "the means of the inputs and of the outputs")
    *scale, output_scale = rows.positive(inputs + 1, "the ranges of the inputs and of the outputs", float)
    layers = []
    for number, (entering, leaving) in enumerate(zip(widths[:-1], widths[1:], strict=True), 1):
        kernel = [rows.take(entering, f"weights of layer {number}") for _ in range(leaving)]
        bias = [rows.take(1, f"a bias of layer {number}") for _ in range(leaving)]
        layers.append(Dense(np.array(kernel, np.float32).T, np.array(bias, np.float32)[:, 0]))
    rows.end()
    header = Normalization(minimum, maximum, tuple(mean), tuple(scale), output_mean, output_scale, comments)
    return *from_layers(layers), header


def write_nnet(path: str | os.PathLike, network: Network, variables: Variables, normalization: Normalization) -> None:
    """Writes a ``.nnet`` file, whole or not at all, that reads back as exactly the same parameters and header.

    The header's comments stay, and one is added that says who changed the weights. Raises InputError naming the block
    for a network that is no plain ReLU mlp, and for a header of another number of inputs.
    """
    layers, activation = to_layers(network, variables)
    if activation != "relu":
        raise InputError(f"block {network.names[0]} has the activation {activation}, but a .nnet file knows only relu")
    widths = [len(layers[0].kernel), *(len(layer.bias) for layer in layers)]
    if widths[0] != len(normalization.mean):
        raise InputError(
            f"the network reads {widths[0]} inputs, its header has {len(normalization.mean)}: take the network's own"
        )
    rows = [
        (len(layers), widths[0], widths[-1], max(widths)),
        widths,
        (0,),
        normalization.minimum,
        normalization.maximum,
        (*normalization.mean, normalization.output_mean),
        (*normalization.range, normalization.output_range),
    ]
    for layer in layers:
        rows += [*layer.kernel.T.tolist(), *layer.bias[:, None].tolist()]
    # A float32 is written as the double that equals it: tools of either precision then read the same weights.
    lines = [*normalization.comments, *(",".join(map(str, row)) + "," for row in rows)]
    if CHANGED not in lines:
        lines.insert(len(normalization.comments), CHANGED)
    write_whole(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
