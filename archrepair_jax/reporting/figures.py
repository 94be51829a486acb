"""The figures of a report, drawn without global state: PNG bytes from a valid report.

Colours are those of Okabe and Ito, told apart by colour-blind readers too; nothing is told by colour alone.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from archrepair_jax.reporting.comparison import Report, is_suspect, ordered_kinds, seen_kinds
from archrepair_jax.reporting.wording import title

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK, GREY = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#8A8A8A",
)  # fmt: skip
LINES = [(color, style) for style in ("-", "--", ":") for color in (BLUE, ORANGE, GREEN, RED, PINK, SKY, BLACK)]
BLOCKS_SHOWN = 60
NODE_GAP = 2.6  # inches between two nodes of a drawn block
DPI = 130


def draw(report: Report) -> dict[str, bytes]:
    """PNGs by name: every figure that the report has the content for."""
    repair = report["repair"] or {}
    figures = {}
    if report["localization"] and any(block["score"] is not None for block in report["localization"]["blocks"]):
        figures["suspiciousness"] = suspiciousness(report["localization"])
    if repair.get("alphas") and repair["operations"]:
        figures["alphas"] = alphas(repair["alphas"], repair["operations"])
    if report["before"] and report["before"]["corrupted"]:
        figures["accuracy"] = accuracy(report)
    if repair.get("genotype"):
        figures["block"] = block(repair["genotype"], repair["block"] or "the block")
    return {name: _png(figure) for name, figure in figures.items()}


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
    for label, entry in zip(left.get_yticklabels(), blocks, strict=True):
        label.set_fontweight("bold" if is_suspect(localization, entry) else "normal")
    left.set_ylim(len(blocks) - 0.4, -0.6)
    left.set_xlabel("suspiciousness, 95 % interval")
    right.set_xlabel("worst in (% of replicates)")
    right.set_xlim(0, 100)
    for axes in (left, right):
        _quiet(axes, grid="both")
    level = f"{localization['level'].capitalize()}s in network order{shown}"
    figure.suptitle(f"{level}; the suspect is {localization['suspect']}", fontsize=11)
    return figure


def alphas(history: Sequence[Mapping[str, Any]], operations: Mapping[str, Sequence[str]]) -> Figure:
    """softmax(alpha) against the step, a panel for each edge, each line labelled at its end."""
    edges = sorted(operations)
    last = max(int(edge.split("->")[1]) for edge in edges)
    columns = min(3, len(edges))
    rows = -(-len(edges) // columns)
    figure = Figure(figsize=(0.8 + 4.1 * columns, 0.5 + 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    names = list(dict.fromkeys(name for edge in edges for name in operations[edge]))
    styles = {name: LINES[i % len(LINES)] for i, name in enumerate(names)}
    steps = [moment["step"] for moment in history]
    for axes, edge in zip(panels, edges, strict=False):
        shares = np.array([moment["edges"][edge] for moment in history])
        best = int(shares[-1].argmax())
        for i, name in enumerate(operations[edge]):
            color, style = styles[name]
            axes.plot(steps, shares[:, i], style, color=color, linewidth=2.4 if i == best else 1.3)
        axes.set_title(_arrow(edge, last), fontsize=10)
        axes.set_xlabel("search step")
        axes.set_xlim(min(steps), max(steps) if max(steps) > min(steps) else min(steps) + 1)
        _quiet(axes, grid="y")
    for axes in list(figure.axes)[len(edges) :]:
        axes.remove()
    top = max(max(shares) for moment in history for shares in moment["edges"].values())
    for axes, edge in zip(figure.axes, edges, strict=True):
        axes.set_ylim(0, 1.08 * top)
        _label_ends(axes, history[-1]["edges"][edge], operations[edge], styles)
    for axes in figure.axes[::columns]:
        axes.set_ylabel("softmax(alpha)")
    figure.suptitle("The mixture on each edge during the search", fontsize=11)
    return figure


def accuracy(report: Report) -> Figure:
    """Test accuracy under each corruption, before (hollow) and after (filled); the seen kinds are marked."""
    before, after = report["before"], report["after"]
    seen, kinds = seen_kinds(report), ordered_kinds(report)
    pairs = [("clean", before["clean"]["accuracy"], after and after["clean"]["accuracy"])]
    later = (after and after["corrupted"]) or {"by_kind": {}, "mean": None}
    pairs.append(("mean of corruptions", before["corrupted"]["mean"], later["mean"]))
    pairs += [(kind, before["corrupted"]["by_kind"][kind], later["by_kind"].get(kind)) for kind in kinds]
    figure = Figure(figsize=(8.5, 1.7 + 0.29 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    for row, (_, old, new) in enumerate(pairs):
        label = {0: ("before", "after")}.get(row, (None, None))
        if new is not None:
            axes.plot([100 * old, 100 * new], [row, row], color=GREEN if new >= old else RED, linewidth=3, alpha=0.55)
        axes.plot(100 * old, row, "o", color=BLACK, markerfacecolor="white", markersize=9, label=label[0])
        if new is not None:
            axes.plot(100 * new, row, "o", color=BLUE, markersize=6, label=label[1])
    axes.axhline(1.5, color=GREY, linewidth=0.8)
    given = len(seen & set(kinds))
    if given:
        axes.axhspan(1.5, 1.5 + given, color=YELLOW, alpha=0.22, linewidth=0, label="given to the repair (seen)")
    axes.set_yticks(range(len(pairs)), [title(name) + (" (seen)" if name in seen else "") for name, _, _ in pairs])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlabel("test accuracy (%)")
    _quiet(axes, grid="both")
    figure.suptitle("Accuracy by corruption" + (", before and after the repair" if after else ""), fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def block(genotype: Mapping[str, Any], name: str) -> Figure:
    """The found block as a graph: its operations between the nodes, and the join with what stayed around it."""
    last = genotype["nodes"] - 1
    edges = {tuple(int(node) for node in edge.split("->")): chosen for edge, chosen in genotype["edges"].items()}
    heights = {(source, target): 0.75 * (target - source) * (target > source + 1) for source, target in edges}
    join, floor, ceiling = NODE_GAP * last + 1.8, -1.3, max([*heights.values(), 0.2]) + 0.5
    figure = Figure(figsize=(join + 1.4, ceiling - floor + 0.5), layout="constrained")
    axes = figure.subplots()
    for (source, target), chosen in sorted(edges.items()):
        weight = "" if chosen["weight"] is None else f"\n× {chosen['weight']:.3g}"
        label = f"{title(chosen['operation'])}{weight}"
        _edge(axes, NODE_GAP * source, NODE_GAP * target, heights[source, target], label, BLUE)
    _edge(axes, NODE_GAP * last, join, 0.0, "", BLACK)
    _edge(axes, 0.0, join, -1.0, "kept: the shortcut", GREY, dashed=True)
    for node in range(last + 1):
        _node(axes, NODE_GAP * node, _place(node, last), SKY if 0 < node < last else ORANGE)
    _node(axes, join, "join", "white")
    axes.set_xlim(-0.7, join + 0.7)
    axes.set_ylim(floor, ceiling)
    axes.set_aspect("equal")
    axes.set_axis_off()
    figure.suptitle(f"The new branch of {name}", fontsize=11)
    return figure


def _edge(axes: Axes, start: float, stop: float, height: float, label: str, color: str, dashed: bool = False) -> None:
    """An arrow between two nodes on the line y = 0 whose arc peaks at ``height``, its label at the peak."""
    rad = (
        -2 * height / (stop - start)
    )  # of arc3: its control point lies rad * length off the chord, its peak at half of that
    arrow = FancyArrowPatch(
        (start, 0), (stop, 0), connectionstyle=f"arc3,rad={rad}", arrowstyle="-|>", mutation_scale=16,
        shrinkA=22, shrinkB=22, color=color, linewidth=1.8, linestyle="--" if dashed else "-",
    )  # fmt: skip
    axes.add_patch(arrow)
    box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
    axes.text((start + stop) / 2, height, label, ha="center", va="center", fontsize=9, bbox=box if label else None)


def _node(axes: Axes, x: float, text: str, color: str) -> None:
    axes.plot(x, 0, "o", markersize=42, color=color, markeredgecolor=BLACK, zorder=3)
    axes.text(x, 0, text, ha="center", va="center", fontsize=9, zorder=4)


def _arrow(edge: str, last: int) -> str:
    return " → ".join(_place(int(node), last) for node in edge.split("->"))


def _place(node: int, last: int) -> str:
    return {0: "input", last: "output"}.get(node, f"node {node}")


def _label_ends(
    axes: Axes, shares: Sequence[float], names: Sequence[str], styles: Mapping[str, tuple[str, str]]
) -> None:
    """Names the lines to the right of the panel, pushed apart where their ends would overlap."""
    low, high = axes.get_ylim()
    order, space = np.argsort(shares), 0.075 * (high - low)
    heights = np.array(shares, float)[order]
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + space)
    heights[-1] = min(heights[-1], high)
    for place in range(len(heights) - 2, -1, -1):
        heights[place] = min(heights[place], heights[place + 1] - space)
    across = axes.get_yaxis_transform()  # x in widths of the panel, y in shares
    for height, line in zip(heights, order, strict=True):
        color, style = styles[names[line]]
        axes.annotate(
            title(names[line]),
            xy=(1, shares[line]),
            xytext=(1.08, height),
            xycoords=across,
            textcoords=across,
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linestyle": style, "relpos": (0, 0.5), "shrinkB": 0},
        )


def _quiet(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
