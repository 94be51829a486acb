"""Gradient descent on a span of blocks: a whole network from scratch, a whole network, or one block."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int

from archrepair_jax.models.network import Network, Variables
from archrepair_jax.training.batches import Pool, draw, repair_loss
from archrepair_jax.training.parallel import mean


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


class TuningState(struct.PyTreeNode):
    """What a step changes: the trained blocks' parameters and statistics, and the optimizer's state."""

    step: Int[Array, ""]
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    optimizer: optax.OptState


OPTIMIZERS = {
    # eps_root: second-order search differentiates the step, and sqrt(v) has no derivative where a gradient is zero
    "adam": lambda rate, decay: optax.adamw(rate, weight_decay=decay, eps_root=1e-16),
    "sgd": lambda rate, decay: optax.chain(
        optax.add_decayed_weights(decay), optax.sgd(rate, momentum=0.9, nesterov=True)
    ),
}


def make_optimizer(settings: TuningSettings, steps: int) -> optax.GradientTransformation:
    """The optimizer with a cosine to zero over ``steps``, gradients clipped to norm 5 as in DARTS."""
    rate = optax.schedules.cosine_decay_schedule(settings.learning_rate, steps)
    descent = OPTIMIZERS[settings.optimizer](rate, settings.weight_decay)
    return optax.chain(optax.clip_by_global_norm(5.0), descent)


def start_state(network: Network, variables: Variables, span: tuple[int, int], optimizer) -> TuningState:
    """The state before the first step of training blocks ``span[0]`` to ``span[1]`` (exclusive)."""
    names = network.names[slice(*span)]
    params, statistics = (
        {name: variables[collection][name] for name in names if name in variables[collection]}
        for collection in ("params", "batch_stats")
    )
    return TuningState(jnp.int32(0), params, statistics, optimizer.init(params))


def merge(variables: Variables, state: TuningState) -> Variables:
    """The network's variables with the trained blocks' put in."""
    return {
        "params": variables["params"] | state.params,
        "batch_stats": variables["batch_stats"] | state.batch_stats,
    }


def tuning_step(
    network: Network, span: tuple[int, int], optimizer, settings: TuningSettings, *, train: bool
) -> Callable[[TuningState, tuple[Variables, Pool]], tuple[TuningState, dict]]:
    """One step of descent on the blocks of ``span``; the pool's inputs are the inputs of its first block.

    The blocks after the span are frozen and in evaluation mode; ``train`` says whether normalisation inside the span
    uses the batch's statistics (a found block's original branch never does).
    """

    def step(state, data):
        variables, pool = data
        batch = draw(pool, state.step, settings.batch_size, settings.failing_share, settings.augment)

        def objective(params):
            trained = merge(variables, state.replace(params=params))
            y, statistics = network.span(trained, batch.inputs, *span, train=train)
            logits, _ = network.span(variables, y, span[1], len(network.blocks))
            return repair_loss(logits, batch, settings.preserve), statistics

        (loss, statistics), gradients = jax.value_and_grad(objective, has_aux=True)(state.params)
        loss, statistics, gradients = mean((loss, statistics, gradients))
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TuningState(state.step + 1, params, statistics, optimizer_state), {"loss": loss}

    return step
