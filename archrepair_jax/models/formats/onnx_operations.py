"""What each operation of JAX is in ONNX, for inference: one function an operation, in ``OPERATIONS``.

``operation(nodes, eqn, *values)`` gives the equation's result, or a list where it has several, and raises Inexpressible
for what ONNX does not know.
"""

import functools
import itertools
import math
import string
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from archrepair_jax.models.formats.onnx_nodes import Inexpressible, Nodes, Value, is_known, is_number

Operation = Callable[..., Any]
ALIKE = {
    "abs": "Abs", "acos": "Acos", "acosh": "Acosh", "add": "Add", "add_any": "Add", "asin": "Asin", "asinh": "Asinh",
    "atan": "Atan", "atanh": "Atanh", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "div": "Div", "eq": "Equal",
    "erf": "Erf", "exp": "Exp", "floor": "Floor", "ge": "GreaterOrEqual", "gt": "Greater",
    "le": "LessOrEqual", "log": "Log", "logistic": "Sigmoid", "lt": "Less", "min": "Min", "mul": "Mul", "neg": "Neg",
    "pow": "Pow", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt", "sub": "Sub", "tan": "Tan",
    "tanh": "Tanh",
}  # fmt: skip
LOGICAL = {"and": "And", "not": "Not", "or": "Or", "xor": "Xor"}
REDUCTIONS = {
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
    "reduce_sum": "ReduceSum",
}


def alike(nodes: Nodes, eqn: JaxprEqn, *values: Value) -> Value:
    """The same for every element, on both sides."""
    return nodes(ALIKE[eqn.primitive.name], *values)


def logical(nodes: Nodes, eqn: JaxprEqn, *values: Value) -> Value:
    if eqn.outvars[0].aval.dtype != bool:
        raise Inexpressible("works on bits")
    return nodes(LOGICAL[eqn.primitive.name], *values)


def maximum(nodes: Nodes, eqn: JaxprEqn, x: Value, y: Value) -> Value:
    return nodes("Relu", x) if is_known(y) and np.shape(y) == () and y == 0 else nodes("Max", x, y)


def power(nodes: Nodes, eqn: JaxprEqn, x: Value) -> Value:
    exponent = eqn.params.get("y", 2)
    return nodes("Mul", x, x) if exponent == 2 else nodes("Pow", x, number(eqn, exponent))


def number(eqn: JaxprEqn, value: float) -> np.ndarray:
    """A number in the type of what comes out."""
    return np.asarray(value, eqn.outvars[0].aval.dtype)


def reduced(nodes: Nodes, eqn: JaxprEqn, x: Value) -> Value:
    axes = np.array(eqn.params["axes"], np.int64)
    return nodes(REDUCTIONS[eqn.primitive.name], x, axes, keepdims=0, noop_with_empty_axes=1)


def logically_reduced(nodes: Nodes, eqn: JaxprEqn, x: Value) -> Value:
    kind = {"reduce_and": "ReduceMin", "reduce_or": "ReduceMax"}[eqn.primitive.name]
    axes = np.array(eqn.params["axes"], np.int64)
    return nodes.cast(nodes(kind, nodes.cast(x, np.int32), axes, keepdims=0, noop_with_empty_axes=1), bool)


def arg(kind: str, nodes: Nodes, eqn: JaxprEqn, x: Value) -> Value:
    (axis,) = eqn.params["axes"]
    return nodes.cast(nodes(kind, x, axis=axis, keepdims=0), eqn.params["index_dtype"])


def select(nodes: Nodes, eqn: JaxprEqn, which: Value, *cases: Value) -> Value:
    if len(cases) != 2:
        raise Inexpressible("chooses among more than two")
    which = which if eqn.invars[0].aval.dtype == bool else nodes.cast(which, bool)
    return nodes("Where", which, cases[1], cases[0])


def sort(nodes: Nodes, eqn: JaxprEqn, *values: Value) -> list[Value]:
    axis = eqn.params["dimension"]
    size = eqn.invars[0].aval.shape[axis]
    if len(values) > 1 or not is_number(size):
        raise Inexpressible("sorts several arrays, or examples")
    return nodes("TopK", *values, np.array([size], np.int64), axis=axis, largest=0, outputs=2)[:1]


