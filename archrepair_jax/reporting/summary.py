"""One sentence on what a caller holds after a run over images: what it fixed, broke, and what else would have done."""

from collections.abc import Mapping
from typing import Any

from archrepair_jax.reporting.comparison import UNTOUCHED, Arm, Report, best, original
from archrepair_jax.reporting.verdict import outcome_line, too_small
from archrepair_jax.reporting.wording import change, count, title

OTHERS = 3  # arms that the sentence names besides


def summary(report: Report) -> str:
    """The sentence, and another one where the guard is too small."""
    return " ".join([sentence(report), *too_small(report)]) if report["arms"][1:] else outcome_line(report)


def sentence(report: Report) -> str:
    """Of the best accepted arm beside the others: on test examples if there are some, else on the guard's."""
    arms = report["arms"][1:]
    if not arms:
        return outcome_line(report)
    chosen = best(arms)
    others = [arm for arm in arms if arm is not chosen]
    nearest = sorted(others, key=_gain, reverse=True)[:OTHERS]
    told = [_holding(report, chosen) if chosen else "Nothing was accepted, the original stays"]
    told += [_beside(arm) for arm in others if arm in nearest]
    if rest := len(others) - len(nearest):
        told.append(f"{count(rest, 'more arm')} did less")
    return f"{'; '.join(told)} ({_ground(report)})."


def _gain(arm: Arm) -> float:
    """What an arm fixed beyond what it broke; least of all, where it was not accepted."""
    if arm["verdict"]["decision"] in UNTOUCHED:
        return float("-inf")
    fixed, _, broken, _ = counts(arm)
    return fixed - broken


def _holding(report: Report, arm: Arm) -> str:
    fixed, failing, broken, passing = counts(arm)
    did = f"{count(fixed)} of {count(failing)} failures fixed, {count(broken)} of {count(passing)} broken"
    return f"{did}, by {_what(report, arm)}"


def _what(report: Report, arm: Arm) -> str:
    """What was changed, with the numbers that it added, and by which method."""
    added = count(arm["size"]["parameters"] - original(report)["size"]["parameters"], "parameter")
    by = title(arm["name"]) + " in part" * (arm["verdict"]["decision"] == "interpolated")
    if not arm["edits"]:
        return f"{by} of {arm['where']}" if arm["where"] else by
    edit = arm["edits"][0]
    if edit["kind"] == "inserted":
        return f"a block of {added} in front of {edit['before']} ({by})"
    return f"{change(edit)} ({by}, {added} more)"


def _beside(arm: Arm) -> str:
    name, told = title(arm["name"]), arm["verdict"]
    if told["decision"] in UNTOUCHED:
        return f"{name} was {'over budget' if told['decision'] == 'over budget' else 'refused by the guard'}"
    fixed, _, broken, _ = counts(arm)
    return f"{name} would have fixed {count(fixed)} and broken {count(broken)}"


def counts(arm: Arm) -> tuple[int, int, int, int]:
    """Fixed of failing, broken of passing: test examples, or the guard's where no test examples were shown."""
    told: Mapping[str, Any] = arm["verdict"]
    if not arm["measures"]:
        return told["fixed"], told["failing"], told["broken"], told["passing"]
    seen = arm["measures"]["outcome"]
    fixed, broken = (
        (seen[rate] or 0) * seen[of] for rate, of in (("repair_rate", "failing"), ("break_rate", "passing"))
    )
    return round(fixed), seen["failing"], round(broken), seen["passing"]


def _ground(report: Report) -> str:
    if original(report)["measures"]:
        return f"on {count(report['data']['test'], 'test image')}, which had no part in the choice"
    return "on the guard's examples, by which the arm was chosen too: give test=… for figures without that"
