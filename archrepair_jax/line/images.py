"""The line for image classifiers: a data set, a network, views in which it fails, and the guard."""

import dataclasses
import functools
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from archrepair_jax.data.sources import load
from archrepair_jax.data.splits import Dataset, Split, carve
from archrepair_jax.evaluation.answers import Answers, answered
from archrepair_jax.keys import named
from archrepair_jax.line import classifiers, in_front
from archrepair_jax.line.clock import Clock
from archrepair_jax.line.early_checks import (
    check_methods,
    check_network,
    check_training,
    normalization_remarks,
    remarks,
)
from archrepair_jax.line.gallery import gallery, pictured
from archrepair_jax.line.marked import only_marked
from archrepair_jax.line.record import Views, image_record
from archrepair_jax.line.settings import Settings
from archrepair_jax.line.stages import Arm, Line, follow
from archrepair_jax.line.work_folder import WorkFolder, locked
from archrepair_jax.localization import localize
from archrepair_jax.models import build
from archrepair_jax.models.formats.weights import load_weights
from archrepair_jax.models.groups import regroup
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.cross_fitting import cross_fitted
from archrepair_jax.repair.guard import accept, guard_price
from archrepair_jax.repair.problem import Examples, Problem, Repair, logits
from archrepair_jax.repair.verdict import Verdict
from archrepair_jax.reporting import comparison
from archrepair_jax.reporting import report as reports
from archrepair_jax.training.batches import plain_pool
from archrepair_jax.training.descent import merge, start_state, tuning_step
from archrepair_jax.training.ledger import Ledger
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices
from archrepair_jax.views.attacks import attacked
from archrepair_jax.views.view import View, render

PARTS = ("train", "validation", "guard")  # of what a repair may see
ELSEWHERE = (
    "stages",
    "controls",
    "methods",
    "evaluation",
    "steps_per_call",
)  # nothing kept depends on them, or parts do


