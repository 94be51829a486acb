"""What an iteration of the particle swarm costs: ours against a plain vmapped one.

    python benchmarks/particle_swarm.py --path DIR [--samples 10000] [--iterations 20] [--repeats 5] [--out FILE]

ACAS Xu network N2,9 against property 8, in DIR's ``nnet/`` and ``vnnlib/``: 20 particles scale 20 neurons, judged on
as many positives as negatives. Negatives are rare, so those of two million uniform points are repeated. The plain
version is the same swarm, but every particle runs all samples through the whole network at once and multiplies
activations. Both run in turns; medians of processor seconds, user and system, are compared, and all that a run does
beside its iterations is counted with them. For one core, run it under ``taskset -c 1``.
"""

import argparse
import functools
import pathlib
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from archrepair_jax.evaluation.specification import Specification
from archrepair_jax.models.formats.nnet import read_nnet
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.regions.properties import Property, margin
from archrepair_jax.regions.vnnlib import read_vnnlib
from archrepair_jax.repair.imitation.cases import Cases, Original
from archrepair_jax.repair.imitation.tuning import (
    ImitationTuningSettings,
    behaviour_differences,
    choose_neurons,
    cost_weights,
    tune_neurons,
)
from archrepair_jax.study.provenance import head, this_machine
from archrepair_jax.training.batches import Samples
from archrepair_jax.training.swarm import SwarmSettings, minimize

ADVISORY = Specification(margin, sign=-1)


def draw_cases(network: Network, variables: Variables, prop: Property, count: int) -> Cases:
    """``count`` negatives and as many positives of the property's first box; nothing outside."""
    rng = np.random.default_rng(0)
    apply = jax.jit(network.apply)
    wrong, right = [], []
    for _ in range(20):
        x = rng.uniform(prop.lower[0], prop.upper[0], (100_000, prop.lower.shape[1])).astype(np.float32)
        unsafe = np.asarray(margin(prop, np.zeros(len(x), np.int32), apply(variables, x)) <= 0)
        wrong.append(x[unsafe])
        right.append(x[~unsafe])
    wrong, right = (np.resize(np.concatenate(each), (count, x.shape[1])) for each in (wrong, right))
    nothing = Samples(jnp.zeros((0, x.shape[1])), jnp.zeros(0, jnp.int32))
    negatives, positives = (Samples(jnp.asarray(x), jnp.zeros(count, jnp.int32)) for x in (wrong, right))
    return Cases(negatives, positives, nothing, jax.tree.map(jnp.asarray, prop))


def plain_swarm(network: Network, settings: ImitationTuningSettings) -> Callable:
    """The swarm without any of our savings: ``run(variables, cases, neurons, key)``, compiled."""

    @jax.jit
    def run(variables: Variables, cases: Cases, neurons: list, key):
        x = jnp.concatenate([cases.negatives.inputs, cases.positives.inputs])
        tags = jnp.concatenate([cases.negatives.tags, cases.positives.tags])
        original = ADVISORY.decide(network.apply(variables, x))
        weights, negatives = cost_weights(cases, settings), len(cases.negatives.tags)

        def cost_of_one(w):
            y = x
            for index in range(len(network.blocks)):
                y, _ = network.span(variables, y, index, index + 1)
                blocks, channels = neurons
                y = y * jnp.ones(y.shape[-1]).at[channels].add(jnp.where(blocks == index, w, 0.0), mode="drop")
            wrong, changed = ADVISORY.slack(cases.context, tags, y) <= 0, ADVISORY.decide(y) != original
            counts = wrong[:negatives].sum(), wrong[negatives:].sum(), changed[negatives:].sum(), 0
            return jnp.stack(counts) @ weights

        swarm = minimize(jax.vmap(cost_of_one), len(neurons[0]), settings.swarm, key)
        return swarm.best, swarm.history

    return run


def measure(path: pathlib.Path, samples: int, iterations: int, repeats: int) -> dict[str, float]:
    """Median processor seconds an iteration, of each version."""
    network, variables, _ = read_nnet(path / "nnet" / "ACASXU_run2a_2_9_batch_2000.nnet")
    prop = read_vnnlib(path / "vnnlib" / "prop_8.vnnlib", network.image_shape[0], network.num_classes)
    cases = draw_cases(network, variables, prop, samples)
    settings = ImitationTuningSettings(swarm=SwarmSettings(iterations=iterations, patience=iterations + 1))
    differences = behaviour_differences(network, variables, cases.negatives, cases.positives, settings.chunk)
    chosen = choose_neurons(network, jax.device_get(differences), settings.neurons)
    neurons = jnp.array([network.index(block) for block, _ in chosen]), jnp.array([channel for _, channel in chosen])
    key = jax.random.key(0)
    versions = {
        "plain": functools.partial(plain_swarm(network, settings), variables, cases, neurons, key),
        "ours": lambda: tune_neurons(Original(network, variables, ADVISORY), cases, settings, key).history,
    }
    seconds: dict[str, list[float]] = {name: [] for name in versions}
    for _ in range(repeats + 1):
        for name, version in versions.items():
            start = time.process_time()
            jax.block_until_ready(version())
            seconds[name].append((time.process_time() - start) / iterations)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}  # the first one compiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=pathlib.Path, required=True)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    seconds = measure(arguments.path, arguments.samples, arguments.iterations, arguments.repeats)
    rows = [f"{name},{value:.4f},{value / seconds['plain']:.2f}\n" for name, value in seconds.items()]
    flags = f"--samples {arguments.samples} --iterations {arguments.iterations} --repeats {arguments.repeats}"
    text = head(f"python benchmarks/particle_swarm.py --path DIR {flags}", f"{this_machine()}; seed 0")
    text += "".join(["version,cpu_seconds_per_iteration,ratio_to_plain\n", *rows])
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
