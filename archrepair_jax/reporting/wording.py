"""Numbers and verdicts in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from archrepair_jax.reporting import comparison


def percent(share: float | None, digits: int = 1) -> str:
    """``0.313`` as ``31.3 %``; ``-`` where it is not known."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def with_interval(share: float | None, interval: Sequence[float] | None, digits: int = 1) -> str:
    """``31.3 % [28.1, 34.6]``, in percent."""
    if share is None or interval is None:
        return percent(share, digits)
    return f"{percent(share, digits)} [{', '.join(f'{100 * end:.{digits}f}' for end in interval)}]"


def points(difference: float | None) -> str:
    """A difference of two shares, in percentage points with its sign."""
    return "-" if difference is None else f"{100 * difference:+.2f}"


def count(number: int | None) -> str:
    """``4188`` as ``4,188``; ``-`` where it is not known."""
    return "-" if number is None else f"{number:,}"


def title(name: str) -> str:
    """``fine_tune_block`` as ``fine tune block``."""
    return name.replace("_", " ")


def duration(seconds: float) -> str:
    """``3723`` as ``1:02:03``; without hours ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def outcome_line(report: comparison.Report) -> str:
    """The verdict in one sentence; it names the controls that did better."""
    failures, clean = report["failures"], (report["before"] or {}).get("clean")
    match report["status"]:
        case "nothing_to_repair":
            return "Nothing to repair: the network is right on every example of the views it was to be repaired on."
        case "evaluated":
            return f"Evaluated only: {percent(clean and clean['accuracy'], 2)} of the clean test images are right."
        case "localized":
            failing = f" by {count(failures['failing'])} failing examples" if failures else ""
            return f"Localized only: the suspect is {report['localization']['suspect']}, as judged{failing}."
        case "unchanged":
            return f"Unchanged: {_original(report['outcome'])}{_better(report)}."
        case "interpolated":
            verdict = f"Repaired in part: {_subject(report)}, mixed with its original weights"
        case _:
            verdict = f"Repaired: {_subject(report)}"
    effect = f"; {_effect(report['outcome'])}" if report["outcome"] else ""
    return f"{verdict}{effect}{_better(report)}."


def judgement(report: comparison.Report) -> list[str]:
    """How the controls stand to the repair, the winners first, and what it changed: plain sentences."""
    return [*_standings(report), *_accuracies(report["before"], report["after"]), *_unseen(report["outcome"])]


def _subject(report: comparison.Report) -> str:
    repair = report["repair"] or {"block": None, "method": "the config's method"}
    return f"{repair['block'] or 'the whole network'} by {title(repair['method'])}"


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
        f"of {count(outcome['failing'])} failing test examples "
        f"{with_interval(outcome['repair_rate'], outcome['repair_rate_interval'])} are now right, of "
        f"{count(outcome['passing'])} passing ones "
        f"{with_interval(outcome['break_rate'], outcome['break_rate_interval'])} are now wrong"
        + (", which is more harm than good" if broken > fixed else "")
    )


def _better(report: comparison.Report) -> str:
    names = comparison.winners(report)
    return f"; but the control{'s' * (len(names) > 1)} {_listed(names)} did better" if names else ""


def _standings(report: comparison.Report) -> list[str]:
    groups = {"better": [], "within noise": [], "worse": [], "not compared": []}
    for control in report["controls"] or []:
        groups[comparison.standing(report, control)].append(control)
    won = [f"A control wins: {_against(control, report)}." for control in groups["better"]]
    noise, lost = ([control["name"] for control in groups[group]] for group in ("within noise", "worse"))
    tied = [f"Within noise of the repair, so that this run cannot tell them apart: {_listed(noise)}."] if noise else []
    beaten = [f"The repair did better than {_listed(lost)}."] if lost else []
    purer = [control["name"] for control in groups["worse"] if comparison.better_on_clean(report, control)]
    return won + tied + beaten + ([f"On clean images, however, {_listed(purer)} did better than it."] if purer else [])


def _against(control: Mapping[str, Any], report: comparison.Report) -> str:
    difference, clean = control["difference_to_repair"], control["clean"] - report["after"]["clean"]["accuracy"]
    return (
        f"{_listed([control['name']])} differs from the repair by {points(difference['value'])} points "
        f"[{points(difference['low'])}, {points(difference['high'])}] on corrupted test images "
        f"and by {points(clean)} on clean ones"
    )


def _accuracies(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[str]:
    if not (before and after):
        return []
    text = f"Test accuracy went from {percent(before['clean']['accuracy'], 2)} to "
    text += f"{percent(after['clean']['accuracy'], 2)} on clean images"
    if before["corrupted"] and after["corrupted"]:
        text += f" and from {percent(before['corrupted']['mean'], 2)} to {percent(after['corrupted']['mean'], 2)} "
        text += "on corrupted ones"
    return [text + "."]


def _unseen(outcome: Mapping[str, Any] | None) -> list[str]:
    unseen = outcome and outcome["unseen"]
    return [f"Under corruptions that the repair was not given, {_effect(unseen)}."] if unseen else []


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{title(name)}'" for name in names]
    return ", ".join(quoted[:-1]) + " and " + quoted[-1] if len(quoted) > 1 else quoted[0]