def broadcast(nodes: Nodes, eqn: JaxprEqn, x: Value) -> Value:
    shape, own = eqn.params["shape"], [1] * len(eqn.params["shape"])
    for size, place in zip(eqn.invars[0].aval.shape, eqn.params["broadcast_dimensions"], strict=True):
        own[place] = size
    x = nodes.reshape(x, own)
    missing = [1 if there == size else size for there, size in zip(own, shape, strict=True)]
    return x if missing == [1] * len(shape) else nodes("Expand", x, nodes.sizes(missing))


def reshape(nodes: Nodes, eqn: JaxprEqn, x: Value) -> Value:
    return nodes.reshape(x, eqn.outvars[0].aval.shape)


def part(nodes: Nodes, eqn: JaxprEqn, x: Value) -> Value:
    starts, limits, shape = eqn.params["start_indices"], eqn.params["limit_indices"], eqn.invars[0].aval.shape
    strides = eqn.params["strides"] or (1,) * len(shape)
    rows = [
        (start, limit, axis, stride)
        for axis, (start, limit, stride) in enumerate(zip(starts, limits, strides, strict=True))
        if (start, limit, stride) != (0, shape[axis], 1)
    ]
    if not all(map(is_number, itertools.chain(*rows))):
        raise Inexpressible("takes a part of the batch")
    return nodes("Slice", x, *np.array(rows, np.int64).T) if rows else x


def pad(nodes: Nodes, eqn: JaxprEqn, x: Value, value: Value) -> Value:
    low, high, between = zip(*eqn.params["padding_config"], strict=True)
    if any(between) or min(*low, *high) < 0:
        raise Inexpressible("pads between elements, or takes some away")
    return nodes("Pad", x, np.array([*low, *high], np.int64), value)


def split(nodes: Nodes, eqn: JaxprEqn, x: Value) -> list[Value]:
    sizes = np.array(eqn.params["sizes"], np.int64)
    return [x] if len(sizes) == 1 else nodes("Split", x, sizes, axis=eqn.params["axis"], outputs=len(sizes))


def stack(nodes: Nodes, eqn: JaxprEqn, *values: Value) -> Value:
    axis = eqn.params["axis"]
    return nodes("Concat", *(nodes("Unsqueeze", x, np.array([axis], np.int64)) for x in values), axis=axis)


def moved(nodes: Nodes, eqn: JaxprEqn, x: Value, *places: Value) -> Value:
    """Elements of each example, taken by places that are known: those of their numbers tell which."""
    (batch, *shape), (first, *result), params = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape, dict(eqn.params)
    if not all(map(is_known, places)):
        raise Inexpressible("takes elements from places that depend on the image")
    if is_number(batch) or is_number(first) or 0 in params.get("dimensions", ()):
        raise Inexpressible("does not leave the batch as it is")
    if "slice_sizes" in params:
        params["slice_sizes"] = (1, *params["slice_sizes"][1:])
    count = math.prod(shape)
    numbers = eqn.primitive.bind(np.arange(count, dtype=np.int32).reshape(1, *shape), *places, **params)
    taken = np.asarray(numbers, np.int64)
    if taken.shape != (1, *result) or (taken < 0).any() or (taken >= count).any():
        raise Inexpressible("takes elements that are not there")
    return nodes.reshape(nodes("Gather", nodes.reshape(x, (batch, count)), taken.reshape(-1), axis=1), (batch, *result))


def dot(nodes: Nodes, eqn: JaxprEqn, x: Value, y: Value) -> Value:
    (summed, its_summed), (kept, its_kept) = eqn.params["dimension_numbers"]
    ranks = [len(variable.aval.shape) for variable in eqn.invars]
    if ranks == [2, 2] and (tuple(summed), tuple(its_summed)) == ((1,), (0,)):
        return nodes("MatMul", x, y)
    letters = string.ascii_letters
    left, right = list(letters[: ranks[0]]), list(letters[ranks[0] : sum(ranks)])
    for axis, its_axis in zip([*kept, *summed], [*its_kept, *its_summed], strict=True):
        right[its_axis] = left[axis]
    free = [*(c for c in left if c not in right), *(c for c in right if c not in left)]
    result = "".join([*(left[axis] for axis in kept), *free])
    return nodes("Einsum", x, y, equation=f"{''.join(left)},{''.join(right)}->{result}")


