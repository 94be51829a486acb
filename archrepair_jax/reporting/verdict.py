"""The verdict on a repair of an image classifier, in sentences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from archrepair_jax.reporting import comparison
from archrepair_jax.reporting.comparison import Arm, Report, ground, measured, over_budget, repair, rivals
from archrepair_jax.reporting.wording import count, percent, points, points_with_interval, title, with_interval

TOLD = 3  # times the reciprocal of a share: fewer independent looks miss it with more than 5 % probability


def outcome_line(report: Report) -> str:
    """The verdict in one sentence; it names the arms that did better. Another one where the guard is too small."""
    return " ".join([_outcome(report), *too_small(report)])


def _outcome(report: Report) -> str:
    failures, before, ours = report["failures"], comparison.original(report)["measures"], repair(report)
    outcome = ours and ours["measures"] and ours["measures"]["outcome"]
    effect = f"; {_effect(outcome)}" if outcome else ""
    if ours and over_budget(ours):
        return f"Over budget: {_subject(ours)} was given up, and the original network stays ({_reason(ours)})."
    match report["status"]:
        case "nothing_to_repair":
            return "Nothing to repair: the network is right on every example of the views it was to be repaired on."
        case "evaluated":
            clean = percent(before and before["clean"]["accuracy"], 2)
            return f"Evaluated only: {clean} of the clean test images are right."
        case "localized":
            failing = f" by {count(failures['failing'], 'failing example')}" if failures else ""
            return f"Localized only: the suspect is {report['localization']['suspect']}, as judged{failing}."
        case "unchanged":
            return f"Unchanged: {_original(outcome)}{_better(report)}."
        case "interpolated":
            return f"Repaired in part: {_subject(ours)}, mixed with its original weights{effect}{_better(report)}."
        case _:
            return f"Repaired: {_subject(ours)}{effect}{_better(report)}."


def judgement(report: Report) -> list[str]:
    """How the other arms stand to the repair, the winners first, and what it changed: plain sentences."""
    ours = repair(report)
    judged = [*_accuracies(report), *_unseen(ours["measures"]["outcome"])] if ours and ours["measures"] else []
    given_up = [arm for arm in comparison.with_role(report, "control") if over_budget(arm)]
    return [
        *_given(report),
        *_standings(report),
        *(f"{_listed([arm])} was over budget ({_reason(arm)})." for arm in given_up),
        *judged,
    ]


def too_small(report: Report) -> list[str]:
    """A warning where the guard has so few images that it cannot tell whether too much of clean accuracy is lost.

    By the rule of three: of a repair that breaks a share of all images, a guard of fewer than three times its
    reciprocal meets none with more than 5 % probability.
    """
    told = [arm["verdict"] for arm in report["arms"] if arm["verdict"] and "images" in arm["verdict"]]
    size, drop = min(((each["images"], each["clean_drop"]) for each in told), default=(0, 0.0))
    if not size or size * drop >= TOLD:
        return []
    wanted = f"{count(math.ceil(2 * TOLD / drop))} validation images" if drop else "more"
    return [
        f"The guard has {count(size, 'image')}, too few to tell whether over {100 * drop:g} % of clean accuracy "
        f"are lost: give {wanted}."
    ]


def _given(report: Report) -> list[str]:
    """Which arm ``load`` gives, where that is not the repair."""
    chosen = comparison.best(report["arms"][1:])
    if not chosen or chosen["role"] == "repair":
        return []
    return [f"What `load` gives is {_listed([chosen])}: on the guard's examples it was the best."]


def _subject(arm: Arm) -> str:
    return f"{arm['where'] or 'the whole network'} by {title(arm['name'])}"


def _reason(arm: Arm) -> str:
    return arm["verdict"]["reason"].rstrip(".") or "it does not say of what"


def _original(outcome: Mapping[str, Any] | None) -> str:
    reason = "no repair fixed enough for what it broke on the validation data, so the original network is returned"
    if not outcome:
        return reason
    examples = outcome["failing"] + outcome["passing"]
    return f"{reason}, with its {count(outcome['failing'])} failing test examples of {count(examples)}"


def _effect(outcome: Mapping[str, Any]) -> str:
    if not outcome["failing"]:
        return "no test example failed before, so nothing can be said of its effect"
    fixed, broken = outcome["repair_rate"] * outcome["failing"], (outcome["break_rate"] or 0) * outcome["passing"]
    return (
        f"of {count(outcome['failing'], 'failing test example')} "
        f"{with_interval(outcome['repair_rate'], outcome['repair_rate_interval'])} are now right, of "
        f"{count(outcome['passing'], 'passing one')} "
        f"{with_interval(outcome['break_rate'], outcome['break_rate_interval'])} are now wrong"
        + (", which is more harm than good" if broken > fixed else "")
    )


def _better(report: Report) -> str:
    winners = rivals(report, "better")
    controls = [arm for arm in winners if arm["role"] == "control"]
    told = ["the original"] * (len(winners) > len(controls))
    told += [f"the control{'s' * (len(controls) > 1)} {_listed(controls)}"] if controls else []
    return f"; but {' and '.join(told)} did better" if told else ""


def _standings(report: Report) -> list[str]:
    won, tied, lost = (rivals(report, standing) for standing in ("better", "within noise", "worse"))
    winner = {"control": "A control", "original": "Doing nothing"}
    purer = [arm for arm in lost if comparison.better_on_clean(report, arm)]
    return [
        *(f"{winner[arm['role']]} wins: {_against(report, arm)}." for arm in won),
        *([f"Within noise of the repair, so that this run cannot tell them apart: {_listed(tied)}."] if tied else []),
        *([f"The repair did better than {_listed(lost)}."] if lost else []),
        *([f"On clean images, however, {_listed(purer)} did better than it."] if purer else []),
    ]


def _against(report: Report, arm: Arm) -> str:
    difference = points_with_interval(arm["measures"]["difference_to_repair"], " points")
    clean, ours = (each["measures"]["clean"]["accuracy"] for each in (arm, repair(report)))
    also = f" and by {points(clean - ours)} on clean ones" if ground(report) == "corrupted" else ""
    return f"{_listed([arm])} differs from the repair by {difference} on {ground(report)} test images{also}"


def _accuracies(report: Report) -> list[str]:
    ours, shares = measured(report).index(repair(report)), comparison.accuracies(report)
    grounds = {"clean": "clean images", "mean of corruptions": "corrupted ones"}
    told = [
        f"from {percent(shares[name][0], 2)} to {percent(shares[name][ours], 2)} on {words}"
        for name, words in grounds.items()
        if name in shares
    ]
    return [f"Test accuracy went {' and '.join(told)}."]


def _unseen(outcome: Mapping[str, Any]) -> list[str]:
    unseen = outcome["unseen"]
    return [f"Under corruptions that the repair was not given, {_effect(unseen)}."] if unseen else []


def _listed(arms: Sequence[Arm]) -> str:
    names = ["the original" if arm["role"] == "original" else f"'{title(arm['name'])}'" for arm in arms]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
