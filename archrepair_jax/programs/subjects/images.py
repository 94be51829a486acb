"""Faults on MNIST and CIFAR-10: M1 to M3 and C1 to C3 (mutants of DeepCrime's operators), D4, D5 and D9 (real ones).

Programs are those of the replication package of Kim et al. (ICST 2023). Ours: all are reduced, so that one training
takes seconds on one core; each subject says how.
"""

import functools
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Num

from archrepair_jax.errors import InputError
from archrepair_jax.files import read_npz
from archrepair_jax.programs.data import Data, Split
from archrepair_jax.programs.layers import conv, dense, dropout, flatten, max_pool
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.subjects.contract import Subject

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
CHOSEN_BY, HELD_OUT = 1_000, 2_000
CLASSES = 10


def read(folder: pathlib.Path, name: str) -> dict[str, np.ndarray]:
    path = folder / f"{name}.npz"
    if not path.exists():
        raise InputError(f"there is no {path}: set ARCHREPAIR_DATA, or data, to the folder that holds {name}.npz")
    found = read_npz(path, lambda declared: [each for each in ARRAYS if each in declared])
    if absent := [each for each in ARRAYS if each not in found]:
        raise InputError(f"{path} lacks {', '.join(absent)}: it is to hold {', '.join(ARRAYS)}")
    return found


def halved(x: Num[np.ndarray, "N H W C"]) -> Num[np.ndarray, "N h w C"]:
    """At half the size: means of two by two pixels."""
    count, high, wide, channels = x.shape
    return x.reshape(count, high // 2, 2, wide // 2, 2, channels).mean((2, 4))


def middle(x: Num[np.ndarray, "N H W C"], side: int) -> Num[np.ndarray, "N side side C"]:
    first = (x.shape[1] - side) // 2
    return x[:, first : first + side, first : first + side]


def pictures(name: str, count: int, prepare: Callable, *, numbers: bool = False, divisor: float = 1.0) -> Callable:
    """How to make the data of a subject: so many images to learn from; others, of the test part, choose and judge.

    Targets are one-hot rows, or ``numbers`` of classes, of which those to learn from are divided by ``divisor``: D9's
    fault.
    """

    def make(random: np.random.Generator, folder: pathlib.Path) -> Data:
        found = read(folder, name)

        def some(part: str, chosen: np.ndarray, divisor: float = 1.0) -> Split:
            x, y = found[f"x_{part}"][chosen], found[f"y_{part}"][chosen].ravel()
            x = prepare(x.reshape(*x.shape[:3], -1).astype(np.float32))
            return Split(x, y / divisor if numbers else np.eye(CLASSES, dtype=np.float32)[y])

        learnt = random.permutation(len(found["x_train"]))[:count]
        others = random.permutation(len(found["x_test"]))
        return Data(
            some("train", learnt, divisor),
            some("test", others[:CHOSEN_BY]),
            some("test", others[CHOSEN_BY : CHOSEN_BY + HELD_OUT]),
            outputs=CLASSES,
        )

    return make


def flat(x: Num[np.ndarray, "N H W C"]) -> Num[np.ndarray, "N D"]:
    return x.reshape(len(x), -1)


M = Program(
    (
        *(conv(32, 3, "relu"), conv(64, 3, "relu"), max_pool(2), dropout(0.25), flatten()),
        *(dense(128, "relu"), dropout(0.5), dense(10, "softmax")),
    ),
    loss="categorical_crossentropy",
    optimizer="adadelta",
    lr=1.0,
    batch_size=32,
    epochs=6,
    scale=255.0,
)
C = Program(
    (
        *(conv(32, 3, "relu"), max_pool(2), conv(64, 3, "relu"), max_pool(2), conv(128, 3, "relu"), max_pool(2)),
        *(flatten(), dense(256, "relu"), dense(128, "relu"), dense(10, "softmax")),
    ),
    loss="sparse_categorical_crossentropy",
    optimizer="adam",
    lr=1e-3,
    batch_size=32,
    epochs=12,
    scale=255.0,
)
NORMAL = {"ki": "unit_normal", "bi": "unit_normal"}
D4 = Program(
    (dense(30, **NORMAL), dense(10, **NORMAL)),
    loss="mean_squared_error",
    optimizer="sgd",
    lr=3.0,
    batch_size=10,
    epochs=30,
    scale=255.0,
)
D5 = Program(
    (
        *(conv(256, 3, "relu"), max_pool(2), conv(128, 2, "relu"), max_pool(2), flatten()),
        *(dense(1024, "relu"), dropout(0.5), dense(10, "softmax")),
    ),
    loss="categorical_crossentropy",
    optimizer="adam",
    lr=1e-3,
    batch_size=40,
    epochs=5,
    scale=255.0,
)
D9 = Program(
    (
        *(conv(64, 3, same=True), max_pool(2), conv(32, 3, same=True), max_pool(2), flatten()),
        *(dense(128, "relu"), dense(10, "softmax")),
    ),
    loss="sparse_categorical_crossentropy",
    optimizer="adam",
    lr=1e-3,
    batch_size=32,
    epochs=4,
    scale=255.0,
)

MNIST = "1,000 images of half the size instead of 60,000; batches of 32 instead of 128, 6 epochs instead of 12"
CIFAR = "3,000 images of 24 x 24 pixels instead of 40,000; batches of 32 instead of 64, 12 epochs instead of 50"
MUTANT = "a mutant of DeepCrime's operator "


def mutant(healthy: Program, fault: dict, make: Callable, sizes: tuple[str, ...], code: str, reduced: str) -> Subject:
    fix = {name: healthy.fields[name] for name in fault}
    return Subject(healthy.changed(fault), fix, make, sizes, MUTANT + code, reduced)


_m = functools.partial(mutant, M, make=pictures("mnist", 1_000, halved), sizes=("unit3", "layer3"), reduced=MNIST)
_c = functools.partial(
    mutant,
    C,
    make=pictures("cifar10", 3_000, functools.partial(middle, side=24), numbers=True),
    sizes=("unit4", "layer4", "unit5", "layer5"),
    reduced=CIFAR,
)
IMAGES = {
    "M1": _m({"lr": 1e-3}, code="HLR"),
    "M2": _m({"ki1": "zeros"}, code="WCI"),
    "M3": _m({"act4": "linear"}, code="ARM"),
    "C1": _c({"act2": "hard_sigmoid"}, code="ACH"),
    "C2": _c({"epochs": 1}, code="HNE"),
    "C3": _c({"ki2": "ones"}, code="WCI"),
    "D4": Subject(
        D4,
        {"act1": "sigmoid", "act2": "softmax", "loss": "categorical_crossentropy", "lr": 0.1},
        pictures("mnist", 5_000, flat),
        ("unit1",),
        "question 48385830",
        "5,000 images instead of 60,000",
    ),
    "D5": Subject(
        D5,
        {"batch_size": 20, "epochs": 15},
        pictures("cifar10", 2_000, functools.partial(middle, side=16)),
        ("layer3",),
        "question 48594888",
        "2,000 images of 16 x 16 pixels instead of 50,000, batches of 40 (fixed: 20) instead of 1,000 (500)",
    ),
    "D9": Subject(
        D9,
        {},
        pictures("mnist", 1_500, halved, numbers=True, divisor=255.0),
        ("unit3", "layer3"),
        "question 59325381",
        "1,500 images of half the size instead of 60,000, 4 epochs instead of 10",
    ),
}