def convolution(nodes: Nodes, eqn: JaxprEqn, x: Value, kernel: Value) -> Value:
    params, numbers, pads = eqn.params, eqn.params["dimension_numbers"], np.array(eqn.params["padding"])
    if set(params["lhs_dilation"]) != {1} or params["batch_group_count"] != 1 or (pads < 0).any():
        raise Inexpressible("is a transposed convolution, or groups examples")
    y = nodes(
        "Conv",
        nodes.transpose(x, numbers.lhs_spec),
        nodes.transpose(kernel, numbers.rhs_spec),
        strides=list(params["window_strides"]),
        pads=pads.T.reshape(-1).tolist(),
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
    )
    return nodes.transpose(y, np.argsort(numbers.out_spec).tolist())


def pooling(nodes: Nodes, eqn: JaxprEqn, x: Value) -> Value:
    """The greatest of each window, or the sum; windows over the axes between the first and the last."""
    params, pads = eqn.params, np.array(eqn.params["padding"])
    (first, *window, last), strides = params["window_dimensions"], params["window_strides"]
    if not (first == last == strides[0] == strides[-1] == 1 and window) or pads[[0, -1]].any():
        raise Inexpressible("has windows over examples or channels")
    if {*params["base_dilation"], *params["window_dilation"]} != {1}:
        raise Inexpressible("has windows with gaps")
    channels_last = [0, *range(2, len(window) + 2), 1]
    settings = {"kernel_shape": window, "strides": strides[1:-1], "pads": pads[1:-1].T.reshape(-1).tolist()}
    x = nodes.transpose(x, np.argsort(channels_last).tolist())
    if eqn.primitive.name == "reduce_window_max":
        y = nodes("MaxPool", x, **settings)
    else:
        mean = nodes("AveragePool", x, count_include_pad=1, **settings)
        y = nodes("Mul", mean, number(eqn, math.prod(window)))
    return nodes.transpose(y, channels_last)


def as_they_are(nodes: Nodes, eqn: JaxprEqn, *values: Value) -> list[Value]:
    return list(values)


OPERATIONS: dict[str, Operation] = {
    **dict.fromkeys(ALIKE, alike),
    **dict.fromkeys(LOGICAL, logical),
    **dict.fromkeys(REDUCTIONS, reduced),
    **dict.fromkeys(("copy", "copy_p", "name", "optimization_barrier", "stop_gradient"), as_they_are),
    **dict.fromkeys(("reshape", "squeeze", "expand_dims"), reshape),
    **dict.fromkeys(("reduce_and", "reduce_or"), logically_reduced),
    **dict.fromkeys(("gather", "dynamic_slice", "rev"), moved),
    **dict.fromkeys(("reduce_window_max", "reduce_window_sum"), pooling),
    **dict.fromkeys(("integer_pow", "square"), power),
    "argmax": functools.partial(arg, "ArgMax"),
    "argmin": functools.partial(arg, "ArgMin"),
    "broadcast_in_dim": broadcast,
    "cumsum": lambda nodes, eqn, x: nodes(
        "CumSum", x, np.array(eqn.params["axis"]), reverse=int(eqn.params["reverse"])
    ),
    "clamp": lambda nodes, eqn, low, x, high: nodes("Min", nodes("Max", x, low), high),
    "concatenate": lambda nodes, eqn, *values: nodes("Concat", *values, axis=eqn.params["dimension"]),
    "conv_general_dilated": convolution,
    "convert_element_type": lambda nodes, eqn, x: nodes.cast(x, eqn.params["new_dtype"]),
    "dot_general": dot,
    "erfc": lambda nodes, eqn, x: nodes("Sub", number(eqn, 1), nodes("Erf", x)),
    "expm1": lambda nodes, eqn, x: nodes("Sub", nodes("Exp", x), number(eqn, 1)),
    "log1p": lambda nodes, eqn, x: nodes("Log", nodes("Add", x, number(eqn, 1))),
    "max": maximum,
    "ne": lambda nodes, eqn, x, y: nodes("Not", nodes("Equal", x, y)),
    "pad": pad,
    "rsqrt": lambda nodes, eqn, x: nodes("Reciprocal", nodes("Sqrt", x)),
    "select_n": select,
    "slice": part,
    "sort": sort,
    "split": split,
    "stack": stack,
    "transpose": lambda nodes, eqn, x: nodes.transpose(x, eqn.params["permutation"]),
}
