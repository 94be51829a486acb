"""The bilevel search (DARTS, Liu et al. 2019): weights learn on training examples, alphas on validation examples.

    min_alpha  L_val(w*(alpha), alpha)      with  w*(alpha) = argmin_w L_train(w, alpha)

Both losses are ``training.batches.repair_loss``. Only what is relaxed learns: what lies before it is computed once and
cached (the pools hold the inputs of the first block that is relaxed), what lies behind it is frozen.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int

from archrepair_jax.errors import one_of, within
from archrepair_jax.models.network import Variables
from archrepair_jax.search.cell import Alphas, mixing_weights
from archrepair_jax.search.relaxation import Relaxation
from archrepair_jax.training.batches import Batch, Pool, draw_batch, repair_loss
from archrepair_jax.training.descent import TuningSettings, make_optimizer
from archrepair_jax.training.ledger import value_and_grad
from archrepair_jax.training.parallel import mean


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """How to search.

    Attributes:
        order: 1 takes the weights as they are for the alphas' gradient, 2 looks one weight step ahead, exactly.
        selection: ``perturbation`` (DARTS-PT, Wang et al. 2021) or ``alpha`` (the largest alpha of an edge).
        warmup_steps: of weights alone, while the new operations are still silent and the alphas would learn nothing.
        steps: of alternating alphas and weights.
        projection_steps: of weights alone after each edge that the perturbation has decided.
        selection_examples: validation examples that judge each candidate's removal.
        alpha_learning_rate, alpha_weight_decay: of Adam with betas (0.5, 0.999), as in DARTS; the rate is ours, since
            our search is a hundred times shorter.
    """

    order: int = 1
    selection: str = "perturbation"
    warmup_steps: int = 40
    steps: int = 100
    projection_steps: int = 10
    selection_examples: int = 512
    alpha_learning_rate: float = 2e-2
    alpha_weight_decay: float = 1e-3

    def __post_init__(self):
        one_of("order", [self.order], (1, 2))
        one_of("selection", [self.selection], ("perturbation", "alpha"))
        for name in ("warmup_steps", "steps", "projection_steps", "alpha_learning_rate", "alpha_weight_decay"):
            within(name, getattr(self, name), 0)
        within("selection_examples", self.selection_examples, 1)


class SearchState(struct.PyTreeNode):
    """What the search changes: weights and statistics of what is relaxed, alphas, and two optimizers' states."""

    step: Int[Array, ""]
    weights: Any
    statistics: Any
    alphas: Alphas
    weight_optimizer: optax.OptState
    alpha_optimizer: optax.OptState


class SearchData(struct.PyTreeNode):
    """What the search reads: the network's variables, the masks of decided edges, and two pools of block inputs."""

    variables: Variables
    masks: Alphas
    train: Pool
    validation: Pool


class Search:
    """What is relaxed in a network, and the steps that learn it.

    Args:
        relaxation: of the network.
        settings, tuning: how alphas and weights learn.
    """

    def __init__(self, relaxation: Relaxation, settings: SearchSettings, tuning: TuningSettings):
        self.relaxation, self.order, self.tuning = relaxation, settings.order, tuning
        projections = settings.projection_steps * relaxation.decisions
        self.weight_optimizer = make_optimizer(tuning, settings.warmup_steps + settings.steps + projections)
        self.alpha_optimizer = optax.adamw(
            settings.alpha_learning_rate, b1=0.5, b2=0.999, weight_decay=settings.alpha_weight_decay
        )

    def start(self, own: Variables) -> SearchState:
        """The state before the first step: equal alphas, and the variables of what is relaxed."""
        alphas = self.relaxation.alphas()
        optimizers = self.weight_optimizer.init(own["params"]), self.alpha_optimizer.init(alphas)
        return SearchState(jnp.int32(0), own["params"], own["batch_stats"], alphas, *optimizers)

    def loss(
        self, weights: Any, alphas: Alphas, statistics: Any, data: SearchData, batch: Batch
    ) -> tuple[Float[Array, ""], Any]:
        """The repair loss of this device's share of a batch, and the updated statistics of what is relaxed."""
        own, mixture = {"params": weights, "batch_stats": statistics}, mixing_weights(alphas, data.masks)
        logits, updated = self.relaxation.logits(own, mixture, data.variables, batch.inputs)
        return repair_loss(logits, batch, self.tuning.preserve), {**statistics, **updated}

    def draw(self, pool: Pool, step: Int[Array, ""]) -> Batch:
        return draw_batch(pool, step, self.tuning.batch_size, self.tuning.failing_share)

    def descend(self, state: SearchState, alphas: Alphas, data: SearchData, batch: Batch):
        """One weight step at ``alphas``, not yet taken: the new weights, their optimizer's state, statistics, loss."""
        gradient = value_and_grad(self.loss, len(batch.labels), has_aux=True)
        (loss, statistics), gradients = gradient(state.weights, alphas, state.statistics, data, batch)
        loss, statistics, gradients = mean((loss, statistics, gradients))
        updates, optimizer = self.weight_optimizer.update(gradients, state.weight_optimizer, state.weights)
        return optax.apply_updates(state.weights, updates), optimizer, statistics, loss

    def alpha_gradient(self, state: SearchState, data: SearchData, train: Batch, validation: Batch) -> Alphas:
        """The gradient of the validation loss with respect to the alphas, over all devices.

        First order: at the present weights. Second order: through the next weight step as the optimizer takes it
        (momentum and clipping included), by ``jax.grad`` of that step.
        """

        def objective(alphas):
            weights = state.weights if self.order == 1 else self.descend(state, alphas, data, train)[0]
            return self.loss(weights, alphas, state.statistics, data, validation)[0]

        return mean(value_and_grad(objective, len(validation.labels))(state.alphas)[1])

    def weight_step(self, state: SearchState, data: SearchData) -> tuple[SearchState, dict]:
        """Weights alone."""
        batch = self.draw(data.train, state.step)
        weights, optimizer, statistics, loss = self.descend(state, state.alphas, data, batch)
        state = state.replace(step=state.step + 1, weights=weights, statistics=statistics, weight_optimizer=optimizer)
        return state, {"loss": loss, "alphas": state.alphas}

    def bilevel_step(self, state: SearchState, data: SearchData) -> tuple[SearchState, dict]:
        """Alphas, then weights, as DARTS alternates them."""
        train, validation = self.draw(data.train, state.step), self.draw(data.validation, state.step)
        gradients = self.alpha_gradient(state, data, train, validation)
        updates, optimizer = self.alpha_optimizer.update(gradients, state.alpha_optimizer, state.alphas)
        alphas = optax.apply_updates(state.alphas, updates)
        return self.weight_step(state.replace(alphas=alphas, alpha_optimizer=optimizer), data)
