"""The two passes over a network: neurons' status forward, and weights' gradients backward, a block at a time.

Going block by block keeps at most one block's parameter gradients alive, and blocks that are equal modules with equal
shapes share a compilation.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util
from jaxtyping import Array, ArrayLike, Float, Int

from archrepair_jax.models.network import Network, Variables, block_variables

Neurons = tuple[dict[str, Float[Array, "_B _C"]], ...]  # for each block of a network, {layer: a row an example}

REPLICATE_FLOATS = 2**26  # how many numbers the gradients of simultaneous replicates may take: 256 MiB


class Trace(NamedTuple):
    """What a forward pass leaves behind: each block's input, its neurons' statuses [B, C], and the logits."""

    inputs: tuple[Float[Array, "B ..."], ...]
    statuses: Neurons
    logits: Float[Array, "B K"]


def forward(
    network: Network, variables: Variables, images: Float[ArrayLike, "B ..."], exclude: tuple[str, ...] = ()
) -> Trace:
    """Runs the network in evaluation mode on images in [0, 1]; blocks of ``exclude`` leave no statuses."""
    inputs, statuses, x = [], [], images
    for name in network.names:
        inputs.append(x)
        x, status = _forward(_alone(network, name), _own(variables, name), x)
        statuses.append({} if name in exclude else status)
    return Trace(tuple(inputs), tuple(statuses), x)


def neuron_gradients(
    network: Network,
    variables: Variables,
    trace: Trace,
    labels: Int[Array, " B"],
    weights: Float[Array, "R B"],
    *,
    taylor: bool = False,
) -> Neurons:
    """Per neuron with a status, the mean absolute gradient of its kernel, a row for each row of example weights.

    The loss is the cross-entropy summed over the examples, times their weights. With ``taylor`` each gradient is
    multiplied by its weight: to first order, what removing that weight would change.
    """
    cotangent, gradients = _loss_gradient(trace.logits, labels), []
    for name, x, status in reversed(list(zip(network.names, trace.inputs, trace.statuses, strict=True))):
        cotangent, gradient = _backward(
            _alone(network, name), tuple(status), taylor, _own(variables, name), x, cotangent, weights
        )
        gradients.insert(0, gradient)
    return tuple(gradients)


def stack(neurons: Neurons) -> Float[Array, "_ N"]:
    """All neurons side by side, in the order of the network."""
    return jnp.concatenate(jax.tree.leaves(neurons), -1)


@jax.jit
@jax.grad
def _loss_gradient(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum()


@functools.partial(jax.jit, static_argnums=0)
def _forward(block, variables, x):
    return block.neurons(variables, x, block.names[0])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _backward(block, layers, taylor, variables, x, cotangent, weights):
    """The cotangent of the block's input, and the gradients ``{layer: [R, C]}`` of its neurons."""

    def run(params, x):
        return block.span({**variables, "params": params}, x, 0, 1)[0]

    params = variables["params"]
    upstream = jax.vjp(functools.partial(run, params), x)[1](cotangent)[0]
    if not layers:
        return upstream, {}

    def replicate(weights):
        # In evaluation mode examples do not interact, so the weighted gradient is the weighted sum of theirs.
        def add(total, example):
            x, cotangent, weight = example
            gradient = jax.vjp(lambda params: run(params, x[None]), params)[1](cotangent[None])[0]
            return jax.tree.map(lambda t, g: t + weight * g, total, gradient), None

        total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), (x, cotangent, weights))
        sensitivity = jax.tree.map(jnp.multiply, total, params) if taylor else total
        kernels = traverse_util.flatten_dict(sensitivity[block.names[0]], sep="/")
        return {layer: _mean_magnitude(kernels[f"{layer}/kernel"]) for layer in layers}

    # Replicates that run together share each example's gradient, for it does not depend on the weights.
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    together = min(len(weights), max(1, REPLICATE_FLOATS // size))
    return upstream, jax.lax.map(replicate, weights, batch_size=together)


def _mean_magnitude(kernel: Float[Array, "... C"]) -> Float[Array, " C"]:
    return jnp.abs(kernel).mean(tuple(range(kernel.ndim - 1)))


def _alone(network: Network, name: str) -> Network:
    """One block as a network, under a name that does not tell it from its equals, so that they share a compilation."""
    return dataclasses.replace(network, blocks=(("block", dict(network.blocks)[name]),))


def _own(variables: Variables, name: str) -> Variables:
    """The variables of ``_alone``."""
    own = block_variables(variables, name)
    return {"params": {}} | {collection: {"block": entries} for collection, entries in own.items()}
