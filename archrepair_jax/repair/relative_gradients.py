"""Repair of all weights, each block's learning rate being measured: the controls that choose blocks without a search.

``auto_rgn`` is Auto-RGN (Lee et al., Surgical Fine-Tuning Improves Adaptation to Distribution Shifts, ICLR 2023): each
block learns in proportion to its gradient's norm over its weights'. Ours is by block, where theirs is by layer, and
measured once, at the original weights. ``spectrum_rgn`` multiplies that by what localization says of the block, after
"Improving Automatic Surgical Fine-Tuning with Spectrum-based Fault Localization".
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Int, PRNGKeyArray

from archrepair_jax.errors import InputError, within
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.fine_tuning import RateSettings, fine_tune
from archrepair_jax.repair.method import Method, Plan, check_batches, step_passes
from archrepair_jax.repair.problem import Problem, Repair, pool
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.batches import Pool, draw_batch, repair_loss
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.ledger import value_and_grad
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import mean

TOLD = 5  # factors that the report names
UNRANKED = "spectrum_rgn needs the blocks ranked: add localize to stages, or take auto_rgn"


@dataclasses.dataclass(frozen=True)
class RelativeGradientSettings(RateSettings):
    """Of both: ``learning_rate`` is that of a factor of 1.

    Attributes:
        batches: on which the gradient is measured; each costs what a step does.
    """

    batches: int = 8

    def __post_init__(self):
        super().__post_init__()
        within("batches", self.batches, 1)


class GradientState(struct.PyTreeNode):
    """The sum of the gradients of so many steps."""

    step: Int[Array, ""]
    total: dict[str, Any]


def auto_rgn(
    problem: Problem, settings: RepairSettings, own: RelativeGradientSettings, key: PRNGKeyArray, loop: Loop
) -> Repair:
    """All weights; normalisation keeps its statistics."""
    return tune_at(problem, relative_norms(problem, settings.tuning, own.batches, loop), own.tuning(settings), loop)


def spectrum_rgn(
    problem: Problem, settings: RepairSettings, own: RelativeGradientSettings, key: PRNGKeyArray, loop: Loop
) -> Repair:
    """As ``auto_rgn``, each factor times the block's suspiciousness over the largest.

    Negative suspiciousness counts as 0, and so does that of blocks without any: those that localization excludes or
    cannot rank, as the head, stay as they are. Raises InputError where nothing was ranked.
    """
    if not problem.suspiciousness:
        raise InputError(UNRANKED)
    measured = relative_norms(problem, settings.tuning, own.batches, loop)
    suspicious = over_largest({name: max(0.0, problem.suspiciousness.get(name, 0.0)) for name in measured})
    factors = {name: factor * suspicious[name] for name, factor in measured.items()}
    return tune_at(problem, factors, own.tuning(settings), loop)


def relative_norms(problem: Problem, tuning: TuningSettings, batches: int, loop: Loop) -> dict[str, float]:
    """Each block's factor in [0, 1]: the norm of its gradient over that of its weights, over the largest.

    The gradient is the mean over the first batches that a tuning would draw. Blocks without parameters are left out;
    one whose weights are all zero has factor 0.
    """
    params = problem.variables["params"]
    start = GradientState(jnp.int32(0), jax.tree.map(jnp.zeros_like, params))
    data = problem.variables, pool(problem, "train", problem.network.names[0], loop)
    state, _ = loop.run("gradients", gradient_step(problem.network, tuning), start, data, steps=batches)
    gradients, weights = ({name: norm(own) for name, own in tree.items()} for tree in (state.total, params))
    names = [name for name in problem.network.names if name in params]
    return over_largest({name: gradients[name] / weights[name] if weights[name] else 0.0 for name in names})


def norm(tree: Any) -> float:
    return float(jnp.linalg.norm(ravel_pytree(tree)[0]))


def gradient_step(network: Network, tuning: TuningSettings) -> Callable:
    """Adds one batch's gradient of the loss of a tuning."""

    def step(state: GradientState, data: tuple[Variables, Pool]) -> tuple[GradientState, dict]:
        variables, examples = data
        batch = draw_batch(examples, state.step, tuning.batch_size, tuning.failing_share)

        def objective(params):
            x, _ = network.span(variables | {"params": params}, batch.inputs, 0, len(network.blocks))
            return repair_loss(x, batch, tuning.preserve)

        loss, gradients = mean(value_and_grad(objective, len(batch.labels))(variables["params"]))
        return GradientState(state.step + 1, jax.tree.map(jnp.add, state.total, gradients)), {"loss": loss}

    return step


def over_largest(values: Mapping[str, float]) -> dict[str, float]:
    """Values of at least 0 divided by the largest, if that is not 0."""
    return {name: value / (max(values.values()) or 1.0) for name, value in values.items()}


def tune_at(problem: Problem, factors: Mapping[str, float], tuning: TuningSettings, loop: Loop) -> Repair:
    """Descends from the images on, a step costing what one of the whole network does. Raises InputError if all are 0.

    The factors are not rounded: as many schedules as blocks compile about as fast as one.
    """
    if not any(factors.values()):
        raise InputError("no block has both a gradient and a suspiciousness, so none would learn: take another method")
    repair = fine_tune(problem, dict.fromkeys(problem.network.names, 0.0) | factors, tuning, loop)
    return dataclasses.replace(repair, trace={"factors": dict(factors)})


def least(plan: Plan) -> int:
    """The batches measured, and a step."""
    return (plan.own.batches + 1) * step_passes(plan)


def check_spectrum(plan: Plan) -> None:
    check_batches(plan)
    if not plan.localized:
        raise InputError(UNRANKED)


def story(trace: Mapping[str, Any]) -> list[str]:
    ordered = sorted(trace["factors"].items(), key=lambda item: -item[1])
    told = ", ".join(f"{name} × {factor:.2g}" for name, factor in ordered[:TOLD])
    return [f"learning rates, the largest first: {told}{', …' if len(ordered) > TOLD else ''}"]


FACTORS = {
    "type": "object",
    "description": "By block, what its learning rate is multiplied by.",
    "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
}
AUTO = Method(
    "auto_rgn", "network", auto_rgn, RelativeGradientSettings, least=least, story=story, trace={"factors": FACTORS}
)
SPECTRUM = Method(
    "spectrum_rgn",
    "network",
    spectrum_rgn,
    RelativeGradientSettings,
    check_spectrum,
    least,
    story,
    {"factors": FACTORS},
)
