"""Small problems of images, which the methods' tests repair."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import tiny_networks

from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.problem import Examples, Problem
from archrepair_jax.views.view import CLEAN, View


def of_images(network: Network, variables: Variables, block: str, count: int = 32, suspiciousness=None) -> Problem:
    """Images that the network is right about by definition, but for one, and copies of low contrast."""

    @functools.cache
    def look(part: str) -> Examples:
        images, _ = tiny_networks.random_examples(network, count, len(part))
        labels = np.asarray(network.apply(variables, images / np.float32(255))).argmax(-1).astype(np.int32)
        labels[0] = (labels[0] + 1) % network.num_classes
        images = np.concatenate([images, (images * 0.15).astype(np.uint8)])
        scores = np.asarray(network.apply(variables, images / np.float32(255)))
        return Examples(images, np.tile(labels, 2), scores, (CLEAN, View("contrast", 5)))

    return Problem(network, variables, block, look, jax.random.key(0), suspiciousness or {})


def compiled(network: Network, variables: Variables, problem: Problem) -> np.ndarray:
    """The logits of the guard's examples from one compilation, by the emitters that users have."""
    options = {"xla_cpu_use_fusion_emitters": True}
    run = jax.jit(
        lambda v, x: network.span(v, x / np.float32(255), 0, len(network.blocks))[0], compiler_options=options
    )
    return np.asarray(run(variables, problem.guard.images))


def one_by_one(network: Network, variables: Variables, problem: Problem) -> np.ndarray:
    """The logits of the guard's examples, operation by operation: what is compiled in one may round otherwise."""
    variables = jax.tree.map(jnp.asarray, variables)
    return np.asarray(network.apply(variables, problem.guard.images / np.float32(255)))
