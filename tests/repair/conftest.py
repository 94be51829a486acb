"""Small problems for all tests of repair methods: of vectors, and of images."""

import jax
import numpy as np
import pytest
import tiny_networks
import tiny_problems

from archrepair_jax.repair.problem import Examples, Problem
from archrepair_jax.views.view import CLEAN, View


@pytest.fixture(scope="session")
def problem() -> Problem:
    """Vectors: a network that is right on most clean images and, as labels are made up, on few of the others."""
    network = tiny_networks.vector_network()
    variables = tiny_networks.random_variables(network)

    def examples(count: int, seed: int) -> Examples:
        images, _ = tiny_networks.random_examples(network, 2 * count, seed)
        logits = np.asarray(network.apply(variables, images / np.float32(255)))
        labels = logits[:count].argmax(-1).astype(np.int32)
        labels[::5] = (labels[::5] + 1) % network.num_classes
        return Examples(images, np.tile(labels, 2), logits, (CLEAN, View("gaussian_noise", 3)))

    parts = {"train": examples(32, 0), "validation": examples(20, 1), "guard": examples(20, 2)}
    suspiciousness = {"layer2": 0.4, "layer1": -0.1}
    return Problem(network, variables, "layer2", parts.__getitem__, jax.random.key(0), suspiciousness)


@pytest.fixture(scope="session")
def images() -> Problem:
    """Images that the network is right about by definition, and copies of low contrast, which it mostly is not."""
    network = tiny_networks.plain_network()
    return tiny_problems.of_images(network, tiny_networks.random_variables(network), "block1", count=48)
