"""From the stages' results to the content of the report."""

import dataclasses
import os
import platform
from typing import Any

import flax
import jax
import numpy as np
import optax

from archrepair_jax.data.splits import Dataset
from archrepair_jax.evaluation.metrics import accuracy, break_rate, paired_difference, repair_rate
from archrepair_jax.line.settings import Settings
from archrepair_jax.models.cost import multiply_adds, parameters
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair import WHOLE_NETWORK
from archrepair_jax.views.view import CLEAN, View

Arms = dict[str, tuple[Network, Variables]]


def summarize(
    settings: Settings, dataset: Dataset, arms: Arms, found: dict[str, Any], costs: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The report's content; sections of stages that did not run are left out.

    Args:
        settings, dataset: of the run.
        arms: network and variables by name: ``before``, and each method that ran.
        found: ``failures``, ``localization``, ``repairs`` and ``correct`` (by arm, [V, N]), as far as they were run.
        costs: by stage.
    """
    method, repairs, correct = settings.repair.method, found.get("repairs", {}), found.get("correct", {})
    content = {
        "status": status(found, method),
        "config": dataclasses.asdict(settings),
        "data": data_section(dataset),
        "model": {"name": settings.model.name, "weights": settings.model.weights or None, **size(*arms["before"])},
        "cost": {"stages": costs, "total_seconds": sum(cost["seconds"] for cost in costs.values())},
        "environment": environment(),
    }
    if "failures" in found:
        content["failures"] = failures_section(settings, found["failures"])
    if "localization" in found:
        content["localization"] = found["localization"]
    if method in repairs:
        content["repair"] = repair_section(method, repairs[method], arms)
    if correct:
        views = Views(settings)
        content["before"] = views.accuracies(correct["before"])
        if method in correct:
            content["after"] = views.accuracies(correct[method])
            content["outcome"] = views.outcome(correct["before"], correct[method])
        content["controls"] = [
            control_section(name, views, correct, repairs.get(name), arms[name], method)
            for name in correct
            if name != method
        ]
    return content


def status(found: dict[str, Any], method: str) -> str:
    if "failures" in found and not any(found["failures"]["failing"]["train"].values()):
        return "nothing_to_repair"
    if method in found.get("repairs", {}):
        return found["repairs"][method]["guard"]["decision"]
    return "localized" if "localization" in found else "evaluated"


def data_section(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "image_shape": dataset.train.images.shape[1:],
        "classes": dataset.num_classes,
        "train": len(dataset.train),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
    }


def size(network: Network, variables: Variables) -> dict[str, int]:
    return {"parameters": parameters(variables), "multiply_adds": multiply_adds(network, variables)}


def failures_section(settings: Settings, counted: dict[str, Any]) -> dict[str, Any]:
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


def repair_section(method: str, told: dict[str, Any], arms: Arms) -> dict[str, Any]:
    before, after = size(*arms["before"]), size(*arms[method])
    genotype = told.get("genotype")
    return {
        "method": method,
        "block": None if method in WHOLE_NETWORK else told["block"],
        "genotype": genotype and {"nodes": genotype["nodes"], "edges": genotype["edges"]},
        **{count: {"before": before[count], "after": after[count]} for count in before},
        **{name: told.get(name) for name in ("neurons", "sample_gradients", "guard", "alphas", "operations")},
        "selection": told.get("selection") or None,
    }


class Views:
    """The evaluation's views, and the figures taken over them."""

    def __init__(self, settings: Settings):
        self.views = settings.evaluation.views
        self.seen = settings.failures.kinds

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

    def accuracies(self, correct: np.ndarray) -> dict[str, Any]:
        clean = accuracy(correct[:1])
        return {
            "clean": {"accuracy": clean.value, "low": clean.low, "high": clean.high},
            "corrupted": self.means(correct) | {"by_kind": self.by_kind(correct)},
        }

    def by_kind(self, correct: np.ndarray) -> dict[str, float]:
        """Accuracy under each corruption and each attack, over its severities."""
        kinds = dict.fromkeys(view.kind for view in self.views if view != CLEAN)
        return {kind: float(correct[self.rows(lambda view, k=kind: view.kind == k)].mean()) for kind in kinds}

    def outcome(self, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
        """Repair and break rates over all test views, and over the corruptions that the repair never saw."""
        unseen = self.rows(lambda view: not self.is_seen(view))
        rates_unseen = rates(before[unseen], after[unseen]) if unseen else None
        return rates(before, after) | {"unseen": rates_unseen}

    def corrupted(self, correct: np.ndarray) -> np.ndarray:
        return correct[self.rows(lambda _: True)]


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


def control_section(
    name: str, views: Views, correct: dict[str, np.ndarray], told: dict | None, arm: tuple, method: str
) -> dict[str, Any]:
    means, outcome = views.means(correct[name]), rates(correct["before"], correct[name])
    difference = None
    if method in correct and views.rows(lambda _: True):
        rate = paired_difference(views.corrupted(correct[name]), views.corrupted(correct[method]))
        difference = {"value": rate.value, "low": rate.low, "high": rate.high}
    return {
        "name": "do_nothing" if name == "before" else name,
        "decision": told["guard"]["decision"] if told else None,
        "clean": float(correct[name][0].mean()),
        "corrupted_mean": means["mean"],
        "seen_mean": means["seen_mean"],
        "unseen_mean": means["unseen_mean"],
        "by_kind": views.by_kind(correct[name]),
        **{key: value for key, value in outcome.items() if key not in ("failing", "passing")},
        "sample_gradients": told["sample_gradients"] if told else 0,
        "parameters": parameters(arm[1]),
        "difference_to_repair": difference,
    }


def environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "optax": optax.__version__,
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "devices": [str(device.device_kind) for device in jax.devices()],
    }
