"""From the arms and the stages' results to what a report says, the same for images and for regions."""

import dataclasses
import functools
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax
import jax
import numpy as np
import optax

from archrepair_jax.data.splits import Dataset
from archrepair_jax.evaluation.answers import Answers
from archrepair_jax.evaluation.metrics import accuracy, break_rate, paired_difference, repair_rate
from archrepair_jax.line.region_settings import RegionSettings
from archrepair_jax.line.settings import Settings
from archrepair_jax.line.stages import Arm, Costs
from archrepair_jax.models.cost import multiply_adds, parameters
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.edits import to_json
from archrepair_jax.views.view import CLEAN, View

PACKAGE, SCRIPT = "archrepair_jax", "archrepair-jax"


def image_record(
    settings: Settings, dataset: Dataset, arms: Sequence[Arm], diagnosis: Mapping[str, Any], costs: Costs, call: str
) -> dict[str, Any]:
    """The record of a run over images; ``diagnosis`` holds the failures' counts and the localization that there are.

    ``call`` is what made it, where that was no command line.
    """
    localization, original = diagnosis.get("localization"), arms[0]
    block = settings.repair.block or (localization and localization["suspect"])
    return {
        "task": "images",
        "status": status(arms, diagnosis),
        "config": dataclasses.asdict(settings),
        "data": data_section(dataset),
        "model": {
            "name": settings.model.name,
            "weights": settings.model.weights or None,
            **size(original.network, original.variables),
        },
        "failures": failures_section(settings, diagnosis["failures"]) if "failures" in diagnosis else None,
        "localization": localization,
        "arms": [arm_section(arm, costs, where=block) for arm in arms],
        "cost": {"stages": costs, **total_cost(costs, "")},
        "environment": environment(call),
    }


def status(arms: Sequence[Arm], diagnosis: Mapping[str, Any]) -> str:
    """How a run over images ended."""
    if "failures" in diagnosis and not any(diagnosis["failures"]["failing"]["train"].values()):
        return "nothing_to_repair"
    decisions = [arm.verdict.decision for arm in arms if arm.role == "repair"]
    if decisions:
        return "unchanged" if decisions[0] == "over budget" else decisions[0]
    return "localized" if "localization" in diagnosis else "evaluated"


