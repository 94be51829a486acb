"""What there is to know of a repair method, in one place: what it does, needs, costs at least, and tells."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from jaxtyping import PRNGKeyArray

from archrepair_jax.models.network import Network
from archrepair_jax.repair.problem import Problem, Repair
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.training.ledger import Cost
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import Devices

Scope = Literal["block", "network"]


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """Of a method that has none of its own."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is known before any work is done: for early checks.

    Attributes:
        own: the method's own settings.
        repair: those that all methods share.
        network: the original's description; there may be no weights yet.
        block: that will be repaired or, before that is known, the first that may be blamed.
        devices: on which the steps will run.
        rows: how many train and validation examples there are, all views together.
    """

    own: Any
    repair: RepairSettings
    network: Network
    block: str
    devices: Devices
    rows: tuple[int, int]


def nothing(*_: Any) -> None:
    """Checks nothing."""


def one_step(plan: Plan) -> Cost:
    """The least that a descent costs: one step."""
    return Cost(3 * plan.repair.tuning.batch_size)


@dataclasses.dataclass(frozen=True)
class Method:
    """One repair method; ``repair.METHODS`` lists them all.

    Attributes:
        name: under which configs and reports know it.
        scope: what it changes: the suspect ``block``, or weights all over the ``network``.
        run: ``run(problem, settings, own, key, loop) -> Repair``, within the loop's ledger.
        settings: the type of its own settings, a frozen dataclass that checks itself; the config's section
            ``methods.<name>`` follows from it.
        check: raises InputError where the plan cannot work.
        least: what it costs at least.
        story: from a repair's trace to sentences for the report.
        trace: JSON Schemas of what the trace holds, by name.
    """

    name: str
    scope: Scope
    run: Callable[[Problem, RepairSettings, Any, PRNGKeyArray, Loop], Repair]
    settings: type = NoSettings
    check: Callable[[Plan], None] = nothing
    least: Callable[[Plan], Cost] = one_step
    story: Callable[[dict[str, Any]], list[str]] = lambda trace: []
    trace: dict[str, Any] = dataclasses.field(default_factory=dict)
