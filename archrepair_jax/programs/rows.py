"""The row of a search in the table of all."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from optuna.trial import TrialState

from archrepair_jax.programs import anytime, trials
from archrepair_jax.programs.arms import Arm
from archrepair_jax.programs.outcome import Outcome, overlap
from archrepair_jax.programs.search import Search
from archrepair_jax.programs.subjects import subject
from archrepair_jax.programs.wording import measured
from archrepair_jax.study.table import Row
from archrepair_jax.training.ledger import Cost

SECONDS = {"seconds": "seconds", "compile_seconds": "compile_seconds", "searcher_seconds": "thinking"}
NUMBERS = (
    *("metric_faulty", "metric_fixed", "metric_patched", "metric_minimal", "ir", "edits_raw", "edits_minimal"),
    *("jaccard_raw", "jaccard_minimal", "precision_raw", "precision_minimal"),
    *("evaluations", "sample_gradients", "multiply_adds", *SECONDS),
)
COLUMNS = ("arm", "subject", "space", "budget", "technique", "repeat", *NUMBERS, "status", "anytime", "patch")


class Found(NamedTuple):
    """How a search ended.

    Attributes:
        status: ``patched``; ``no repair``, where the patch is better with few seeds alone; ``no patch``, where nothing
            was found; ``abstained``.
        patch: what to change, in words, or why nothing.
        metric: of the subject.
        outcome, cost: what it came to, and what it spent.
    """

    status: str
    patch: str
    metric: str
    outcome: Outcome | None = None
    cost: Mapping[str, Any] = {}


def spent(search: Search) -> dict[str, Any]:
    """On the search alone, since judging costs every technique the same; and how good its best was when."""
    paid = trials.paid(search.study.get_trials(deepcopy=False))
    costs = [trial.user_attrs for trial in paid]
    scores = [each.user_attrs["score"] if each.state == TrialState.COMPLETE else -math.inf for each in paid]
    passes = [each["passes"] for each in costs]
    return {
        "evaluations": len(paid),
        "sample_gradients": Cost(sum(passes)).sample_gradients,
        "multiply_adds": sum(each["multiply_adds"] for each in costs),
        **{name: round(sum(each["seconds"][key] for each in costs), 1) for name, key in SECONDS.items()},
        "anytime": anytime.cell(zip(passes, scores, strict=True), search.limit),
    }


def row(arm: Arm, found: Found) -> Row:
    """The table's row. Metrics as one reads them; an empty cell was not measured, or is not finite."""
    cells = {"arm": arm.name, **arm._asdict(), **found.cost, "status": found.status, "patch": found.patch}
    own, outcome = subject(arm.subject), found.outcome
    if own.fix:
        cells["ir"] = outcome.rate if outcome else 0.0  # of who abstains from what can be repaired
    if outcome:
        scores = {"faulty": outcome.faulty, "patched": outcome.patched, "minimal": outcome.reduced}
        if own.fix is not None:
            scores["fixed"] = outcome.fixed
        cells |= {f"metric_{name}": measured(each, found.metric) for name, each in scores.items()}
        for size, program in (("raw", outcome.program), ("minimal", outcome.smallest)):
            patch = own.faulty.edits(program)
            cells[f"edits_{size}"] = len(patch)
            if own.fix:
                cells[f"jaccard_{size}"], cells[f"precision_{size}"] = overlap(own.faulty.edits(own.fixed), patch)
    return {name: written(cells.get(name)) for name in COLUMNS}


def written(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return str(round(value, 5)) if isinstance(value, float) else str(value)
