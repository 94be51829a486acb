"""A repair method as a newcomer would write it: one file, which knows nothing of reports, configs or figures."""

import dataclasses

import jax

from archrepair_jax.errors import InputError, within
from archrepair_jax.repair.method import Method, Plan
from archrepair_jax.repair.problem import Repair


@dataclasses.dataclass(frozen=True)
class ToySettings:
    """How much the last layer's weights grow."""

    factor: float = 1.5

    def __post_init__(self):
        within("factor", self.factor, 0)


def run(problem, settings, own, key, loop) -> Repair:
    """Grows the weights of the last layer, which changes no decision but what the bias says."""
    last = problem.network.names[-1]
    grown = jax.tree.map(lambda leaf: own.factor * leaf, problem.variables["params"][last])
    variables = {**problem.variables, "params": {**problem.variables["params"], last: grown}}
    return Repair((), variables, problem.variables, {"grown": own.factor})


def check(plan: Plan) -> None:
    if plan.own.factor > 9:
        raise InputError("toy cannot grow weights that much: take a factor of 9 or less")


TOY = Method(
    "toy",
    "network",
    run,
    ToySettings,
    check,
    least=lambda plan: 0,
    story=lambda trace: [f"The last layer has grown by {trace['grown']:g}."],
    trace={"grown": {"type": "number"}},
)
