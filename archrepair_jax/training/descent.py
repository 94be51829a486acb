"""Gradient descent on some blocks of a network, each at a rate of its own: on one, on all, or on any in between."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int

from archrepair_jax.data.augment import AUGMENTATIONS
from archrepair_jax.errors import one_of, within
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.training.batches import Pool, draw_batch, repair_loss
from archrepair_jax.training.ledger import value_and_grad
from archrepair_jax.training.parallel import mean

OPTIMIZERS = {  # but for the learning rate
    # eps_root: second-order search differentiates the step, and sqrt(v) has no derivative where a gradient is zero
    "adam": lambda decay: optax.chain(optax.scale_by_adam(eps_root=1e-16), optax.add_decayed_weights(decay)),
    "sgd": lambda decay: optax.chain(optax.add_decayed_weights(decay), optax.trace(0.9, nesterov=True)),
}


@dataclasses.dataclass(frozen=True)
class TuningSettings:
    """How to descend.

    Attributes:
        optimizer: a key of ``OPTIMIZERS``: ``adam``, or ``sgd`` with Nesterov momentum 0.9.
        learning_rate: at the start; it falls to zero along a cosine.
        weight_decay: on every trained weight, decoupled for ``adam``, as an L2 term for ``sgd``.
        batch_size: over all devices.
        failing_share: the share of failing examples in a batch.
        preserve: the weight of keeping the original's answers (see ``repair_loss``).
        augment: names from ``data.augment``; only images can be augmented, cached features cannot.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 128
    failing_share: float = 0.5
    preserve: float = 1.0
    augment: tuple[str, ...] = ()

    def __post_init__(self):
        one_of("optimizer", [self.optimizer], OPTIMIZERS)
        one_of("augment", self.augment, AUGMENTATIONS)
        within("failing_share", self.failing_share, 0, 1)
        for name in ("learning_rate", "weight_decay", "preserve"):
            within(name, getattr(self, name), 0)


class Falling(struct.PyTreeNode):
    """How far a learning rate has fallen: updates so far, of so many."""

    count: Int[Array, ""]
    steps: Int[Array, ""]


class TuningState(struct.PyTreeNode):
    """What a step changes: the trained blocks' parameters and statistics, and the optimizer's state."""

    step: Int[Array, ""]
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    optimizer: optax.OptState


Rates = Mapping[str, float]  # which blocks learn, and by how much the learning rate is multiplied for each


def falling(rate: float, steps: int) -> optax.GradientTransformation:
    """Descent at a rate that falls to zero along a cosine over ``steps``, as ``optax.cosine_decay_schedule`` has it.

    How many steps stands in the state and not in the program, so that one compiled step serves descents of any length.
    """

    def update(updates, state, params=None):
        angle = jnp.minimum(state.count, state.steps) * (jnp.pi * (1 / state.steps))  # as XLA folds optax's, bit by bit
        share = 0.5 * (1 + jnp.cos(angle))
        return jax.tree.map(lambda leaf: -(rate * share) * leaf, updates), state.replace(count=state.count + 1)

    return optax.GradientTransformation(lambda params: Falling(jnp.int32(0), jnp.int32(steps)), update)


def make_optimizer(settings: TuningSettings, steps: int, rates: Rates | None = None) -> optax.GradientTransformation:
    """The optimizer with a cosine to zero over ``steps``, gradients clipped to norm 5 as in DARTS.

    ``rates`` are those of a tree of parameters keyed by block name; without them every parameter has the settings'.
    """

    def descent(factor: float) -> optax.GradientTransformation:
        direction = OPTIMIZERS[settings.optimizer](settings.weight_decay)
        return optax.chain(direction, falling(factor * settings.learning_rate, steps))

    if rates is None:
        return optax.chain(optax.clip_by_global_norm(5.0), descent(1.0))

    def labels(params: Any) -> dict[str, float]:
        return {name: rates[name] for name in params}  # a block without parameters has no entry

    parts = optax.partition({factor: descent(factor) for factor in rates.values()}, labels)
    return optax.chain(optax.clip_by_global_norm(5.0), parts)


def start_state(variables: Variables, rates: Rates, settings: TuningSettings, steps: int) -> TuningState:
    """The state before the first of ``steps`` that train the blocks that have a rate."""
    params, statistics = (
        {name: own for name, own in variables[collection].items() if name in rates}
        for collection in ("params", "batch_stats")
    )
    return TuningState(jnp.int32(0), params, statistics, make_optimizer(settings, steps, rates).init(params))


def merge(variables: Variables, state: TuningState) -> Variables:
    """The network's variables with the trained blocks' put in."""
    return {
        "params": variables["params"] | state.params,
        "batch_stats": variables["batch_stats"] | state.batch_stats,
    }


def first_block(network: Network, rates: Rates) -> int:
    """The index of the first block that learns; what lies before it is computed once. Raises ValueError for none."""
    return min(network.index(name) for name in rates)


Step = Callable[[TuningState, tuple[Variables, Pool]], tuple[TuningState, dict]]


def tuning_step(network: Network, rates: Rates, settings: TuningSettings, *, train: bool) -> Step:
    """One step of descent on the blocks that have a rate; the pool's inputs are those of the first of them.

    The other blocks are frozen and in evaluation mode; ``train`` says whether normalisation inside those that learn
    uses the batch's statistics (a found block's original branch never does). Asked for twice, it is the same object,
    compiled once.
    """
    return _tuning_step(network, tuple(rates.items()), settings, train)


@functools.lru_cache(maxsize=16)
def _tuning_step(network: Network, learning: tuple[tuple[str, float], ...], settings: TuningSettings, train: bool):
    rates = dict(learning)
    first, optimizer = first_block(network, rates), make_optimizer(settings, 1, rates)

    def step(state, data):
        variables, pool = data
        batch = draw_batch(pool, state.step, settings.batch_size, settings.failing_share, settings.augment)

        def objective(params):
            trained, x, statistics = merge(variables, state.replace(params=params)), batch.inputs, {}
            for index, name in enumerate(network.names[first:], first):
                x, updated = network.span(trained, x, index, index + 1, train=train and name in rates)
                statistics |= {name: updated[name] for name in updated if name in rates}
            return repair_loss(x, batch, settings.preserve), statistics

        gradient = value_and_grad(objective, len(batch.labels), has_aux=True)
        (loss, statistics), gradients = mean(gradient(state.params))
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TuningState(state.step + 1, params, statistics, optimizer_state), {"loss": loss}

    return step
