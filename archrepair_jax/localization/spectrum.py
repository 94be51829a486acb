"""Spectrum fault localization on neurons: which are active when the network fails, and not when it passes.

The four counts and the three formulas are those of DeepFault (Eniser et al., FASE 2019). What counts as active is
ours: the mean *pre*-activation above a threshold, since after a ReLU almost every channel has a positive mean.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Spectrum(NamedTuple):
    """Per neuron, how many examples are (e)xecuted, that is active, or (n)ot, among the (f)ailing and the (p)assing."""

    ef: Float[Array, "*R N"]
    ep: Float[Array, "*R N"]
    nf: Float[Array, "*R N"]
    np: Float[Array, "*R N"]


def count(failing: Bool[Array, "F N"], passing: Bool[Array, "P N"], weights: Float[Array, "*R F"]) -> Spectrum:
    """The spectrum of N neurons from their activity; a failing example counts ``weights`` times.

    Counts are linear in the examples, so one matrix product serves every row of bootstrap weights.
    """
    ef, ep = weights @ failing.astype(jnp.float32), passing.sum(0, dtype=jnp.float32)
    return Spectrum(ef=ef, ep=ep, nf=weights.sum(-1, keepdims=True) - ef, np=len(passing) - ep)


def tarantula(spectrum: Spectrum) -> Float[Array, "*R N"]:
    """Active share among failing / (that + active share among passing), in [0, 1]; 0 where never active."""
    failing = _ratio(spectrum.ef, spectrum.ef + spectrum.nf)
    return _ratio(failing, failing + _ratio(spectrum.ep, spectrum.ep + spectrum.np))


def ochiai(spectrum: Spectrum) -> Float[Array, "*R N"]:
    """ef / sqrt((ef + nf)(ef + ep)): the cosine between being active and failing, in [0, 1]; 0 where never active."""
    return _ratio(spectrum.ef, jnp.sqrt((spectrum.ef + spectrum.nf) * (spectrum.ef + spectrum.ep)))


def dstar(spectrum: Spectrum, star: int = 3) -> Float[Array, "*R N"]:
    """ef^star / (ep + nf), in [0, inf]: infinite where active on all failing and on no passing example."""
    doubt = spectrum.ep + spectrum.nf
    return jnp.where((doubt == 0) & (spectrum.ef > 0), jnp.inf, _ratio(spectrum.ef**star, doubt))


FORMULAS = {"tarantula": tarantula, "ochiai": ochiai, "dstar": dstar}


def _ratio(numerator: Float[Array, "*R N"], denominator: Float[Array, "*R N"]) -> Float[Array, "*R N"]:
    """The quotient, and 0 for 0/0."""
    return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1), 0)
