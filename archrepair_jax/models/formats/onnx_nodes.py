"""The nodes of an ONNX graph in the making.

A value is the name of what a node gives, or an array where that is known: what depends on no input is computed, so that
no nodes are made of it.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

Value = Any  # a name, or an array
Sizes = Sequence[Any]  # of an array's axes; that of the batch is a symbol


class Inexpressible(Exception):
    """What an operation does that none of ONNX does, in words that go on from its name."""


class Nodes:
    """Nodes and the arrays that they read.

    Args:
        onnx: the package.
        source: the name of the input, whose first axis is the batch.
    """

    def __init__(self, onnx: ModuleType, source: str):
        self.onnx, self.source = onnx, source
        self.made: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(self, kind: str, *values: Value, outputs: int = 1, **settings: Any) -> Any:
        """Adds one operation of ONNX; the name of its result, or the names if there are several."""
        names = [f"{kind}_{len(self.made)}_{number}" for number in range(outputs)]
        self.made.append(self.onnx.helper.make_node(kind, [*map(self.named, values)], names, names[0], **settings))
        return names[0] if outputs == 1 else names

    def named(self, value: Value) -> str:
        if is_known(value):
            name = f"array_{len(self.arrays)}"
            self.arrays[name] = np.asarray(value, order="C")
            return name
        return value

    def sizes(self, shape: Sizes) -> Value:
        """A shape as operations take it, the batch's size read off the input."""
        if all(map(is_number, shape)):
            return np.array(shape, np.int64)
        batch = self("Shape", self.source, start=0, end=1)
        return self("Concat", *(np.array([size], np.int64) if is_number(size) else batch for size in shape), axis=0)

    def reshape(self, x: Value, shape: Sizes) -> Value:
        sizes = [int(size) if is_number(size) else -1 for size in shape]
        if sizes.count(-1) > 1:
            raise Inexpressible("makes two axes of the batch")
        return x.reshape(sizes) if is_known(x) else self("Reshape", x, np.array(sizes, np.int64))

    def transpose(self, x: Value, axes: Sequence[int]) -> Value:
        if list(axes) == sorted(axes):
            return x
        return x.transpose(axes) if is_known(x) else self("Transpose", x, perm=list(axes))

    def cast(self, x: Value, dtype: Any) -> Value:
        """Another type of numbers."""
        return self("Cast", x, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def needed(self, result: str) -> list[Any]:
        """The nodes on which a result depends."""
        wanted, chosen = {result}, []
        for node in reversed(self.made):
            if wanted & set(node.output):
                wanted |= set(node.input)
                chosen.append(node)
        return chosen[::-1]


def is_known(value: Value) -> bool:
    return not isinstance(value, str)


def is_number(size: Any) -> bool:
    """Whether a size is not the batch's."""
    return isinstance(size, int | np.integer)
