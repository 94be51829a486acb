"""Views: the clean images, corrupted copies of them and attacked ones, drawn once and kept as uint8.

The copy of image ``i`` depends on the key, the view and ``i`` alone, so copies are the same in every run and never
depend on which other images are looked at; an attacked copy also depends on the network that is attacked, and is made
by ``localization.attacks``.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt8

from archrepair_jax.data.corruptions import corrupt_one, quantize
from archrepair_jax.keys import named

CHUNK = 500
ATTACKS = ("fgsm", "pgd")
ADAPTIVE = tuple(f"adaptive_{attack}" for attack in ATTACKS)


@dataclasses.dataclass(frozen=True)
class View:
    """One way of looking at an image: a corruption or an attack and its severity (1 to 5), or ``clean`` (severity 0).

    An attack is on the original network, and every network is shown the same images; an adaptive one is made anew
    against each network that is looked at.
    """

    kind: str
    severity: int

    @property
    def attack(self) -> str:
        """The name of the attack, adaptive or not; empty for corruptions."""
        name = self.kind.removeprefix("adaptive_")
        return name if name in ATTACKS else ""

    @property
    def adaptive(self) -> bool:
        return self.kind in ADAPTIVE

    def __str__(self) -> str:
        return self.kind if self == CLEAN else f"{self.kind}-{self.severity}"


CLEAN = View("clean", 0)


def render(
    images: UInt8[np.ndarray, "N H W C"], view: View, key: PRNGKeyArray, rows: Int[np.ndarray, " N"] | None = None
) -> UInt8[np.ndarray, "N H W C"]:
    """The images as a corruption or the clean view shows them, quantised to uint8 as the published sets are.

    ``rows`` are the images' places in their set, where these are not all of it.
    """
    if view == CLEAN:
        return images
    key = view_key(key, view.kind, view.severity)
    return copied(lambda keys, chunk: _corrupted(chunk, keys, view), key, images, rows=rows)


def view_key(key: PRNGKeyArray, kind: str, severity: int) -> PRNGKeyArray:
    """The key of a kind of view at a severity."""
    return jax.random.fold_in(named(key, kind), severity)


def copied(
    copy: Callable[..., UInt8[Array, "B H W C"]],
    key: PRNGKeyArray,
    images: UInt8[np.ndarray, "N H W C"],
    *more: np.ndarray,
    rows: Int[np.ndarray, " N"] | None = None,
) -> UInt8[np.ndarray, "N H W C"]:
    """``copy(keys, images, *more)`` of all images, ``CHUNK`` at a time; each image has a key of its own, by its row."""
    copies, rows = np.empty_like(images), np.arange(len(images)) if rows is None else rows
    for start in range(0, len(images), CHUNK):
        chunks = [array[start : start + CHUNK] for array in (rows, images, *more)]
        size = len(chunks[0])
        padded = [np.pad(chunk, ((0, CHUNK - size),) + ((0, 0),) * (chunk.ndim - 1)) for chunk in chunks]
        keys = _keys(key, padded[0].astype(np.int32))
        copies[start : start + CHUNK] = copy(keys, *padded[1:])[:size]  # one shape, one compilation
    return copies


@jax.jit
def _keys(key, rows):
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(rows)


@functools.partial(jax.jit, static_argnames="view")
def _corrupted(images, keys, view):
    corrupted = jax.vmap(functools.partial(corrupt_one, kind=view.kind, severity=view.severity))(images / 255.0, keys)
    return quantize(corrupted)