def run(
    settings: Settings,
    workdir: str | os.PathLike,
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
    dataset = load(settings.data, settings.seed)
    check_training(settings, choose_devices(settings.devices), len(dataset.for_training))
    network = build(settings.model, dataset.train.images.shape[1:], dataset.num_classes)
    given, notes = None, []
    if settings.model.weights:
        check(settings, dataset, network)  # before a file is read
        given = load_weights(settings.model.weights, network, settings.model)
        notes = normalization_remarks(settings.model)
    dataset = only_marked(settings, dataset, network, given)
    return carry_out(settings, dataset, (network, given), workdir, {"notes": notes}, progress, stopping)


def carry_out(
    settings: Settings,
    dataset: Dataset,
    original: tuple[Network, Variables | None],
    workdir: str | os.PathLike,
    told: Mapping[str, Any],
    progress: Callable[[str, int, int, str], None] = lambda *_: None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """The same with the data and the network at hand, which is trained if it has no variables yet.

    ``told`` may hold ``notes``, what is known to weaken the results, to which the data's are added; and the ``call``
    that made the run, where that was no command line.
    """
    network, given = original
    check(settings, dataset, network)
    notes = [*told.get("notes", ()), *dataset.notes, *remarks(dataset)]
    for note in notes:
        progress("note", 1, 1, note)
    with locked(workdir):
        contents = {"the data": fingerprint(dataset)} | ({"model.weights": fingerprint(given)} if given else {})
        work = WorkFolder(workdir, what_matters(settings), contents, lambda said: progress("work folder", 1, 1, said))
        devices, checkpoints = choose_devices(settings.devices), work.path / "checkpoints"
        loop = Loop(devices, progress, stopping, checkpoints, settings.steps_per_call)
        task = Images(settings, Line(work, loop), dataset, network, given)
        arms = follow(task)
        model = classifiers.description(settings.model, network)
        for arm in arms[1:]:
            classifiers.save(arm.work.path, model, dataset.class_names, arm)
        record = image_record(settings, dataset, arms, task.diagnosis, task.line.costs, told.get("call", ""))
        seen, pictures = task.gallery(arms, comparison.best(record["arms"][1:]))
        through, more = task.in_front(arms)
        sections = {"notes": notes, "gallery": seen, "in_front": through}
        return reports.write(work.path, record | sections, [*pictures, *more])


def check(settings: Settings, dataset: Dataset, network: Network) -> None:
    """Raises InputError for what can be known to be wrong before any work is done."""
    grouped, _ = regroup(network, {}, settings.model.groups)
    check_network(settings, grouped)
    check_methods(settings, grouped, choose_devices(settings.devices), rows(settings, dataset))


def what_matters(settings: Settings) -> dict[str, Any]:
    """What all results of a run depend on; those of a method also depend on its own settings."""
    config = {name: value for name, value in dataclasses.asdict(settings).items() if name not in ELSEWHERE}
    return config | {"repair": {name: value for name, value in config["repair"].items() if name != "method"}}


def fingerprint(arrays: Any) -> str:
    """A SHA-256 of a data set's or a network's arrays."""
    digest = hashlib.sha256()
    if isinstance(arrays, Dataset):
        splits = arrays.train, arrays.validation, arrays.test, arrays.rest
        arrays = {
            "names": list(arrays.class_names),
            "arrays": [[each.images, each.labels] for each in splits if each is not None],
        }
    for path, leaf in jax.tree.leaves_with_path(arrays):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data if array.dtype.kind != "U" else str(leaf).encode())
    return digest.hexdigest()


def rows(settings: Settings, dataset: Dataset) -> dict[str, int]:
    """How many examples each part has, all views together."""
    views, held_out = len(settings.failures.views), len(dataset.validation)
    guard = held_out // 2
    train = views * len(dataset.train) + settings.data.clean_images
    return {"train": train, "validation": views * (held_out - guard), "guard": views * guard}


def by_block(units: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The score of each block's most suspicious unit."""
    return {unit["block"]: unit["score"] for unit in sorted(units, key=lambda unit: unit["score"])}


@dataclasses.dataclass
class Images:
    """One run, as the line wants it (``stages.Task``)."""

    settings: Settings
    line: Line
    dataset: Dataset
    network: Network
    given: Variables | None
    diagnosis: dict[str, Any] = dataclasses.field(default_factory=dict)  # for the record
    answers: dict[str, Answers] = dataclasses.field(default_factory=dict)  # to the test split, by arm
    repair_type = Repair

    @property
    def roles(self) -> Mapping[str, str]:
        return self.settings.roles

    def settings_of(self, method: str) -> Mapping[str, Any]:
        return dataclasses.asdict(self.settings.of(method))

    def key(self, name: str) -> jax.Array:
        return named(jax.random.key(self.settings.seed), name)

    def obtain(self) -> tuple[Network, Variables]:
        """The weights that were given, or those trained and kept as ``model.safetensors``; groups are made of them."""
        if not (variables := self.given):
            self.line.stage("train", self.train, file="model", beside="model")
            variables = self.line.work.variables("model", self.network)
        return regroup(self.network, variables, self.settings.model.groups)

    def train(self) -> dict[str, Any]:
        training, network, images = self.settings.training, self.network, self.dataset.for_training
        rates, key = dict.fromkeys(network.names, 1.0), self.key("model")
        step = tuning_step(network, rates, training.descent, train=True)
        variables = network.init(key)
        data = variables, plain_pool(images.images, images.labels, network.num_classes, key)
        start = start_state(variables, rates, training.descent, training.steps)
        state, _ = self.line.loop.run("training", step, start, data, steps=training.steps)
        self.line.work.keep("model", merge(variables, jax.device_get(state)))
        return {"steps": training.steps}

    def diagnose(self, network: Network, variables: Variables) -> Problem | None:
        """The views that the network fails in and the block to blame."""
        settings, stages = self.settings, set(self.settings.stages)
        if not stages - {"evaluate"}:
            return None
        examples = functools.cache(functools.partial(self.examples, network, variables))
        self.diagnosis["failures"] = self.line.stage("diagnose", functools.partial(self.count, examples))
        if not any(self.diagnosis["failures"]["failing"]["train"].values()):
            return None
        if "localize" in stages:
            rank = functools.partial(self.rank, network, variables, examples)
            self.diagnosis["localization"] = self.line.stage("localize", rank)
        if not settings.roles:
            return None
        block = settings.repair.block or self.diagnosis["localization"]["suspect"]
        suspiciousness = by_block(self.diagnosis.get("localization", {"blocks": []})["blocks"])
        return Problem(network, variables, block, examples, self.key("order"), suspiciousness)

    def count(self, examples: Callable[[str], Examples]) -> dict[str, Any]:
        failing, images, views = {}, {}, self.settings.failures.views
        for number, part in enumerate(PARTS, 1):
            self.line.pause("diagnose")
            right = examples(part).correct
            failing[part] = {str(view): int((~row).sum()) for view, row in zip(views, right, strict=True)}
            images[part] = right.shape[1]
            self.line.loop.report("diagnose", number, len(PARTS), "")
        return {"failing": failing, "images": images}

    def split(self, part: str) -> Split:
        """The images of a part; the guard's are carved out of the validation split."""
        if part not in ("validation", "guard"):
            return getattr(self.dataset, part)
        held_out = self.dataset.validation
        guard, search = carve(held_out.labels, len(held_out) // 2, self.settings.seed, "guard")
        return held_out.take(guard if part == "guard" else search)

    def examples(self, network: Network, variables: Variables, part: str) -> Examples:
        """A part in all views to be repaired, with the network's logits."""
        split, views, work = self.split(part), self.settings.failures.views, self.line.work

        def shown(view: View) -> np.ndarray:
            if not view.attack:
                return self.rendered(part, split, view, network, variables)
            return work.arrays(
                f"{part}-{view}-attacked", lambda: {"images": self.rendered(part, split, view, network, variables)}
            )["images"]

        beside = self.beside(part)
        images = np.concatenate([*(shown(view) for view in views), beside.images])
        labels = np.concatenate([np.tile(split.labels, len(views)), beside.labels])

        def scores() -> dict[str, np.ndarray]:
            return {"logits": logits(network, variables, images, self.line.loop.devices)}

        return Examples(images, labels, work.arrays(f"{part}-examples", scores)["logits"], views, len(beside))

    def beside(self, part: str) -> Split:
        """The images that are shown clean beside a part's: of the rest, beside those to learn from."""
        count, rest = self.settings.data.clean_images if part == "train" else 0, self.dataset.rest
        if not count:
            return self.split(part).take(np.arange(0))
        return rest.take(carve(rest.labels, count, self.settings.seed, "clean_images")[0])

    def rendered(
        self, part: str, split: Split, view: View, network: Network, variables: Variables, rows: Any = None
    ) -> np.ndarray:
        """A split's images in one view; an attack is on the network given. ``rows`` are its places in the part."""
        key = named(self.key("views"), part)
        if view.attack:
            return attacked(network, variables, split.images, split.labels, view, key, rows)
        return render(split.images, view, key, rows)

    def rank(self, network: Network, variables: Variables, examples: Callable[[str], Examples]) -> dict[str, Any]:
        """The ranking of blocks, from the train examples."""
        train, settings, report = examples("train"), self.settings.localization, self.line.loop.report
        images, labels, right = train.images, train.labels, train.right
        failing, passing = ((images[chosen], labels[chosen]) for chosen in (~right, right))
        report("localize", 0, 1, "")
        found = localize(network, variables, failing, passing, settings, self.key("localize"))
        report("localize", 1, 1, found.suspect)
        units = [dataclasses.asdict(unit) for unit in found.units]
        order = sorted(units, key=lambda unit: network.index(unit["block"]))
        return {"level": settings.level, "suspect": found.suspect, "blocks": order}

    def ledger(self) -> Ledger:
        return Ledger(self.settings.repair.budget, self.settings.repair.multiply_adds)

    def repair(self, problem: Problem, method: str, last: None, loop: Loop) -> Repair:
        settings, own, key = self.settings.repair, self.settings.of(method), self.key(method)
        if problem.guard.count < settings.guard.fewest:
            run = METHODS[method].settled(problem, settings, own, key, loop)
            return cross_fitted(problem, settings.guard, run, loop)
        with loop.ledger.set_aside(guard_price(problem, settings.guard, loop.devices)):
            return METHODS[method].run(problem, settings, own, key, loop)

    def accept(self, problem: Problem, repair: Repair, folder: WorkFolder, loop: Loop) -> Verdict:
        return accept(problem, repair, self.settings.repair.guard, loop)

    def judge(self, arms: Sequence[Arm]) -> None:
        """Shows the test split to every arm that has not seen a view yet; looked at once, and only here.

        All arms are shown the same images, but for those of adaptive attacks, which are on each arm itself.
        """
        if "evaluate" not in self.settings.stages:
            return
        views = self.settings.evaluation.views
        for number, view in enumerate(views, 1):
            if missing := [arm for arm in arms if not arm.work.has(f"answers/{view}")]:
                self.evaluate(view, missing, arms[0])
                self.line.loop.report("evaluate", number, len(views), str(view))
        kept = {arm.name: [arm.work.arrays(f"answers/{view}", dict) for view in views] for arm in arms}
        for name, seen in kept.items():
            parts = (np.stack([each[part] for each in seen]) for part in ("predictions", "confidences"))
            self.answers[name] = Answers(*parts, self.dataset.test.labels)
            seconds, compile_seconds = (float(sum(each["seconds"][i] for each in seen)) for i in range(2))
            self.line.costs[f"{name}: evaluate"] = {"seconds": seconds, "compile_seconds": compile_seconds}
        repair = next((arm.name for arm in arms if arm.role == "repair"), "")
        for arm in arms:
            arm.measures = Views(self.settings, self.dataset.num_classes).measures(self.answers, arm.name, repair)

    def evaluate(self, view: View, arms: Sequence[Arm], original: Arm) -> None:
        """Keeps what each arm says of the test split in one view."""
        test, devices = self.dataset.test, self.line.loop.devices
        fixed = functools.cache(
            functools.partial(self.rendered, "test", test, view, original.network, original.variables)
        )
        for arm in arms:
            self.line.pause("evaluate")
            with Clock() as clock:
                shown = self.rendered("test", test, view, arm.network, arm.variables) if view.adaptive else fixed()
                said = answered(logits(arm.network, arm.variables, shown, devices))
            seconds = np.array([clock.seconds, clock.compile_seconds])
            arm.work.keep_arrays(f"answers/{view}", said | {"seconds": seconds})

    def gallery(
        self, arms: Sequence[Arm], best: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any] | None, Iterable[np.ndarray]]:
        """Some test examples that the best arm changed, and their images as they were shown, kept with the arm."""
        if not best or not self.answers:
            return None, ()
        original, arm = arms[0], next(arm for arm in arms if arm.name == best["name"])
        answers = (self.answers[each.name] for each in (original, arm))
        section = gallery(arm.name, *answers, self.settings.evaluation.views, self.settings.seed)
        examples = [*section["repaired"]["shown"], *section["broken"]["shown"]]

        def show(view: View, split: Split, rows: np.ndarray) -> np.ndarray:
            return self.rendered("test", split, view, original.network, original.variables, rows)

        digest = zlib.crc32(repr(examples).encode())  # which they are depends on more than the arm: on the views
        kept = arm.work.arrays(f"shown-{digest:08x}", lambda: {"images": pictured(examples, self.dataset.test, show)})
        return section, kept["images"]

    def in_front(self, arms: Sequence[Arm]) -> tuple[dict[str, Any] | None, Iterable[np.ndarray]]:
        """What the repair's block in front of the network makes of an image, and the pictures, kept with the arm."""
        original, ours = arms[0], next((arm for arm in arms if arm.role == "repair"), None)
        if not ours or not in_front.has_block(ours):
            return None, ()

        def seen() -> dict[str, np.ndarray]:
            guard = self.examples(original.network, original.variables, "guard")
            return in_front.looked_through(ours, guard, self.settings.seed, self.line.loop.devices)

        kept = ours.work.arrays("in_front", seen)
        pictures = kept["pictures"].reshape(-1, *kept["pictures"].shape[2:])  # before and after, by view
        return in_front.section(ours.name, self.settings.failures.views, kept), pictures
