"""How the arms of a report compare: the repair beside its controls, judged on the same test images."""

from collections.abc import Mapping
from typing import Any, Literal

Report = Mapping[str, Any]
Standing = Literal["better", "worse", "within noise", "not compared"]


def seen_kinds(report: Report) -> frozenset[str]:
    """The corruptions whose failures the repair was given; every other one was first met in the evaluation."""
    views = (report["failures"] or {"views": []})["views"]
    return frozenset(view["kind"] for view in views) - {"clean"}


def ordered_kinds(report: Report) -> list[str]:
    """The corruptions that were evaluated, the seen ones first, each group by name."""
    corrupted = (report["before"] or {}).get("corrupted") or {"by_kind": {}}
    seen = seen_kinds(report)
    return sorted(corrupted["by_kind"], key=lambda kind: (kind not in seen, kind))


def is_suspect(localization: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether an entry of the localization is the block to repair, or a layer or a neuron of it."""
    return localization["suspect"] in (entry["name"], entry["block"])


def arms(report: Report) -> list[dict[str, Any]]:
    """The rows of the comparison: the repair, where there is one, then the controls; all with a control's keys."""
    controls = [dict(control) for control in report["controls"] or []]
    repair, after, outcome = report["repair"], report["after"], report["outcome"]
    if not (repair and after and outcome):
        return controls
    corrupted = after["corrupted"] or {}
    rates = ("repair_rate", "repair_rate_interval", "break_rate", "break_rate_interval")
    first = {
        "name": "the repair",
        "decision": (repair["guard"] or {}).get("decision"),
        "clean": after["clean"]["accuracy"],
        "corrupted_mean": corrupted.get("mean"),
        "seen_mean": corrupted.get("seen_mean"),
        "unseen_mean": corrupted.get("unseen_mean"),
        "by_kind": corrupted.get("by_kind"),
        **{key: outcome[key] for key in rates},
        "sample_gradients": repair["sample_gradients"],
        "parameters": repair["parameters"]["after"],
        "difference_to_repair": None,
    }
    return [first, *controls]


def standing(report: Report, control: Mapping[str, Any]) -> Standing:
    """Whether a control did better than the repair, beyond noise.

    Corrupted test images decide, by the paired interval; where that holds zero, a clean accuracy outside the
    interval of the repair's decides.
    """
    difference, after = control["difference_to_repair"], report["after"]
    if not (difference and after):
        return "not compared"
    if difference["low"] > 0:
        return "better"
    if difference["high"] < 0:
        return "worse"
    if better_on_clean(report, control):
        return "better"
    return "worse" if control["clean"] < after["clean"]["low"] else "within noise"


def better_on_clean(report: Report, control: Mapping[str, Any]) -> bool:
    """Whether a control's clean test accuracy lies above the interval of the repair's."""
    return control["clean"] > report["after"]["clean"]["high"]


def winners(report: Report) -> list[str]:
    """The names of the controls that did better than the repair."""
    return [arm["name"] for arm in report["controls"] or [] if standing(report, arm) == "better"]
