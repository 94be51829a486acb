"""What the three examples share: Fashion-MNIST, and a small CNN trained on it without noise."""

import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from archrepair_jax.files import read_npz

TRAIN, HELD_OUT = 50_000, 2_000  # images to train the network on; to repair with; to choose and accept by


def data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels: ``first`` for training, ``train`` and ``validation`` for the repair, ``test``.

    From the folder that ARCHREPAIR_DATA names; where it names none, scikit-learn's digits, of the same size.
    """
    folder = os.environ.get("ARCHREPAIR_DATA")
    if folder:
        arrays = read_npz(pathlib.Path(folder) / "fashion_mnist.npz")
        images, labels, test = arrays["x_train"], arrays["y_train"], (arrays["x_test"], arrays["y_test"])
        first, held_out = TRAIN, HELD_OUT
    else:
        images, labels = digits()
        test, images, labels = (images[:300], labels[:300]), images[300:], labels[300:]
        first, held_out = 900, 250
    parts = {"first": slice(first), "train": slice(first, first + held_out)}
    parts["validation"] = slice(first + held_out, first + 2 * held_out)
    return {part: (images[rows], labels[rows]) for part, rows in parts.items()} | {"test": test}


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The digits of scikit-learn, enlarged to 28x28."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.kron(bunch.images[:, :7, :7], np.ones((4, 4)))
    return np.rint(images * (255 / 16)).astype(np.uint8), bunch.target.astype(np.int32)


def train(apply_fn: Callable[[Any, jax.Array], jax.Array], params: Any, pair: tuple, steps: int = 600) -> Any:
    """The parameters after descent on clean images, 128 of them a step."""
    images, labels = pair[0][..., None], pair[1]
    optimizer = optax.adam(optax.schedules.cosine_decay_schedule(2e-3, steps))

    @jax.jit
    def step(params, state, x, y):
        def loss(params):
            logits = apply_fn(params, x / 255.0)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state, rng = optimizer.init(params), np.random.default_rng(0)
    for number in range(steps):
        rows = rng.integers(0, len(labels), 128)
        params, state = step(params, state, jnp.asarray(images[rows]), jnp.asarray(labels[rows]))
        if number % 100 == 0:
            print(f"training the network: {number}/{steps}", file=sys.stderr)
    return params
