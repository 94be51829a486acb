"""Figures of a searched block: the mixture on its edges during the search, and the block that was found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from archrepair_jax.reporting.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, quiet
from archrepair_jax.reporting.wording import arrow, change, place, title

LINES = [(color, style) for style in ("-", "--", ":") for color in (BLUE, ORANGE, GREEN, RED, PINK, SKY, BLACK)]
NODE_GAP = 2.6  # inches between two nodes of a drawn block


def alphas(
    history: Sequence[Mapping[str, Any]], operations: Mapping[str, Sequence[str]], chosen: Mapping[str, str]
) -> Figure:
    """softmax(alpha) against the step, a panel for each edge, each line labelled at its end.

    Args:
        history: the shares by edge at some steps; or by position, and of the ``positions`` themselves.
        operations: the candidates of each edge, or position.
        chosen: what the found block has there, as far as there is one; need not be the largest share.
    """
    edges = sorted(operations)
    nodes = 1 + max((int(edge.split("->")[1]) for edge in edges if "->" in edge), default=0)
    columns = min(3, len(edges))
    rows = -(-len(edges) // columns)
    figure = Figure(figsize=(0.8 + 4.1 * columns, 0.5 + 3.2 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axes in panels[len(edges) :]:
        axes.remove()
    names = list(dict.fromkeys(name for edge in edges for name in operations[edge]))
    styles = {name: LINES[i % len(LINES)] for i, name in enumerate(names)}
    steps = [moment["step"] for moment in history]
    top = max(max(shares) for moment in history for shares in moment["edges"].values())
    for axes, edge in zip(panels, edges, strict=False):
        shares = np.array([moment["edges"][edge] for moment in history])
        for name, path in zip(operations[edge], shares.T, strict=True):
            color, style = styles[name]
            axes.plot(steps, path, style, color=color, linewidth=2.8 if name == chosen.get(edge) else 1.3)
        axes.set_title(arrow(edge, nodes) if "->" in edge else before(edge), fontsize=10)
        axes.set_xlabel("search step")
        axes.set_xlim(min(steps), max(steps) if max(steps) > min(steps) else min(steps) + 1)
        axes.set_ylim(0, 1.08 * top)
        quiet(axes, grid="y")
        _label_ends(axes, dict(zip(operations[edge], shares[-1], strict=True)), styles, chosen.get(edge))
    for axes in panels[: len(edges) : columns]:
        axes.set_ylabel("softmax(alpha)")
    figure.suptitle("The mixture during the search", fontsize=11)
    return figure


def before(position: str) -> str:
    """What a panel without an edge shows."""
    return position if position == "positions" else f"in front of {title(position)}"


def block(edit: Mapping[str, Any]) -> Figure:
    """The found block of an edit as a graph: its operations between the nodes, and what stayed around a branch."""
    genotype, around = edit["genotype"], edit["kind"] == "replaced"
    last = genotype["nodes"] - 1
    edges = {tuple(int(node) for node in edge.split("->")): chosen for edge, chosen in genotype["edges"].items()}
    heights = {(source, target): 0.75 * (target - source) * (target > source + 1) for source, target in edges}
    floor, ceiling = -1.3 if around else -0.6, max([*heights.values(), 0.2]) + 0.5
    join = NODE_GAP * last + 1.8 * around
    figure = Figure(figsize=(join + 1.4, ceiling - floor + 0.5), layout="constrained")
    axes = figure.subplots()
    for (source, target), chosen in sorted(edges.items()):
        label = title(chosen["operation"])
        _edge(axes, NODE_GAP * source, NODE_GAP * target, heights[source, target], label, BLUE)
    if around:
        _edge(axes, NODE_GAP * last, join, 0.0, "", BLACK)
        _edge(axes, 0.0, join, -1.0, "kept: the shortcut", GREY, dashed=True)
        _node(axes, join, "join", "white")
    for node in range(last + 1):
        _node(axes, NODE_GAP * node, place(node, last + 1), SKY if 0 < node < last else ORANGE)
    axes.set_xlim(-0.7, join + 0.7)
    axes.set_ylim(floor, ceiling)
    axes.set_aspect("equal")
    axes.set_axis_off()
    figure.suptitle(f"Found: {change(edit)}", fontsize=11)
    return figure


def gates(means: Mapping[str, Mapping[str, float]]) -> Figure:
    """How much of each filter the gates of a block in front let through, in the mean over images of each view.

    Zero is nothing of it, one all of it, a negative low pass an unsharp mask.
    """
    views, filters = list(means), list(next(iter(means.values())))
    values = np.array([[means[view][name] for name in filters] for view in views])
    figure = Figure(figsize=(2.2 + 1.2 * len(filters), 1.2 + 0.42 * len(views)), layout="constrained")
    axes, most = figure.subplots(), max(1.0, np.abs(values).max())
    axes.imshow(values, cmap="PuOr", vmin=-most, vmax=most, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ink = "white" if abs(value) > 0.6 * most else BLACK
        axes.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=9, color=ink)
    axes.set_xticks(range(len(filters)), [title(name) for name in filters], fontsize=9)
    axes.set_yticks(range(len(views)), [title(view) for view in views], fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle("What the gates let through, by what has come in", fontsize=11)
    return figure


def _edge(axes: Axes, start: float, stop: float, height: float, label: str, color: str, dashed: bool = False) -> None:
    """An arrow between two nodes on the line y = 0 whose arc peaks at ``height``, its label at the peak."""
    rad = -2 * height / (stop - start)  # arc3's control point lies rad * length off the chord, its peak half as far
    patch = FancyArrowPatch(
        (start, 0), (stop, 0), connectionstyle=f"arc3,rad={rad}", arrowstyle="-|>", mutation_scale=16,
        shrinkA=22, shrinkB=22, color=color, linewidth=1.8, linestyle="--" if dashed else "-",
    )  # fmt: skip
    axes.add_patch(patch)
    box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
    axes.text((start + stop) / 2, height, label, ha="center", va="center", fontsize=9, bbox=box if label else None)


def _node(axes: Axes, x: float, text: str, color: str) -> None:
    axes.plot(x, 0, "o", markersize=42, color=color, markeredgecolor=BLACK, zorder=3)
    axes.text(x, 0, text, ha="center", va="center", fontsize=9, zorder=4)


def _label_ends(
    axes: Axes, shares: Mapping[str, float], styles: Mapping[str, tuple[str, str]], chosen: str | None
) -> None:
    """Names the lines to the right of the panel, pushed apart where their ends would overlap."""
    low, high = axes.get_ylim()
    names, space = sorted(shares, key=shares.get), 0.075 * (high - low)
    heights = [shares[name] for name in names]
    for rank in range(1, len(heights)):
        heights[rank] = max(heights[rank], heights[rank - 1] + space)
    heights[-1] = min(heights[-1], high)
    for rank in range(len(heights) - 2, -1, -1):
        heights[rank] = min(heights[rank], heights[rank + 1] - space)
    across = axes.get_yaxis_transform()  # x in widths of the panel, y in shares
    for height, name in zip(heights, names, strict=True):
        color, style = styles[name]
        axes.annotate(
            f"chosen: {title(name)}" if name == chosen else title(name),
            xy=(1, shares[name]),
            xytext=(1.08, height),
            xycoords=across,
            textcoords=across,
            va="center",
            fontsize=8,
            fontweight="bold" if name == chosen else "normal",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linestyle": style, "relpos": (0, 0.5), "shrinkB": 0},
        )
