"""What there is to know of a repair method, in one place: what it does, needs, costs at least, and tells."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from jaxtyping import PRNGKeyArray

from archrepair_jax.errors import InputError
from archrepair_jax.models.network import Network
from archrepair_jax.repair.problem import Problem, Repair
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.ledger import FORWARD, GRADIENT
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import Devices, check_batch


class Unfit(InputError):
    """What one ``method`` cannot work with; others might."""

    def __init__(self, message: str, method: str):
        super().__init__(message)
        self.method = method


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """Of a method that has none of its own."""


@dataclasses.dataclass(frozen=True)
class Team:
    """A method's own settings, and those of the methods that it runs, by name."""

    settings: Any
    others: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is known before any work is done.

    Attributes:
        repair: the settings that all methods share.
        own: the method's own.
        network: the original's description; there may be no weights yet.
        block: that will be repaired or, before that is known, the first that may be blamed.
        devices: on which the steps will run.
        rows: how many ``train``, ``validation`` and ``guard`` examples there are, all views together.
        localized: whether the blocks will be ranked.
    """

    repair: RepairSettings
    own: Any
    network: Network
    block: str
    devices: Devices
    rows: Mapping[str, int]
    localized: bool = True


def prefix_passes(plan: Plan, *parts: str) -> int:
    """Passes of these parts' examples through the blocks before the one to repair."""
    return FORWARD * sum(plan.rows[part] for part in parts) if plan.network.index(plan.block) else 0


def step_passes(plan: Plan) -> int:
    """Passes of one step of descent."""
    return GRADIENT * plan.repair.tuning.batch_size


def check_batches(plan: Plan) -> None:
    """Raises InputError unless a batch divides among the devices."""
    check_batch(plan.repair.tuning.batch_size, plan.devices, "repair.tuning.batch_size")


@dataclasses.dataclass(frozen=True)
class Method:
    """One repair method; ``repair.METHODS`` lists them all.

    Attributes:
        name: under which configs and reports know it.
        scope: what it changes: the suspect ``block``, the ``network`` (weights elsewhere too, or what enters it), or a
            network's decisions in a ``region``.
        run: ``run(problem, settings, own, key, loop) -> Repair``, within the loop's ledger.
        settings: the type of its own settings, a frozen dataclass that checks itself; the config's section
            ``methods.<name>`` follows from it.
        check: raises InputError where the plan cannot work.
        least: the passes that it makes at least.
        story: from a repair's trace to sentences for the report.
        trace: JSON Schemas of what the trace holds, by name.
        others: from its own settings to the methods that it runs; if there are any, ``run`` and ``check`` get a
            ``Team`` in place of its own settings.
        settle: takes what ``run`` does, makes the choice that repairs of parts of a problem share, as which method wins
            a race, and gives the rest as ``repair(problem, loop)``; None where there is no such choice.
    """

    name: str
    scope: Literal["block", "network", "region"]
    run: Callable[[Problem, RepairSettings, Any, PRNGKeyArray, Loop], Repair]
    settings: type = NoSettings
    check: Callable[[Plan], None] = check_batches
    least: Callable[[Plan], int] = step_passes
    story: Callable[[Mapping[str, Any]], list[str]] = lambda trace: []
    trace: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    others: Callable[[Any], tuple[str, ...]] = lambda own: ()
    settle: Callable[..., Callable[[Problem, Loop], Repair]] | None = None

    def settled(
        self, problem: Problem, settings: RepairSettings, own: Any, key: PRNGKeyArray, loop: Loop
    ) -> Callable[[Problem, Loop], Repair]:
        """``run`` for parts of a problem, after the choice that they share."""
        if self.settle:
            return self.settle(problem, settings, own, key, loop)
        return lambda problem, loop: self.run(problem, settings, own, key, loop)
