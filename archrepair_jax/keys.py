"""Random keys by name, so that a new use of randomness changes no old number."""

import zlib

import jax
from jaxtyping import PRNGKeyArray


def named(key: PRNGKeyArray, name: str) -> PRNGKeyArray:
    """The key of ``name``: ``key`` folded with the name's CRC-32."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
