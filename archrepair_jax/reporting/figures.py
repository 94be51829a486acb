"""The figures of a report about images, drawn without global state: PNG bytes from a valid report."""

import io
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from archrepair_jax.reporting import genotypes
from archrepair_jax.reporting.comparison import Report, accuracies, is_suspect, measured, repair, seen_kinds, trace
from archrepair_jax.reporting.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, YELLOW, quiet
from archrepair_jax.reporting.wording import label, title

BLOCKS_SHOWN = 60
DPI = 130
LOOKS = {
    "original": {"marker": "o", "markersize": 7, "color": BLACK, "markerfacecolor": "white"},
    "repair": {"marker": "o", "markersize": 7, "color": BLUE},
}
CONTROLS = [
    {"marker": marker, "markersize": 5, "color": color}
    for marker, color in zip("sD^vPX", (ORANGE, PINK, SKY, GREY, GREEN, RED), strict=True)
]


def draw_all(report: Report) -> dict[str, bytes]:
    """PNGs by name: every figure that the report has the content for."""
    localization, ours, figures = report["localization"], repair(report), {}
    if localization and any(block["score"] is not None for block in localization["blocks"]):
        figures["suspiciousness"] = suspiciousness(localization)
    if len(measured(report)) > 1 or len(accuracies(report)) > 1:
        figures["accuracy"] = accuracy(report)
    found = [edit for edit in ours["edits"] if "edges" in edit.get("genotype", {})] if ours else []
    told = trace(ours) if ours else {}
    if told.get("alphas") and told.get("operations"):
        edges = found[0]["genotype"]["edges"] if found else {}
        chosen = {edge: choice["operation"] for edge, choice in edges.items()}
        figures["alphas"] = genotypes.alphas(told["alphas"], told["operations"], chosen)
    if any(told.get("gates", {}).values()):
        figures["gates"] = genotypes.gates(told["gates"])
    if found:
        figures["block"] = genotypes.block(found[0])
    return {name: to_png(figure) for name, figure in figures.items()}


def suspiciousness(localization: Mapping[str, Any]) -> Figure:
    """Blocks in network order: their score with its interval, and how often each scored worst in the bootstrap."""
    blocks = [block for block in localization["blocks"] if block["score"] is not None]
    shown = ""
    if len(blocks) > BLOCKS_SHOWN:
        highest = sorted(range(len(blocks)), key=lambda place: -blocks[place]["score"])[:BLOCKS_SHOWN]
        blocks, shown = [blocks[place] for place in sorted(highest)], f" (the {BLOCKS_SHOWN} highest)"
    figure = Figure(figsize=(8.5, 1.6 + 0.27 * len(blocks)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[5, 2])
    for row, entry in enumerate(blocks):
        suspect = is_suspect(localization, entry)
        color, marker = (RED, "D") if suspect else (BLUE, "o")
        if entry["low"] is not None and entry["high"] is not None:
            left.plot([entry["low"], entry["high"]], [row, row], color=color, linewidth=2, solid_capstyle="butt")
        left.plot(entry["score"], row, marker, color=color, markersize=7 if suspect else 5)
        right.barh(row, 100 * (entry["probability"] or 0), color=color, height=0.6)
    left.set_yticks(range(len(blocks)), [block["name"] for block in blocks])
    for tick, entry in zip(left.get_yticklabels(), blocks, strict=True):
        tick.set_fontweight("bold" if is_suspect(localization, entry) else "normal")
    left.set_ylim(len(blocks) - 0.4, -0.6)
    left.set_xlabel("suspiciousness, 95 % interval")
    right.set_xlabel("worst in (% of replicates)")
    right.set_xlim(0, 100)
    for axes in (left, right):
        quiet(axes, grid="both")
    level = f"{localization['level'].capitalize()}s in network order{shown}"
    figure.suptitle(f"{level}; the suspect is {localization['suspect']}", fontsize=11)
    return figure


def accuracy(report: Report) -> Figure:
    """Test accuracy of every measured arm, clean with its interval and under each corruption; the seen ones are marked.

    The original is hollow; a bar leads from it to the repair, but not where the interval lies.
    """
    arms, seen, rows = measured(report), seen_kinds(report), accuracies(report)
    shares, controls = 100 * np.array(list(rows.values()), float), itertools.cycle(CONTROLS)
    figure = Figure(figsize=(8.5, 1.8 + len(rows) * (0.14 + 0.09 * len(arms))), layout="constrained")
    axes = figure.subplots()
    if given := len(seen & rows.keys()):
        axes.axhspan(1.5, 1.5 + given, color=YELLOW, alpha=0.22, linewidth=0, label="given to the repair (seen)")
    for place, arm in enumerate(arms):
        look = LOOKS.get(arm["role"]) or next(controls)
        heights = np.arange(len(rows)) + 0.7 * ((place + 0.5) / len(arms) - 0.5)
        if arm["role"] == "repair":
            old, new = shares[1:, 0], shares[1:, place]
            axes.hlines(heights[1:], old, new, np.where(new < old, RED, GREEN), linewidth=3, alpha=0.55)
        clean = arm["measures"]["clean"]
        axes.plot([100 * clean["low"], 100 * clean["high"]], heights[[0, 0]], "|-", color=look["color"], linewidth=1.2)
        axes.plot(shares[:, place], heights, linestyle="none", label=label(arm), **look)
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color=GREY, linewidth=0.8 if row == 2 else 0.3)
    axes.set_yticks(range(len(rows)), [title(name) + " (seen)" * (name in seen) for name in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("test accuracy (%), on clean images with its 95 % interval")
    quiet(axes, grid="x")
    figure.suptitle("Accuracy by corruption" if len(rows) > 1 else "Accuracy on clean images", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def to_png(figure: Figure) -> bytes:
    """As it is written into files."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
