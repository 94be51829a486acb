"""From a job and its report to the rows of a study's table."""

import pathlib
from collections.abc import Mapping
from typing import Any

from archrepair_jax.reporting import wording
from archrepair_jax.reporting.comparison import corrupted
from archrepair_jax.study.jobs import Job
from archrepair_jax.study.table import COLUMNS, MEASURED, Row


def row(job: Job, method: str, report: Mapping[str, Any] | None, status: str = "", reason: str = "") -> Row:
    """One arm's row; accuracies and rates are shares.

    A method that has failed comes with a ``status`` and a ``reason``; of the others the report knows the verdict.
    """
    settings = job.settings
    cells = {
        "arm": job.arms[method],
        "model": settings.model.name,
        "dataset": pathlib.Path(settings.data.path).stem or settings.data.name,
        "kinds": "+".join(map(str, settings.failures.views[1:])),
        "labels": settings.data.labels,
        "clean_images": settings.data.clean_images,
        "method": method,
        "seed": settings.seed,
        "currency": job.currency,
        "status": status,
        "cell": job.cell,
    }
    notes = [job.note, reason]
    if report:
        cells |= accuracies(report["arms"][0], "before")
    if report and not status:
        before, *arms = report["arms"]
        found = next((arm for arm in arms if arm["name"] == method), before)
        cells |= accuracies(found, "after") | spent(found, before)
        cells["status"] = found["verdict"]["decision"] if arms else "nothing to repair"
        notes += [f"{report['localization']['suspect']} to blame"] if report["localization"] else []
        notes += map(architecture, found["edits"])
    cells["note"] = "; ".join(filter(None, notes))
    return {name: written(cells.get(name)) for name in COLUMNS}


def accuracies(arm: Mapping[str, Any], when: str) -> dict[str, float | None]:
    means = corrupted(arm)
    values = means["seen_mean"], means["unseen_mean"], arm["measures"]["clean"]["accuracy"]
    return {f"{name}_{when}": value for name, value in zip(MEASURED, values, strict=True)}


def spent(arm: Mapping[str, Any], original: Mapping[str, Any]) -> dict[str, float | None]:
    """What a method cost, added and changed."""
    cost = arm["spent"] or dict.fromkeys(("sample_gradients", "multiply_adds", "seconds", "compile_seconds"), 0)
    return {
        **{name: arm["measures"]["outcome"][name] for name in ("repair_rate", "break_rate")},
        **{name: cost[name] for name in ("sample_gradients", "multiply_adds")},
        "seconds": round(cost["seconds"] + cost["compile_seconds"], 1),
        **{f"added_{name}": arm["size"][name] - original["size"][name] for name in ("parameters", "multiply_adds")},
    }


def architecture(edit: Mapping[str, Any]) -> str:
    """What an edit does and, where it is made of filters, of which."""
    filters = edit.get("genotype", {}).get("operations", [])
    return f"{wording.change(edit)}: {' '.join(filters)}" if filters else wording.change(edit)


def written(value: Any) -> str:
    if value is None:
        return ""
    return str(round(value, 5)) if isinstance(value, float) else " ".join(str(value).split())
