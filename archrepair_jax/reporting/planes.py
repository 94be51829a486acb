"""Figures of a repair over regions: where its property is violated along two inputs, before and after."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from archrepair_jax.reporting.comparison import Arm, Report, with_role
from archrepair_jax.reporting.palette import GREY, RED, png
from archrepair_jax.reporting.wording import count, percent

SHOWN = 6  # of the first cases; the others' planes stand in report.json


def draw_all(report: Report) -> dict[str, bytes]:
    """PNGs by name, as ``shown`` has them."""
    return {name: png(figure(arm["measures"]["plane"])) for name, arm in _named(report).items()}


def shown(report: Report, arm: Arm) -> list[str]:
    """The figure of an arm in Markdown, if there is one."""
    places = [name for name, drawn in _named(report).items() if drawn is arm]
    return [f"![{arm['case']['network']}: {_title(arm['measures']['plane'])}](figures/{name}.png)" for name in places]


def figure(plane: Mapping[str, Any]) -> Figure:
    """Two panels, before and after; red is a violation, grey lines are the boxes by which the rest was proved."""
    (left, bottom), (right, top) = plane["lower"], plane["upper"]
    whole = Figure(figsize=(8.5, 4.2), layout="constrained")
    for axes, when in zip(whole.subplots(1, 2, sharey=True), ("before", "after"), strict=True):
        violated = np.array([[each == "#" for each in row] for row in plane[when]])
        colors = ListedColormap(["white", RED])
        axes.imshow(violated, colors, vmin=0, vmax=1, origin="lower", extent=(left, right, bottom, top), aspect="auto")
        axes.set_title(f"{when}: {percent(float(violated.mean()), 2)} violate", fontsize=10)
        axes.set_xlabel(f"input {plane['inputs'][0]}")
    axes.figure.axes[0].set_ylabel(f"input {plane['inputs'][1]}")
    boxes = [Rectangle(low, *np.subtract(high, low)) for low, high in plane["boxes"]]
    axes.add_collection(PatchCollection(boxes, facecolor="none", edgecolor=GREY, linewidth=0.6))
    crossed = f", with {count(plane['boxes_crossed'], 'box')} of the proof" if boxes else ""
    whole.suptitle(f"{_title(plane)}{crossed}", fontsize=11)
    return whole


def _title(plane: Mapping[str, Any]) -> str:
    first, second = plane["inputs"]
    return f"violations along inputs {first} and {second}, through the worst one"


def _named(report: Report) -> dict[str, Arm]:
    arms = [arm for arm in with_role(report, "repair") if (arm["measures"] or {}).get("plane")]
    return {f"plane-{number}": arm for number, arm in enumerate(arms[:SHOWN], 1)}
