"""The line of stages, from a config to a report; a rerun continues after the last finished stage."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from archrepair_jax.data.sources import load
from archrepair_jax.data.splits import Dataset, Split, carve
from archrepair_jax.line.early_checks import check_batches, check_network
from archrepair_jax.line.saving import rebuild, save
from archrepair_jax.line.settings import Settings
from archrepair_jax.line.summary import summarize
from archrepair_jax.line.work_folder import Clock, WorkFolder
from archrepair_jax.localization import localize
from archrepair_jax.models import build
from archrepair_jax.models.formats.weights import load_weights
from archrepair_jax.models.groups import regroup
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.guard import guarded
from archrepair_jax.repair.problem import Examples, Problem, logits
from archrepair_jax.reporting import report as reports
from archrepair_jax.training.batches import plain_pool
from archrepair_jax.training.descent import make_optimizer, merge, start_state, tuning_step
from archrepair_jax.training.loop import Diverged, Loop, Stopped
from archrepair_jax.training.parallel import choose_devices
from archrepair_jax.views.attacks import attacked
from archrepair_jax.views.view import View, render

KEYS = {name: i for i, name in enumerate(("model", "views", "localize", "order", *METHODS))}  # each use its own key


@dataclasses.dataclass
class Run:
    """What all stages of one run share."""

    settings: Settings
    work: WorkFolder
    loop: Loop
    dataset: Dataset
    network: Network
    costs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def key(self, name: str) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.settings.seed), KEYS[name])

    def stage(
        self, name: str, make: Callable[[], dict[str, Any]], sample_gradients: int | None = None, weights: str = ""
    ) -> dict[str, Any]:
        """A stage's JSON result, computed once, with the ``weights`` it keeps beside; what it cost is kept with it."""

        def timed() -> dict[str, Any]:
            self.pause(name)
            with Clock() as clock:
                result = make()
            return {"result": result, "cost": dataclasses.asdict(clock) | {"sample_gradients": sample_gradients}}

        kept = self.work.json(f"stages/{name}", timed, weights)
        self.costs[name] = kept["cost"]
        return kept["result"]

    def pause(self, name: str) -> None:
        """Raises Stopped when asked to stop: for work outside of ``Loop``, which looks itself."""
        if self.loop.stopping():
            raise Stopped(f"{name}: stopped")


