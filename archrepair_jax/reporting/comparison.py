"""The arms of a report, and how those about images compare, judged on the same test images."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from archrepair_jax.proof.branch_and_bound import PROVED

Report = Mapping[str, Any]
Arm = Mapping[str, Any]
Standing = Literal["better", "within noise", "worse", "not compared"]
UNTOUCHED = ("unchanged", "over budget", "nothing to repair")  # decisions that leave the original
CLEAN_ONLY = {"mean": None, "seen_mean": None, "unseen_mean": None, "by_kind": {}}


def with_role(report: Report, role: str) -> list[Arm]:
    return [arm for arm in report["arms"] if arm["role"] == role]


def original(report: Report) -> Arm:
    return report["arms"][0]


def repair(report: Report) -> Arm | None:
    return next(iter(with_role(report, "repair")), None)


def best(arms: Iterable[Arm]) -> Arm | None:
    """The arm with the most to say for it, of those that are not the original: the test split has no say in it.

    Of image classifiers the one that fixed most of the guard's examples beyond what it broke; over regions one that was
    proved, at least a clean one. Between equals, the repair comes before its controls. None if nothing was accepted.
    """

    def rank(arm: Arm) -> tuple[bool, int, bool, str]:
        told = arm["verdict"]
        gain = told["fixed"] - told["broken"] if "fixed" in told else told["proof"]["status"] == PROVED
        return told["decision"] == "not clean", -gain, arm["role"] != "repair", arm["name"]

    return min((arm for arm in arms if arm["verdict"]["decision"] not in UNTOUCHED), key=rank, default=None)


def held(report: Report) -> Arm | None:
    """The arm that ``load`` gives, as far as it was judged on the test split; None where that is the original."""
    chosen = best(report["arms"][1:])
    return chosen if chosen and chosen["measures"] else None


def trace(arm: Arm) -> Mapping[str, Any]:
    """What an arm's method tells of itself; of a race, what the winner does."""
    return arm["trace"].get("of") or arm["trace"]


def over_budget(arm: Arm) -> bool:
    return arm["role"] != "original" and arm["verdict"]["decision"] == "over budget"


def measured(report: Report) -> list[Arm]:
    """The arms that were judged on the test split."""
    return [arm for arm in report["arms"] if arm["measures"]]


def corrupted(arm: Arm) -> Mapping[str, Any]:
    """A measured arm's accuracies under corruptions, as far as there are any."""
    return arm["measures"]["corrupted"] or CLEAN_ONLY


def seen_kinds(report: Report) -> frozenset[str]:
    """The corruptions whose failures the repair was given; every other one was first met in the evaluation."""
    views = (report["failures"] or {"views": []})["views"]
    return frozenset(view["kind"] for view in views) - {"clean"}


def accuracies(report: Report) -> dict[str, list[float | None]]:
    """Of every measured arm: on clean images, the mean of corruptions, and each, those that the repair saw first."""
    arms, seen = measured(report), seen_kinds(report)
    kinds = {kind for arm in arms for kind in corrupted(arm)["by_kind"]}
    found = {"clean": [arm["measures"]["clean"]["accuracy"] for arm in arms]}
    if kinds:
        found["mean of corruptions"] = [corrupted(arm)["mean"] for arm in arms]
    for kind in sorted(kinds, key=lambda kind: (kind not in seen, kind)):
        found[kind] = [corrupted(arm)["by_kind"].get(kind) for arm in arms]
    return found


def ground(report: Report) -> str:
    """On which test images the arms are compared: on ``clean`` ones only where no others were looked at."""
    return "corrupted" if len(accuracies(report)) > 1 else "clean"


def is_suspect(localization: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether an entry of the localization is the block to repair, or a layer or a neuron of it."""
    return localization["suspect"] in (entry["name"], entry["block"])


def rivals(report: Report, wanted: Standing) -> list[Arm]:
    """The measured arms besides the repair that stand so to it."""
    others = (arm for arm in measured(report) if arm["role"] != "repair")
    return [arm for arm in others if standing(report, arm) == wanted]


def standing(report: Report, arm: Arm) -> Standing:
    """Whether an arm did better than the repair, beyond noise.

    The paired interval decides; where that holds zero, a clean accuracy outside the interval of the repair's does.
    """
    difference, rival = arm["measures"]["difference_to_repair"], repair(report)
    if not (difference and rival and rival["measures"]):
        return "not compared"
    if difference["low"] > 0:
        return "better"
    if difference["high"] < 0:
        return "worse"
    if better_on_clean(report, arm):
        return "better"
    clean, least = arm["measures"]["clean"]["accuracy"], rival["measures"]["clean"]["low"]
    return "worse" if clean < least else "within noise"


def better_on_clean(report: Report, arm: Arm) -> bool:
    """Whether an arm's clean test accuracy lies above the interval of the repair's."""
    return arm["measures"]["clean"]["accuracy"] > repair(report)["measures"]["clean"]["high"]
