"""ACAS Xu networks with other activations, trained until they violate a property too, for a repair to be tried on.

    python benchmarks/imitations.py --path DIR --out NETWORKS [--network N2_7] [--property 2] [--activations tanh gelu]

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
from jaxtyping import Array, Float

from archrepair_jax.evaluation.survey import Tally, survey
from archrepair_jax.line.regions import make_problem
from archrepair_jax.models.families.mlp import ACTIVATIONS, mlp
from archrepair_jax.models.formats.onnx import write_onnx
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.regions.acasxu import read_case
from archrepair_jax.regions.sampling import CHUNK, Regions, draw_inputs, uniform
from archrepair_jax.repair.regions import RegionProblem

STEPS, ROUNDS, HALF_BATCH = 2_000, 10, 512
AGREEMENT, VIOLATIONS = 0.95, 1e-3
TEMPERATURE = 5e-4  # of preferences: about the difference between scores that decides
JUDGED = 200_000  # inputs, to see how a round has ended


@functools.partial(jax.jit, static_argnames=("network", "original", "optimizer"))
def train(network: Network, original: Network, optimizer: optax.GradientTransformation, params, state, fixed, key):
    """One round: new parameters and optimizer state.

    What counts are distances, in the original's own spread on the domain, and preferences among decisions.
    """
    variables, halves, scale = fixed

    def step(carry, number):
        params, state = carry
        keys = jax.random.split(jax.random.fold_in(key, number), len(halves))
        inputs = [
            draw_inputs(regions, own_key, HALF_BATCH).inputs for regions, own_key in zip(halves, keys, strict=True)
        ]
        wanted = [original.apply(variables, x) for x in inputs]

        def loss(params):
            found = [network.apply(to_variables(network, params, scale), x) for x in inputs]
            return sum(difference(y, t, scale) for y, t in zip(found, wanted, strict=True))

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, state), jnp.arange(STEPS))[0]


def to_variables(network: Network, params: dict, scale: tuple[Array, Array]) -> Variables:
    """With the head's outputs, which are learned in standard units, in the original's."""
    (mean, spread), linear = scale, params["head"]["linear"]
    head = {"linear": {"kernel": linear["kernel"] * spread, "bias": linear["bias"] * spread + mean}}
    return {"params": params | {"head": head}, "batch_stats": {}}


def difference(y: Float[Array, "B K"], wanted: Float[Array, "B K"], scale: tuple[Array, Array]) -> Float[Array, ""]:
    preferences, wanted_ones = (jax.nn.log_softmax(-scores / TEMPERATURE) for scores in (y, wanted))
    divergence = optax.losses.kl_divergence_with_log_targets(preferences, wanted_ones).mean()
    return jnp.square((y - wanted) / scale[1]).mean() + divergence


def imitate(problem: RegionProblem, activation: str, learning_rate: float) -> tuple[Network, Variables, Tally, Tally]:
    """A network with ``activation``, and how it compares with the original in the region and in the domain."""
    original, layers = problem.original.network, problem.original.variables["params"]
    widths = tuple(len(layers[name]["linear"]["bias"]) for name in original.names[:-1])
    blocks = mlp(original.num_classes, widths=widths, activation=activation)
    network, key = Network(blocks, original.image_shape, original.num_classes), jax.random.key(0)
    optimizer = optax.adam(optax.schedules.cosine_decay_schedule(learning_rate, STEPS * ROUNDS))
    params = network.init(key)["params"]
    state, halves = optimizer.init(params), (problem.regions, problem.domain)
    typical = original.apply(problem.original.variables, uniform(problem.domain, key, JUDGED).inputs)
    scale = typical.mean(0), typical.std(0)

    def compare(regions: Regions, key: jax.Array) -> Tally:
        arms = (original, network), (problem.original.variables, to_variables(network, params, scale))
        return jax.device_get(
            survey(*arms, problem.original.specification, problem.prop, regions, key, JUDGED // CHUNK)
        )

    for number in range(1, ROUNDS + 1):
        keys = jax.random.split(jax.random.fold_in(key, number), 3)
        fixed = problem.original.variables, halves, scale
        params, state = train(network, original, optimizer, params, state, fixed, keys[0])
        region, domain = (compare(regions, own_key) for regions, own_key in zip(halves, keys[1:], strict=True))
        if min(region.fidelity, domain.fidelity) >= AGREEMENT and region.wrong_after >= VIOLATIONS * region.samples:
            break
    return network, to_variables(network, params, scale), region, domain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--network", default="N2_7")
    parser.add_argument("--property", default="2")
    parser.add_argument("--activations", nargs="+", choices=sorted(ACTIVATIONS), default=["tanh", "sigmoid", "gelu"])
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="sigmoid learns with 5e-3")
    arguments = parser.parse_args()
    case = read_case(pathlib.Path(arguments.path), arguments.network, arguments.property)
    problem = make_problem(case, "smallest")
    ends = zip(problem.domain.lower[0].tolist(), problem.domain.upper[0].tolist(), strict=True)
    print(f"--config.domain='{tuple(ends)}'")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for activation in arguments.activations:
        network, variables, region, domain = imitate(problem, activation, arguments.learning_rate)
        write_onnx(arguments.out / f"{activation}.onnx", network, variables)
        print(
            f"{activation}: {region.wrong_after} violations on {region.samples} inputs of the region; decides as the "
            f"original on {region.fidelity:.2%} of it and on {domain.fidelity:.2%} of the domain",
            flush=True,
        )


if __name__ == "__main__":
    main()
