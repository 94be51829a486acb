"""The line that images and regions share: obtain, diagnose, repair, accept, judge, record.

Every stage is timed, keeps its result in the work folder, and is not run again when that is there. What a method spends
is booked in a ledger of its own. Counter-examples of the acceptance start another round of the repair.
"""

import dataclasses
import functools
import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from archrepair_jax.line.clock import Clock
from archrepair_jax.line.saving import keep, kept
from archrepair_jax.line.work_folder import WorkFolder
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.edits import Edit, apply
from archrepair_jax.repair.problem import Repair
from archrepair_jax.repair.verdict import Verdict, taken
from archrepair_jax.training.ledger import Cost, Ledger, Overspent
from archrepair_jax.training.loop import Diverged, Loop, Stopped

Costs = dict[str, dict[str, float]]  # of stages: seconds, and seconds of compilation


@dataclasses.dataclass
class Arm:
    """One way to go on with a network: as it is, or with a method's repair as far as it was accepted.

    Attributes:
        name: ``original``, or the method's.
        role: ``original``, ``repair`` or ``control``.
        network, variables, edits: what it comes to.
        work: its results.
        spent: by the method and its acceptance.
        repair, verdict: of the last round; None for the original.
        measures: what ``judge`` found; None before.
    """

    name: str
    role: str
    network: Network
    variables: Variables
    work: WorkFolder
    edits: tuple[Edit, ...] = ()
    spent: Cost | None = None
    repair: Repair | None = None
    verdict: Verdict | None = None
    measures: Mapping[str, Any] | None = None


@dataclasses.dataclass
class Line:
    """What the stages of one case share.

    Attributes:
        work: where results are kept.
        loop: devices, progress and signals.
        costs: of the stages so far.
    """

    work: WorkFolder
    loop: Loop
    costs: Costs = dataclasses.field(default_factory=dict)

    def stage(
        self, name: str, make: Callable[[], Any], work: WorkFolder | None = None, file: str = "", beside: str = ""
    ) -> Any:
        """A stage's JSON result, kept as ``file`` with what it cost, and with the variables that it leaves ``beside``.

        Raises Stopped when asked to stop before it.
        """

        def timed() -> dict[str, Any]:
            self.pause(name)
            with Clock() as clock:
                result = make()
            return {"result": result, "cost": clock.cost}

        made = (work or self.work).json(file or name, timed, beside)
        self.costs[name] = made["cost"]
        return made["result"]

    def pause(self, name: str) -> None:
        """Raises Stopped when asked to stop: for work outside of ``Loop``, which looks itself."""
        if self.loop.stopping():
            raise Stopped(f"{name}: stopped")


@runtime_checkable
class Task(Protocol):
    """What the line asks of a task, for one case.

    Attributes:
        line: of the case.
        roles: the methods to run, with their roles.
        repair_type: what its methods return.
    """

    line: Line
    roles: Mapping[str, str]
    repair_type: type[Repair]

    def obtain(self) -> tuple[Network, Variables]:
        """The original network."""

    def diagnose(self, network: Network, variables: Variables) -> Any | None:
        """The problem that methods are given; None if there is nothing to repair."""

    def settings_of(self, method: str) -> Mapping[str, Any]:
        """What a method's results depend on, besides what the whole case does."""

    def ledger(self) -> Ledger:
        """A method's budget."""

    def repair(self, problem: Any, method: str, last: tuple[Repair, Verdict] | None, loop: Loop) -> Repair:
        """What a method makes of the problem, after the last round's repair and verdict."""

    def accept(self, problem: Any, repair: Repair, folder: WorkFolder, loop: Loop) -> Verdict:
        """Whether and how far the repair is taken."""

    def judge(self, arms: Sequence[Arm]) -> None:
        """Measures all arms on what nothing was chosen on."""


def follow(task: Task) -> list[Arm]:
    """The arms of one case, judged: the original, then one a method."""
    line, (network, variables) = task.line, task.obtain()
    arms = [Arm("original", "original", network, variables, line.work.part("arms/original", {}))]
    if problem := task.diagnose(network, variables):
        arms += [repaired(task, arms[0], problem, name, role) for name, role in task.roles.items()]
    task.judge(arms)
    return arms


def repaired(task: Task, original: Arm, problem: Any, name: str, role: str) -> Arm:
    """The arm of one method: rounds of repair and acceptance, until there is no counter-example to learn from."""
    line, ledger = task.line, task.ledger()
    work = line.work.part(f"arms/{name}", task.settings_of(name))

    def report(loop: str, *rest: Any) -> None:
        line.loop.report(f"{name}: {loop}", *rest)

    def stage(what: str, kind: type, make: Callable[[Loop], Any], beside: str = "") -> Any:
        checkpoints = work.path / "checkpoints" / what
        loop = dataclasses.replace(line.loop, folder=checkpoints, report=report, ledger=ledger)

        def booked() -> dict[str, Any]:
            try:
                made = {"kept": keep(work, what, make(loop))}
            except Overspent as error:
                made = {"refused": str(error)}
                if beside:
                    work.keep(beside, original.variables)
            except Stopped as error:
                raise Stopped(f"{name}, {error}") from error  # its loops do not know whose they are
            except Diverged as error:
                raise Diverged(f"{name}, {error}", name) from error
            return made | {"spent": dataclasses.asdict(ledger.spent)}

        made = line.stage(f"{name}: {what}", booked, work, what, beside)
        ledger.spent = Cost(**made["spent"])
        shutil.rmtree(checkpoints, ignore_errors=True)  # the result is kept
        if "refused" in made:
            raise Overspent(made["refused"])
        return kept(work, what, kind, made["kept"], original.network)

    last = None
    try:
        for number in itertools.count():
            make = functools.partial(task.repair, problem, name, last)
            repair = stage(f"repair-{number}", task.repair_type, make, f"repair-{number}-variables")
            verdict = stage(f"accept-{number}", Verdict, functools.partial(task.accept, problem, repair, work))
            if verdict.counterexamples is None:
                break
            last = repair, verdict
    except Overspent as error:
        repair, verdict = Repair((), original.variables, None), Verdict("over budget", str(error))
    edits, variables = taken(original.variables, repair, verdict)
    network = apply(original.network, edits)
    return Arm(name, role, network, variables, work, edits, ledger.spent, repair, verdict)
