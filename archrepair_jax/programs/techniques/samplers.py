"""Techniques that Optuna has: random, TPE, a Gaussian process, BOHB; and a scrambled Sobol sequence.

Ours: BOHB is Optuna's multivariate TPE, which conditions on what survived longest, with Hyperband's brackets: rungs at
a 27th, a ninth, a third and all of a training, as Falkner et al. (ICML 2018) have them; the published comparison ran
it with one rung, which is no Hyperband. TPE's options are set in words, since Optuna 5 changed their defaults.
"""

import importlib.util

import numpy as np
from optuna.pruners import HyperbandPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from scipy.stats import qmc

from archrepair_jax.errors import InputError
from archrepair_jax.programs.layers import Value
from archrepair_jax.programs.space import Domain, Interval, Space
from archrepair_jax.programs.techniques.contract import Moves, Technique

RUNGS = (1 / 27, 1 / 9, 1 / 3)
FIRST, ALL = 27, 729  # the same in the search's pieces


def parzen(seed: int) -> BaseSampler:
    return TPESampler(n_startup_trials=10, multivariate=True, constant_liar=True, seed=seed)


def gaussian_process(seed: int) -> BaseSampler:
    if importlib.util.find_spec("torch") is None:
        raise InputError("technique=gp needs PyTorch: python -m pip install torch, or take tpe")
    return GPSampler(seed=seed, n_startup_trials=10)


def quasi_random(space: Space, random: np.random.Generator) -> Moves:
    """A Sobol sequence, scrambled anew in every search, over all fields."""
    sequence = qmc.Sobol(len(space.domains), scramble=True, rng=random)
    yield space.origin
    while True:
        point = sequence.random()[0]
        yield {name: placed(each, at) for (name, each), at in zip(space.domains.items(), point, strict=True)}


def placed(domain: Domain, at: float) -> Value:
    """The value at a place in [0, 1) of a domain."""
    if not isinstance(domain, Interval):
        return domain[int(at * len(domain))]
    if domain.log:
        return float(np.exp(np.log(domain.low) + at * np.log(domain.high / domain.low)))
    return float(domain.low + at * (domain.high - domain.low))


SAMPLERS = {
    "random": Technique("independent draws", sampler=lambda seed: RandomSampler(seed)),
    "quasi_random": Technique("a scrambled Sobol sequence", moves=quasi_random),
    "tpe": Technique("a tree-structured Parzen estimator", sampler=parzen),
    "gp": Technique("a Gaussian process", sampler=gaussian_process),
    "bohb": Technique(
        "a Parzen estimator with Hyperband",
        sampler=parzen,
        pruner=lambda: HyperbandPruner(min_resource=FIRST, max_resource=ALL, reduction_factor=3),
        looks=RUNGS,
    ),
}