def arm_section(
    arm: Arm, costs: Costs, where: str | None = None, case: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """One arm; ``where`` is the block that methods of blocks act on."""
    method, verdict = METHODS.get(arm.name), arm.verdict
    return {
        "name": arm.name,
        "role": arm.role,
        "case": case,
        "scope": method and method.scope,
        "where": where if method and method.scope == "block" else None,
        "edits": to_json(arm.edits),
        "spent": arm.spent
        and {
            "sample_gradients": arm.spent.sample_gradients,
            "multiply_adds": arm.spent.multiply_adds,
            **total_cost(costs, f"{arm.name}: repair", f"{arm.name}: accept"),
        },
        "verdict": verdict and verdict.as_json(),
        "size": size(arm.network, arm.variables),
        "measures": arm.measures,
        "trace": dict(arm.repair.trace) if arm.repair else {},
    }


def region_record(settings: RegionSettings, arms: Sequence[Mapping[str, Any]], costs: Costs) -> dict[str, Any]:
    """The record of a run over regions, of all cases so far; ``arms`` are sections."""
    return {
        "task": "regions",
        "status": None,
        "config": dataclasses.asdict(settings),
        "arms": list(arms),
        "cost": {"stages": costs, **total_cost(costs, "")},
        "environment": environment(),
    }


def total_cost(costs: Costs, *beginnings: str) -> dict[str, float]:
    """What the stages of these names cost together."""
    own = [cost for name, cost in costs.items() if name.startswith(beginnings)]
    return {unit: sum(cost[unit] for cost in own) for unit in ("seconds", "compile_seconds")}


def data_section(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "image_shape": dataset.train.images.shape[1:],
        "classes": dataset.num_classes,
        "class_names": dataset.class_names,
        "train": len(dataset.train),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
        "test_by_class": np.bincount(dataset.test.labels, minlength=dataset.num_classes),
    }


def size(network: Network, variables: Variables) -> dict[str, int]:
    return {"parameters": parameters(variables), "multiply_adds": multiply_adds(network, variables)}


def failures_section(settings: Settings, counted: Mapping[str, Any]) -> dict[str, Any]:
    """The report knows one validation split; the run divides it into a part for choosing and a part for the guard."""
    failing, images = counted["failing"], counted["images"]
    held_out = images["validation"] + images["guard"]
    rows = [
        {
            "kind": view.kind,
            "severity": view.severity,
            "train_failing": failing["train"][str(view)],
            "train_examples": images["train"],
            "validation_failing": failing["validation"][str(view)] + failing["guard"][str(view)],
            "validation_examples": held_out,
        }
        for view in settings.failures.views
    ]
    total = sum(row["train_failing"] + row["validation_failing"] for row in rows)
    return {"views": rows, "failing": total, "passing": len(rows) * (images["train"] + held_out) - total}


class Views:
    """The evaluation's views, and the figures taken over them."""

    def __init__(self, settings: Settings, classes: int):
        self.views, self.classes = settings.evaluation.views, classes
        self.seen = {view.kind for view in settings.failures.views}

    def measures(self, answers: Mapping[str, Answers], name: str, repair: str) -> dict[str, Any]:
        """What an arm's answers come to, beside the original's and the repair's; ``answers`` are by arm.

        The difference to the repair is over the corrupted views; without any, over the clean one.
        """
        own, clean = answers[name].right, accuracy(answers[name].right[:1])
        others, difference = self.rows(lambda _: True), None
        if repair and name != repair:
            rows = others or [0]
            rate = paired_difference(own[rows], answers[repair].right[rows])
            difference = {"value": rate.value, "low": rate.low, "high": rate.high}
        corrupted = self.means(own) | {"by_kind": self.by_kind(own)} if len(self.views) > 1 else None
        return {
            "clean": {"accuracy": clean.value, "low": clean.low, "high": clean.high},
            "corrupted": corrupted,
            "outcome": self.outcome(answers["original"].right, own),
            "difference_to_repair": difference,
            "by_class": self.grounds(others, functools.partial(answers[name].by_class, classes=self.classes)),
            "calibration": self.grounds(others, answers[name].calibration),
        }

    def grounds(self, corrupted: list[int], figure: Callable[[list[int]], Any]) -> dict[str, Any]:
        """A figure on the clean view, and on the corrupted ones if there are some."""
        return {"clean": figure([0]), "corrupted": figure(corrupted) if corrupted else None}

    def rows(self, chosen) -> list[int]:
        return [row for row, view in enumerate(self.views) if view != CLEAN and chosen(view)]

    def is_seen(self, view: View) -> bool:
        return view.kind in self.seen

    def means(self, correct: np.ndarray) -> dict[str, float | None]:
        """Mean accuracy over the corrupted views: all of them, of kinds that the repair saw, of others."""
        chosen = {
            "mean": self.rows(lambda _: True),
            "seen_mean": self.rows(self.is_seen),
            "unseen_mean": self.rows(lambda view: not self.is_seen(view)),
        }
        return {name: float(correct[rows].mean()) if rows else None for name, rows in chosen.items()}

    def by_kind(self, correct: np.ndarray) -> dict[str, float]:
        """Accuracy under each corruption and each attack, over its severities."""
        kinds = dict.fromkeys(view.kind for view in self.views if view != CLEAN)
        return {kind: float(correct[self.rows(lambda view, k=kind: view.kind == k)].mean()) for kind in kinds}

    def outcome(self, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
        """Repair and break rates over all test views, and over the corruptions that the repair never saw."""
        unseen = self.rows(lambda view: not self.is_seen(view))
        return rates(before, after) | {"unseen": rates(before[unseen], after[unseen]) if unseen else None}


def rates(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    repaired, broken = repair_rate(before, after), break_rate(before, after)
    return {
        "failing": int((~before).sum()),
        "passing": int(before.sum()),
        "repair_rate": repaired.value,
        "repair_rate_interval": repaired.interval,
        "break_rate": broken.value,
        "break_rate_interval": broken.interval,
    }


def environment(call: str = "") -> dict[str, Any]:
    return {
        "command": call or command(sys.argv),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "optax": optax.__version__,
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "devices": [str(device.device_kind) for device in jax.devices()],
    }


def command(argv: Sequence[str]) -> str | None:
    """The command line of this program, without the machine's paths to it; None where another one calls it."""
    program = pathlib.Path(argv[0])
    if program.parent.name == PACKAGE:
        return shlex.join(["python", "-m", PACKAGE, *argv[1:]])
    return shlex.join([program.name, *argv[1:]]) if program.name == SCRIPT else None
