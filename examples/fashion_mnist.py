"""What the three examples share: Fashion-MNIST, and descent on clean images for networks of any kind."""

import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from archrepair_jax.data.sources import DataSettings, load
from archrepair_jax.files import read_npz

FIRST, LABELLED = 50_000, 1_000  # images to train the network on; to repair with, and as many to choose and accept by
Pair = tuple[np.ndarray, np.ndarray]


def data() -> dict[str, Pair]:
    """Images [N, H, W, 1] and labels: ``first`` for training, ``train`` and ``validation`` for the repair, ``test``.

    Of the folder that ARCHREPAIR_DATA names; where it names none, scikit-learn's digits, which are few.
    """
    if not (folder := os.environ.get("ARCHREPAIR_DATA")):
        digits = load(DataSettings(), seed=0)
        parts = {name: getattr(digits, name) for name in ("train", "validation", "test")}
        pairs = {name: (split.images, split.labels) for name, split in parts.items()}
        return pairs | {"first": some(pairs["train"], 0, 700), "train": some(pairs["train"], 700, None)}
    arrays = read_npz(pathlib.Path(folder) / "fashion_mnist.npz")
    whole = arrays["x_train"][..., None], arrays["y_train"]
    return {
        "first": some(whole, 0, FIRST),
        "train": some(whole, FIRST, FIRST + LABELLED),
        "validation": some(whole, FIRST + LABELLED, FIRST + 2 * LABELLED),
        "test": (arrays["x_test"][..., None], arrays["y_test"]),
    }


def some(pair: Pair, start: int, stop: int | None) -> Pair:
    return pair[0][start:stop], pair[1][start:stop]


def train(apply_fn: Callable[[Any, jax.Array], jax.Array], params: Any, pair: Pair, steps: int) -> Any:
    """The parameters after so many steps of Adam on 128 images each."""
    optimizer = optax.adam(optax.schedules.cosine_decay_schedule(2e-3, steps))

    @jax.jit
    def step(params, state, images, labels):
        def loss(params):
            logits = apply_fn(params, images / 255.0)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state, rng = optimizer.init(params), np.random.default_rng(0)
    for number in range(1, steps + 1):
        rows = rng.integers(0, len(pair[1]), 128)
        params, state = step(params, state, *(jnp.asarray(array[rows]) for array in pair))
        if number % 500 == 0:
            print(f"training the network  {number}/{steps}", file=sys.stderr)
    return params
