"""Real faults on generated data: D1, D6, D7 and D8, all at full size.

Programs and data are those of the replication package of Kim et al. (ICST 2023); the questions they come from stand at
stackoverflow.com/questions/NUMBER. Ours: where the package holds out eight points or four, we draw 2,000 more of the
same distribution, since so few cannot tell programs apart.
"""

import pathlib

import numpy as np

from archrepair_jax.programs.data import Data, Split
from archrepair_jax.programs.layers import dense, dropout
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.subjects.contract import Subject

HELD_OUT = 2_000
FIFTH = 5


def split(x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> tuple[Split, Split]:
    """Four fifths and one fifth."""
    order, cut = random.permutation(len(x)), len(x) - len(x) // FIFTH
    return Split(x[order[:cut]], y[order[:cut]]), Split(x[order[cut:]], y[order[cut:]])


def all_or_nothing(random: np.random.Generator, folder: pathlib.Path) -> Data:
    """128 bits, all set or none: which of the two."""

    def some(count: int) -> Split:
        bits = np.repeat([1.0, 0.0], count).astype(np.float32)
        return Split(np.repeat(bits[:, None], 128, 1), bits[:, None])

    return Data(some(10_000), some(80), some(20), outputs=1)


def two_blobs(random: np.random.Generator, folder: pathlib.Path) -> Data:
    """Two squares in the plane: which one a point lies in."""

    def points(count: int) -> tuple[np.ndarray, np.ndarray]:
        near, far = random.uniform(0.2, 0.4, (count, 2)), random.uniform(0.5, 0.7, (count, 2))
        return np.concatenate([near, far]).astype(np.float32), np.repeat(np.eye(2, dtype=np.float32), count, 0)

    return Data(*split(*points(100), random), Split(*points(HELD_OUT // 2)), outputs=2)


def line(random: np.random.Generator, folder: pathlib.Path) -> Data:
    """Five times a number from 1 to 2."""

    def numbers(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = x.astype(np.float32)[:, None]
        return x, 5 * x

    train, validation = split(*numbers(np.linspace(1, 2, 100)), random)
    return Data(train, validation, Split(*numbers(random.uniform(1, 2, HELD_OUT))), outputs=1, metric="mae")


def remainders(random: np.random.Generator, folder: pathlib.Path) -> Data:
    """20 bits, the lowest first: the bits of that number modulo 7, of which accuracy looks at the lowest one set."""

    def numbers(count: int) -> tuple[np.ndarray, np.ndarray]:
        bits = random.integers(0, 2, (count, 20))
        rest = (bits @ 2 ** np.arange(20)) % 7
        return bits.astype(np.float32), (rest[:, None] >> np.arange(20) & 1).astype(np.float32)

    return Data(*split(*numbers(10_000), random), Split(*numbers(HELD_OUT)), outputs=20)


D1 = Program(
    (dense(50, "relu"), dropout(0.2), dense(50, "relu"), dropout(0.2), dense(1, "softmax")),
    loss="binary_crossentropy",
    optimizer="rmsprop",
    lr=1e-3,
)
D6 = Program(
    (dense(2, "sigmoid"), dense(2, "softmax")),
    loss="categorical_crossentropy",
    optimizer="adam",
    lr=1e-3,
    epochs=5,
)
D7 = Program((dense(1),), loss="mean_squared_error", optimizer="rmsprop", lr=1e-3, epochs=200)
D8 = Program(
    (dense(20, "relu"), dense(20, "relu"), dense(20, "softmax")),
    loss="categorical_crossentropy",
    optimizer="sgd",
    lr=0.01,
    batch_size=50,
    epochs=10,
)
SYNTHETIC = {
    "D1": Subject(D1, {"act3": "sigmoid"}, all_or_nothing, ("layer2",), "question 31880720"),
    "D6": Subject(
        D6,
        {"act2": "sigmoid", "loss": "binary_crossentropy", "lr": 0.1, "epochs": 100},
        two_blobs,
        ("unit1",),
        "question 50306988",
    ),
    "D7": Subject(D7, {"lr": 0.1}, line, (), "question 51181393"),
    "D8": Subject(D8, {"optimizer": "adam", "lr": 1e-4}, remainders, ("unit1", "unit2", "layer2"), "question 56380303"),
}
