"""What a network costs: parameters to store, multiply-adds to classify one image.

Multiply-adds are counted as the published figures are: one for each weight that each output of a convolution or a
linear layer takes in, and none for biases, pooling or batch normalisation, which folds into the layer beside it. Our
own rule, for depthwise filters written as sums of shifted images times weights: one more for each element of any
product of two arrays (so a gate costs one an element, and a GELU too). A product with a scalar is free.
"""

import functools
import math
from collections.abc import Iterator

import flax.linen as nn
import jax
from jax.extend.core import Jaxpr, JaxprEqn
from jax.interpreters.partial_eval import dce_jaxpr

from archrepair_jax.models.network import Network, Variables


def parameters(variables: Variables) -> int:
    """How many numbers training adjusts; running statistics are none of them. Takes arrays or their shapes."""
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


def multiply_adds(network: Network, variables: Variables) -> int:
    """Multiply-adds of the network on one image. Takes arrays or their shapes, and computes nothing."""
    return sum(block_multiply_adds(network, variables).values())


def block_multiply_adds(network: Network, variables: Variables) -> dict[str, int]:
    """Multiply-adds of each block on one image."""
    counts, x = {}, jax.ShapeDtypeStruct((1, *network.image_shape), "float32")
    for index, name in enumerate(network.names):
        block = functools.partial(network.span, start=index, stop=index + 1)
        with nn.intercept_methods(without_normalization):
            traced, (x, _) = jax.make_jaxpr(block, return_shape=True)(variables, x)
        counts[name] = count(traced.jaxpr)
    return counts


def without_normalization(call, args, kwargs, context):
    """Lets a batch normalisation return its input: its scale must not be mistaken for a filter's weight."""
    if isinstance(context.module, nn.BatchNorm) and context.method_name == "__call__":
        return args[0]
    return call(*args, **kwargs)


def count_needed(jaxpr: Jaxpr) -> int:
    """Multiply-adds of what a traced program's results need; a compiler leaves out the rest."""
    return count(dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0])


def count(jaxpr: Jaxpr) -> int:
    """Multiply-adds of a traced program, those of the programs inside it included."""
    total = 0
    for equation in jaxpr.eqns:
        repeats = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += repeats * (own_count(equation) + sum(count(inner) for inner in inner_jaxprs(equation)))
    return total


def own_count(equation: JaxprEqn) -> int:
    outputs = equation.outvars[0].aval.size if equation.outvars else 0
    match equation.primitive.name:
        case "conv_general_dilated":
            kernel, layout = equation.invars[1].aval, equation.params["dimension_numbers"].rhs_spec
            zeros = math.prod(equation.params["lhs_dilation"])  # between the pixels of a strided one's gradient
            return outputs * kernel.size // kernel.shape[layout[0]] // zeros
        case "dot_general":
            contracted = equation.params["dimension_numbers"][0][0]
            return outputs * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        case "mul":
            return outputs if all(operand.aval.ndim for operand in equation.invars) else 0
    return 0


def inner_jaxprs(equation: JaxprEqn) -> Iterator[Jaxpr]:
    for value in equation.params.values():
        for inner in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield inner
