"""Particle swarm optimisation (Kennedy and Eberhart 1995) of any cost of a vector, as one loop on the device."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from archrepair_jax.errors import within
from archrepair_jax.keys import named


@dataclasses.dataclass(frozen=True)
class SwarmSettings:
    """How the particles move, and when they stop.

    The constants are Clerc and Kennedy's (2002). BIRDNN (Liang et al. 2023) takes 0.8, 0.41 and 0.41, and first steps
    of up to 1, which ends further from the optimum: ours starts small, since a repair should change little.

    Attributes:
        particles: how many there are, the start included.
        iterations: evaluations of all particles, at most.
        inertia: how much of its velocity a particle keeps.
        cognitive, social: pulls towards the best position a particle has seen, and towards the best of all.
        bound: coordinates stay in [-bound, bound]; a particle that hits a wall is thrown back.
        velocity: a first step is uniform in [-velocity, velocity], and within the bound.
        tolerance, patience: the swarm stops when its best cost has fallen by no more than ``tolerance`` in each of
            the last ``patience`` iterations.
    """

    particles: int = 20
    iterations: int = 100
    inertia: float = 0.73
    cognitive: float = 1.5
    social: float = 1.5
    bound: float = 1.0
    velocity: float = 0.1
    tolerance: float = 0.0
    patience: int = 30

    def __post_init__(self):
        for name in ("particles", "iterations", "patience"):
            within(name, getattr(self, name), 1)
        for name in ("inertia", "cognitive", "social", "bound", "velocity", "tolerance"):
            within(name, getattr(self, name), 0)


class Swarm(struct.PyTreeNode):
    """P particles in D dimensions, and what they have found.

    Attributes:
        position, velocity: where the particles are and are going.
        own, own_cost: the best position each has seen, and its cost.
        history: the best cost after each iteration; after the last one it stays what it was.
        iteration: how many there have been.
        still: how many of them in a row, up to now, have gained no more than the tolerance.
    """

    position: Float[Array, "P D"]
    velocity: Float[Array, "P D"]
    own: Float[Array, "P D"]
    own_cost: Float[Array, "P"]
    history: Float[Array, "T"]
    iteration: Int[Array, ""]
    still: Int[Array, ""]

    @property
    def best(self) -> Float[Array, "D"]:
        return self.own[self.own_cost.argmin()]


def minimize(
    cost: Callable[[Float[Array, "P D"]], Float[Array, "P"]],
    dimensions: int,
    settings: SwarmSettings,
    key: PRNGKeyArray,
) -> Swarm:
    """Moves a swarm towards the smallest ``cost``, from zero, which is evaluated: so the result is never worse.

    ``cost`` takes all particles at once and is traced once; NaN is never the best.

    Ours: the first particle stays at zero in the first iteration and the others start one step away from there,
    where the reference lets all of them begin at zero; steps go both ways; walls reflect, where the reference lets
    particles leave on one side and enter on the other.
    """

    def more(swarm: Swarm):
        return (swarm.iteration < settings.iterations) & (swarm.still < settings.patience)

    def advance(swarm: Swarm) -> Swarm:
        costs = cost(swarm.position)
        better = costs < swarm.own_cost
        own = jnp.where(better[:, None], swarm.position, swarm.own)
        own_cost = jnp.where(better, costs, swarm.own_cost)
        gained = swarm.own_cost.min() - own_cost.min() > settings.tolerance
        swarm = swarm.replace(
            own=own,
            own_cost=own_cost,
            history=jnp.where(jnp.arange(settings.iterations) < swarm.iteration, swarm.history, own_cost.min()),
            iteration=swarm.iteration + 1,
            still=jnp.where(gained, 0, swarm.still + 1),
        )
        return move(swarm, settings, jax.random.fold_in(key, swarm.iteration))

    shape, reach = (settings.particles, dimensions), min(settings.velocity, settings.bound)
    step = jax.random.uniform(named(key, "start"), shape, minval=-reach, maxval=reach).at[0].set(0.0)
    unknown = jnp.full(settings.particles, jnp.inf)
    start = Swarm(step, step, step, unknown, jnp.full(settings.iterations, jnp.inf), jnp.int32(0), jnp.int32(0))
    return jax.lax.while_loop(more, advance, start)


def move(swarm: Swarm, settings: SwarmSettings, key: PRNGKeyArray) -> Swarm:
    """One step of all particles, reflected at the walls."""
    cognitive, social = jax.random.uniform(key, (2, *swarm.position.shape))
    velocity = (
        settings.inertia * swarm.velocity
        + settings.cognitive * cognitive * (swarm.own - swarm.position)
        + settings.social * social * (swarm.best - swarm.position)
    )
    position = swarm.position + velocity
    outside = jnp.abs(position) > settings.bound
    wall = jnp.clip(position, -settings.bound, settings.bound)
    position = jnp.clip(2 * wall - position, -settings.bound, settings.bound)  # even when thrown across
    return swarm.replace(position=position, velocity=jnp.where(outside, -velocity, velocity))
