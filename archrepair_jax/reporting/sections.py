"""What reports have in common: tables, the arms beside each other, what an arm changed and spent, the run's cost."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archrepair_jax.repair import METHODS
from archrepair_jax.reporting import wording
from archrepair_jax.reporting.comparison import Arm, Report, corrupted, measured
from archrepair_jax.reporting.wording import count, percent, title

Lines = Sequence[Sequence[str]]


def table(lines: Lines) -> str:
    """A Markdown table of a head and its rows: the first column to the left, the others to the right."""
    head, *rows = lines
    ruled = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in ruled)


def known(lines: Lines) -> Lines:
    """A head and its rows without the columns of which nothing is known."""
    return list(zip(*(column for column in zip(*lines, strict=True) if {*column[1:]} - {"-"}), strict=True))


def bullets(lines: Iterable[str]) -> str:
    """A list; an indented line belongs to the one above."""
    return "\n".join(line if line.startswith(" ") else f"- {line}" for line in lines)


def arms_table(report: Report, columns: Sequence[str]) -> Lines:
    """A head and a row for each measured arm of a report about images, with these of the columns."""
    return known([columns, *([row[name] for name in columns] for row in map(_cells, measured(report)))])


def _cells(arm: Arm) -> dict[str, str]:
    clean, outcome, under = arm["measures"]["clean"], arm["measures"]["outcome"], corrupted(arm)
    return {
        "arm": wording.label(arm),
        "guard": arm["verdict"]["decision"] if arm["verdict"] else "-",
        "clean": percent(clean["accuracy"], 2),
        "clean, with interval": f"{percent(clean['accuracy'], 2)} {wording.interval((clean['low'], clean['high']), 2)}",
        "corrupted": percent(under["mean"], 2),
        "seen": percent(under["seen_mean"], 2),
        "unseen": percent(under["unseen_mean"], 2),
        "failing now right": wording.with_interval(outcome["repair_rate"], outcome["repair_rate_interval"]),
        "passing now wrong": wording.with_interval(outcome["break_rate"], outcome["break_rate_interval"]),
        "against the repair (points)": wording.points_with_interval(arm["measures"]["difference_to_repair"]),
    }


def changes(arm: Arm) -> list[str]:
    """The edits of an arm, operation by operation where there are some, and what its method tells of its trace."""
    lines, method = [], METHODS.get(arm["name"])
    for edit in arm["edits"]:
        lines += [wording.change(edit), *(f"  - {operation}" for operation in _operations(edit.get("genotype", {})))]
    return lines + (method.story(arm["trace"]) if method and arm["trace"] else [])


def _operations(genotype: Mapping[str, Any]) -> list[str]:
    """Those of a graph with their edges; of filters, which stand side by side, the names alone."""
    edges = genotype.get("edges")
    if edges is None:
        return [f"`{operation}`" for operation in genotype.get("operations", ())]
    order = sorted(edges, key=lambda edge: [int(node) for node in edge.split("->")])
    return [f"{wording.arrow(edge, genotype['nodes'])}: `{edges[edge]['operation']}`" for edge in order]


def price(arm: Arm) -> list[str]:
    """What an arm has spent, in both currencies, and how long it took."""
    if not (spent := arm["spent"]):
        return []
    currencies = f"{count(spent['sample_gradients'])} sample-gradients, {count(spent['multiply_adds'])} multiply-adds"
    return [f"spent: {currencies}, {wording.seconds(spent)}"]


def cost(report: Report) -> list[str]:
    """The section on what the run has cost, stage by stage, and where it ran."""
    clocks = {title(name): clock for name, clock in report["cost"]["stages"].items()} | {"**in all**": report["cost"]}
    rows = [[name, f"{clock['seconds']:.1f}", f"{clock['compile_seconds']:.1f}"] for name, clock in clocks.items()]
    flat = {key: ", ".join(value) if isinstance(value, list) else value for key, value in report["environment"].items()}
    environment = "; ".join(f"{title(key)} {value}" for key, value in sorted(flat.items()) if key != "command")
    return ["## Cost", table([["stage", "seconds", "compilation"], *rows]), f"{environment}."]


def command(report: Report) -> list[str]:
    """The section on what made the report, as far as that is known."""
    if not (made := report["environment"].get("command")):
        return []
    told = "All settings, those left at their defaults too, stand in report.json under `config`."
    return ["## The command that made this", f"```\n{made}\n```", told]
