"""Views: the clean images and corrupted copies of them, drawn once and kept as uint8.

The copy of image ``i`` depends on the key, the view and ``i`` alone, so copies are the same in every run and never
depend on which other images are looked at.
"""

import dataclasses
import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, UInt8

from archrepair_jax.data.corruptions import corrupt_one, quantize

CHUNK = 500


@dataclasses.dataclass(frozen=True)
class View:
    """One way of looking at an image: a corruption and its severity (1 to 5), or ``clean`` (severity 0)."""

    kind: str
    severity: int

    def __str__(self) -> str:
        return self.kind if self == CLEAN else f"{self.kind}-{self.severity}"


CLEAN = View("clean", 0)


def render(images: UInt8[np.ndarray, "N H W C"], view: View, key: PRNGKeyArray) -> UInt8[np.ndarray, "N H W C"]:
    """The images as ``view`` shows them, quantised to uint8 as the published corrupted sets are."""
    if view == CLEAN:
        return images
    key = jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(view.kind.encode())), view.severity)
    copies = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        padded = np.pad(chunk, ((0, CHUNK - len(chunk)), (0, 0), (0, 0), (0, 0)))  # one shape, one compilation
        copies[start : start + CHUNK] = _corrupted(padded, key, start, view)[: len(chunk)]
    return copies


@functools.partial(jax.jit, static_argnames="view")
def _corrupted(images, key, start, view):
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(start + jnp.arange(len(images)))
    corrupted = jax.vmap(functools.partial(corrupt_one, kind=view.kind, severity=view.severity))(images / 255.0, keys)
    return quantize(corrupted)
