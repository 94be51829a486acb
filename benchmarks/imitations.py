"""ACAS Xu networks with other activations, trained until they violate a property too, for a repair to be tried on.

    python benchmarks/imitations.py --path DIR --out NETWORKS [--network N2_9] [--property 2] [--activations tanh gelu]

Each has the sizes of the network that it imitates, on inputs of the whole domain and of the property's region (DIR
holds ``nnet/`` and ``vnnlib/``). It is trained in rounds, until it decides as the original on ``AGREEMENT`` of both and
violates the property on ``VIOLATIONS`` of the region. They are written as ``NETWORKS/<activation>.onnx``.
"""

import argparse
import functools
import pathlib

import jax
import jax.numpy as jnp
import optax

from archrepair_jax.domains.sampling import Regions, draw
from archrepair_jax.models.mlp import ACTIVATIONS, mlp
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.models.onnx import write_onnx
from archrepair_jax.region_pipeline import make_problem, read_case
from archrepair_jax.region_settings import RegionSettings
from archrepair_jax.repair.regions import RegionProblem
from archrepair_jax.repair.survey import Tally, survey

STEPS, ROUNDS, HALF_BATCH, LEARNING_RATE = 4_000, 10, 512, 2e-3
AGREEMENT, VIOLATIONS = 0.95, 1e-3
CHUNKS = 40  # of sampling.CHUNK inputs, to see how a round has ended


@functools.partial(jax.jit, static_argnames=("network", "original", "optimizer"))
def train(network: Network, original: Network, optimizer: optax.GradientTransformation, params, state, fixed, key):
    """One round: new parameters and optimizer state. Distances count in the original's own spread on each half."""
    variables, halves = fixed

    def step(carry, number):
        params, state = carry
        keys = jax.random.split(jax.random.fold_in(key, number), len(halves))
        inputs = [draw(regions, own_key, HALF_BATCH).inputs for regions, own_key in zip(halves, keys, strict=True)]
        wanted = [original.apply(variables, x) for x in inputs]

        def loss(params):
            found = [network.apply({"params": params, "batch_stats": {}}, x) for x in inputs]
            return sum((jnp.square(y - t) / t.var(0)).mean() for y, t in zip(found, wanted, strict=True))

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, state), jnp.arange(STEPS))[0]


def imitate(problem: RegionProblem, activation: str) -> tuple[Network, Variables, Tally, Tally]:
    """A network with ``activation``, and how it compares with the original in the region and in the domain."""
    original, layers = problem.network, problem.variables["params"]
    widths = tuple(len(layers[name]["linear"]["bias"]) for name in original.names[:-1])
    blocks = mlp(original.num_classes, widths=widths, activation=activation)
    network, key = Network(blocks, original.image_shape, original.num_classes), jax.random.key(0)
    optimizer = optax.adam(optax.schedules.cosine_decay_schedule(LEARNING_RATE, STEPS * ROUNDS))
    params = network.init(key)["params"]
    state, halves = optimizer.init(params), (problem.regions, problem.domain)

    def compare(regions: Regions, key: jax.Array) -> Tally:
        networks, variables = (original, network), (problem.variables, {"params": params, "batch_stats": {}})
        return jax.device_get(survey(networks, variables, problem.specification, problem.prop, regions, key, CHUNKS))

    for number in range(1, ROUNDS + 1):
        keys = jax.random.split(jax.random.fold_in(key, number), 3)
        params, state = train(network, original, optimizer, params, state, (problem.variables, halves), keys[0])
        region, domain = (compare(regions, own_key) for regions, own_key in zip(halves, keys[1:], strict=True))
        if min(region.fidelity, domain.fidelity) >= AGREEMENT and region.wrong_after >= VIOLATIONS * region.samples:
            break
    return network, {"params": params, "batch_stats": {}}, region, domain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--network", default="N2_9")
    parser.add_argument("--property", default="2")
    parser.add_argument("--activations", nargs="+", choices=sorted(ACTIVATIONS), default=["tanh", "sigmoid", "gelu"])
    arguments = parser.parse_args()
    settings = RegionSettings(path=arguments.path)
    problem = make_problem(settings, read_case(settings, arguments.network, arguments.property))
    ends = zip(problem.domain.lower[0].tolist(), problem.domain.upper[0].tolist(), strict=True)
    print(f"--config.domain='{tuple(ends)}'")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for activation in arguments.activations:
        network, variables, region, domain = imitate(problem, activation)
        write_onnx(arguments.out / f"{activation}.onnx", network, variables)
        print(
            f"{activation}: {region.wrong_after} violations on {region.samples} inputs of the region; decides as the "
            f"original on {region.fidelity:.2%} of it and on {domain.fidelity:.2%} of the domain",
            flush=True,
        )


if __name__ == "__main__":
    main()
