"""A faulty program that takes milliseconds, a search on it, and, as a program, a worker on that search."""

import pathlib
import sys

import jax
import numpy as np

from archrepair_jax.programs import trials
from archrepair_jax.programs.data import Data, Split
from archrepair_jax.programs.engine import run
from archrepair_jax.programs.layers import dense
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.search import Search
from archrepair_jax.programs.space import space
from archrepair_jax.programs.techniques import TECHNIQUES


def blobs(count: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, count)
    x = random.normal(size=(count, 2)) / 4 + (2.0 * y - 1)[:, None]
    return Split(x.astype(np.float32), np.eye(2, dtype=np.float32)[y])


DATA = Data(blobs(64, 0), blobs(30, 1), blobs(40, 2), outputs=2)
FAULTY = Program(  # its outputs are the same for all inputs, as the first layer's are
    (dense(4, "relu", ki="zeros"), dense(2, "softmax")), "categorical_crossentropy", "adam", 0.02, 16, 8
)


def searching(folder: pathlib.Path, technique: str, budget: int = 6, seed: int = 0, **others):
    folder.mkdir(exist_ok=True, parents=True)
    key = jax.random.key(seed)
    own = space(others.get("space", "S1"), FAULTY, DATA, ("unit1",), budget, key)
    store, study = trials.opened(
        others.get("url") or f"sqlite:///{folder}/trials.db", technique, {"budget": str(budget)}
    )
    return Search(own, TECHNIQUES[technique], budget, key, store, study, alone=others.get("alone", True))


if __name__ == "__main__":
    run(searching(pathlib.Path(sys.argv[1]), "random", budget=int(sys.argv[2]), url=sys.argv[3], alone=False))
