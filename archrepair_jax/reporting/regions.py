"""What a repair over regions reports: a table of cases as CSV, and each in words."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from archrepair_jax.reporting import planes, sections
from archrepair_jax.reporting.comparison import Arm, Report, with_role
from archrepair_jax.reporting.sections import bullets, changes, command, cost, price
from archrepair_jax.reporting.wording import because, count, percent, seconds

COLUMNS = (
    "network",
    "property",
    "style",
    "seed",
    "violations_before",
    "violations_fresh",
    "samples_fresh",
    "fidelity_region",
    "fidelity_global",
    "proof",
    "boxes",
    "seconds_repair",
    "seconds_proof",
)

VIOLATIONS = "violations_before", "violations_after"
HEADS = [
    *("case", "ended", "violations before", "after", "decisions kept, region", "domain"),
    *("proof", "boxes"),
]


def table(report: Report) -> str:
    """``table.csv``: a line for each repair among the arms; seconds are without compilation."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(row, with_role(report, "repair")))
    return text.getvalue()


def row(arm: Arm) -> dict[str, Any]:
    """As far as it is known: of what was over budget, there is little."""
    cells = {"style": arm["name"], **arm["case"]}
    if arm["spent"]:
        cells |= {"seconds_repair": f"{arm['spent']['seconds']:.1f}"}
    if proof := arm["verdict"].get("proof"):
        cells |= {"proof": proof["status"], "boxes": proof["boxes"], "seconds_proof": f"{proof['seconds']:.1f}"}
    if measures := arm["measures"]:
        fresh, fidelity = measures["fresh"], measures["fidelity"]
        cells |= {
            "violations_before": fresh["violations_before"],
            "violations_fresh": fresh["violations_after"],
            "samples_fresh": fresh["samples"],
            "fidelity_region": share(fidelity["region"]),
            "fidelity_global": share(fidelity["domain"]),
        }
    return cells


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def outcome_line(report: Report) -> str:
    """How the repairs among the arms ended, in one sentence."""
    verdicts = [arm["verdict"] for arm in with_role(report, "repair")]
    ends = [verdict["decision"] for verdict in verdicts]
    proved = sum(verdict.get("proof", {}).get("status") == "proved" for verdict in verdicts)
    told = [f"{ends.count(end)} {end}" for end in dict.fromkeys(ends)]
    return f"{count(len(ends), 'case')}: {', '.join(told)}; {proved} proved."


def lines(arm: Arm) -> list[str]:
    """One case in words; the first line says which it is and how it ended."""
    case, verdict = arm["case"], arm["verdict"]
    return [
        f"{case['network']}, property {case['property']}, {arm['name']}, seed {case['seed']}: {verdict['decision']}"
        + because(verdict),
        *_proof(verdict.get("proof")),
        *_measures(arm["measures"]),
        *changes(arm),
        *price(arm),
    ]


def render(report: Report) -> str:
    """report.md."""
    arms = with_role(report, "repair")
    cases = []
    for arm in arms:
        head, *rest = lines(arm)
        cases.append([f"## {head}", bullets(rest), *planes.shown(report, arm)])
    parts = [[f"# {report['outcome_line']}", *_violations(arms)], _beside(arms), *cases, command(report), cost(report)]
    return "\n\n".join("\n\n".join(part) for part in parts) + "\n"


def _violations(arms: Sequence[Arm]) -> list[str]:
    """A sentence on all cases that were measured."""
    fresh = [arm["measures"]["fresh"] for arm in arms if arm["measures"]]
    if not fresh:
        return []
    samples, before, after = (sum(each[of] for each in fresh) for of in ("samples", *VIOLATIONS))
    return [
        f"**Of {count(samples)} fresh samples of the regions {count(before)} violated their property before, "
        f"{count(after)} after.**"
    ]


def _beside(arms: Sequence[Arm]) -> list[str]:
    """All cases in one table; what is not known is left out."""
    cells = []
    for arm in arms:
        case, proof, measures = arm["case"], arm["verdict"].get("proof"), arm["measures"]
        fresh = [count(measures["fresh"][name]) for name in VIOLATIONS] if measures else ["-", "-"]
        fidelity = [percent(measures["fidelity"][name], 2) for name in ("region", "domain")] if measures else ["-", "-"]
        proved = [proof["status"], count(proof["boxes"])] if proof else ["-", "-"]
        named = [f"{case['network']}, property {case['property']}, {arm['name']}, seed {case['seed']}"]
        cells.append([*named, arm["verdict"]["decision"], *fresh, *fidelity, *proved])
    return ["## The cases", sections.table(sections.known([HEADS, *cells]))]


def _proof(proof: Mapping[str, Any] | None) -> list[str]:
    if not proof:
        return []
    boxes = f", {count(proof['boxes'], 'box')}" if proof["boxes"] else ""
    return [f"proof: {proof['status']}{boxes}{because(proof)}, {seconds(proof)}"]


def _measures(measures: Mapping[str, Any] | None) -> list[str]:
    if not measures:
        return []
    fresh, fidelity = measures["fresh"], measures["fidelity"]
    success, held_out, drawdown = (measures[name] for name in ("repair_success", "generalisation", "drawdown"))
    return [
        f"violations on {count(fresh['samples'])} fresh samples: {count(fresh['violations_before'])} before, "
        f"{count(fresh['violations_after'])} after; with confidence {fresh['confidence']:g} at most "
        f"{fresh['rate_bound']:.2g} of the region",
        f"decisions kept: {percent(fidelity['region'], 2)} of the region's well-behaved inputs, "
        f"{percent(fidelity['domain'], 2)} of {count(fidelity['domain_samples'])} in the whole domain",
        f"repaired: {percent(success['share'], 2)} of {count(success['count'])} violations learned from, "
        f"{percent(held_out['share'], 2)} of {count(held_out['count'])} held out; broken: "
        f"{percent(drawdown['share'], 2)} of {count(drawdown['count'])} held-out positives",
    ]