def run(
    settings: Settings,
    workdir: str | pathlib.Path,
    progress: Callable[[str, int, int, str], None] = lambda *_: None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Runs the stages that ``settings`` name and writes the report into ``workdir``.

    Args:
        settings: what to do.
        workdir: the work folder; results found there are used instead of being computed again.
        progress: called with a task's name, steps done, their total and a word.
        stopping: whether to save and stop, looked at between steps.

    Returns:
        The report, as written to ``report.json``.

    Raises:
        InputError: for whatever the user can mend.
        Stopped: when asked to stop.
        Diverged: when a loss is no longer finite.
    """
    devices = choose_devices(settings.devices)
    check_batches(settings, devices)
    dataset = load(settings.data, settings.seed)
    network = build(settings.model, dataset.train.images.shape[1:], dataset.num_classes)
    check_network(settings, regroup(network, {}, settings.model.groups)[0])
    given = load_weights(settings.model.weights, network, settings.model) if settings.model.weights else None
    config = dataclasses.asdict(settings)
    work = WorkFolder(workdir, {key: value for key, value in config.items() if key not in ("stages", "steps_per_call")})
    loop = Loop(devices, progress, stopping, steps_per_call=settings.steps_per_call)
    line = Run(settings, work, loop, dataset, network)

    line.network, variables = regroup(network, given or trained(line), settings.model.groups)
    arms, found = {"before": (line.network, variables)}, {}
    if set(settings.stages) - {"evaluate"}:
        problem, found = diagnose(line, variables)
        if problem and "localize" in settings.stages:
            found["localization"] = suspects(line, problem)
        if problem and {"repair", "controls"} & set(settings.stages):
            problem = dataclasses.replace(problem, block=settings.repair.block or found["localization"]["suspect"])
            found["repairs"] = {}
            for method in settings.methods:
                arms[method], found["repairs"][method] = mend(line, problem, method)
    if "evaluate" in settings.stages:
        found["correct"] = judge(line, arms)

    report = reports.assemble(summarize(settings, dataset, arms, found, line.costs))
    if settings.repair.method in arms:
        told = found["repairs"][settings.repair.method]
        save(work.path, *arms[settings.repair.method], settings.model, dataset.class_names, told)
    reports.write(work.path, report)
    return report


def trained(line: Run) -> Variables:
    """The network's variables, trained on the train split; kept as ``model.safetensors``."""
    training, network = line.settings.training, line.network

    def train() -> dict[str, Any]:
        span, key = (0, len(network.blocks)), line.key("model")
        optimizer = make_optimizer(training.descent, training.steps)
        step = tuning_step(network, span, optimizer, training.descent, train=True)
        images, labels = line.dataset.train.images, line.dataset.train.labels
        variables = network.init(key)
        state = start_state(network, variables, span, optimizer)
        data = variables, plain_pool(images, labels, network.num_classes, key)
        loop = dataclasses.replace(line.loop, folder=line.work.path / "checkpoints")
        state, _ = loop.run("training", step, state, data, steps=training.steps)
        line.work.keep("model", merge(variables, jax.device_get(state)))
        return {"steps": training.steps}

    line.stage("train", train, training.steps * training.descent.batch_size, weights="model")
    return line.work.variables("model", network)


def diagnose(line: Run, variables: Variables) -> tuple[Problem | None, dict[str, Any]]:
    """The examples that the network fails on, in the views to be repaired; no problem if there are none."""
    settings, dataset = line.settings, line.dataset
    views, rows = settings.failures.views, len(dataset.validation)
    guard, search = carve(dataset.validation.labels, rows // 2, settings.seed, "guard")
    splits = {
        "train": dataset.train,
        "validation": dataset.validation.take(search),
        "guard": dataset.validation.take(guard),
    }

    @functools.cache
    def look_at(name: str) -> Examples:
        return look(line, variables, splits[name], name, views)

    def count() -> dict[str, Any]:
        counts = {}
        for number, name in enumerate(splits, 1):
            line.pause("diagnose")
            examples = look_at(name)
            counts[name] = {str(view): int((~right).sum()) for view, right in zip(views, examples.correct, strict=True)}
            line.loop.report("diagnose", number, len(splits), "")
        return {"failing": counts, "images": {name: len(split) for name, split in splits.items()}}

    found = {"failures": line.stage("diagnose", count)}
    if not any(found["failures"]["failing"]["train"].values()):
        return None, found
    return Problem(
        line.network, variables, "", **{name: look_at(name) for name in splits}, key=line.key("order")
    ), found


def look(line: Run, variables: Variables, split: Split, name: str, views: tuple[View, ...]) -> Examples:
    """A split in all views, with the network's logits."""
    key = jax.random.fold_in(line.key("views"), sorted(("train", "validation", "guard", "test")).index(name))
    images = np.concatenate([show(split, view, key, line.network, variables) for view in views])
    labels = np.tile(split.labels, len(views))
    scores = line.work.arrays(
        f"diagnosis/{name}", lambda: {"logits": logits(line.network, variables, images, line.loop.devices)}
    )
    return Examples(images, labels, scores["logits"], views)


def show(split: Split, view: View, key: jax.Array, network: Network, variables: Variables) -> np.ndarray:
    """A split's images in one view; an attack is on the network given."""
    if view.attack:
        return attacked(network, variables, split.images, split.labels, view, key)
    return render(split.images, view, key)


def suspects(line: Run, problem: Problem) -> dict[str, Any]:
    """The ranking of blocks, from the train examples."""
    images, labels, right = problem.train.images, problem.train.labels, problem.train.correct.reshape(-1)

    def rank() -> dict[str, Any]:
        line.loop.report("localize", 0, 1, "")
        localization = localize(
            problem.network,
            problem.variables,
            (images[~right], labels[~right]),
            (images[right], labels[right]),
            line.settings.localization,
            line.key("localize"),
        )
        line.loop.report("localize", 1, 1, localization.suspect)
        units = [dataclasses.asdict(unit) for unit in localization.units]
        order = sorted(units, key=lambda unit: problem.network.index(unit["block"]))
        return {"level": line.settings.localization.level, "suspect": localization.suspect, "blocks": order}

    return line.stage("localize", rank)


def mend(line: Run, problem: Problem, method: str) -> tuple[tuple[Network, Variables], dict[str, Any]]:
    """One method's repair, admitted as far as the guard allows: its network and variables, and what is told of it."""
    weights = f"stages/{method}"

    def repair() -> dict[str, Any]:
        loop = dataclasses.replace(
            line.loop,
            folder=line.work.path / "checkpoints" / method,
            report=lambda name, *rest: line.loop.report(f"{method}: {name}", *rest),
        )
        try:
            repair = METHODS[method](problem, line.settings.repair, line.key(method), loop)
        except (Diverged, Stopped) as error:
            raise type(error)(f"{method}, {error}") from error  # its loops do not know whose they are
        repair, verdict = guarded(problem, repair, line.settings.repair.guard, line.loop.devices)
        line.work.keep(weights, repair.variables)
        return {
            "block": problem.block,
            "guard": verdict,
            "sample_gradients": repair.sample_gradients,
            **repair.details,
        }

    told = line.stage(method, repair, weights=weights)
    line.costs[method]["sample_gradients"] = told["sample_gradients"]
    network = rebuild(problem.network, told)
    return (network, line.work.variables(weights, network)), told


def judge(line: Run, arms: dict[str, tuple[Network, Variables]]) -> dict[str, np.ndarray]:
    """Where each arm is right on the test split: [V, N] for the evaluation's views. Looked at once, and only here.

    All arms are shown the same images, but for those of adaptive attacks, which are on each arm itself.
    """
    settings, test = line.settings, line.dataset.test
    views = settings.evaluation.views

    def look_at(view: View) -> dict[str, np.ndarray]:
        shown = functools.partial(show, test, view, jax.random.fold_in(line.key("views"), len("test")))
        fixed = None if view.adaptive else shown(*arms["before"])
        return {
            name: logits(*arm, shown(*arm) if view.adaptive else fixed, line.loop.devices).argmax(-1) == test.labels
            for name, arm in arms.items()
        }

    def right(view: View) -> dict[str, np.ndarray]:
        return line.work.arrays(f"evaluation/{'-'.join(arms)}/{view}", lambda: look_at(view))

    def all_views() -> dict[str, Any]:
        for number, view in enumerate(views, 1):
            line.pause("evaluate")
            right(view)
            line.loop.report("evaluate", number, len(views), str(view))
        return {"views": [str(view) for view in views], "arms": list(arms)}

    line.stage(f"evaluate-{'-'.join(arms)}", all_views)
    kept = [right(view) for view in views]
    return {name: np.stack([view[name] for view in kept]) for name in arms}
