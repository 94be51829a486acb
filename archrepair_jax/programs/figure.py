"""The anytime curves of a table of searches, in one figure."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archrepair_jax.programs.anytime import GRID, curve, rates
from archrepair_jax.programs.statistics import numbers
from archrepair_jax.reporting.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, quiet
from archrepair_jax.study.table import Row

LOOKS = [
    {"color": color, "linestyle": style}
    for color, style in zip((BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK, GREY), 2 * ("-", "--", "-.", ":"), strict=True)
]
ACROSS = 4  # panels in a row

Groups = Mapping[tuple[str, str], Sequence[Row]]  # by subject and technique


def anytime(groups: Groups) -> Figure:
    """A panel a subject, with each technique's mean over its searches; of several subjects, one more over all."""
    subjects = list(dict.fromkeys(subject for subject, _ in groups))
    looks = dict(zip(dict.fromkeys(technique for _, technique in groups), itertools.cycle(LOOKS), strict=False))
    known = {key: rows for key, rows in groups.items() if all(row["ir"] for row in rows)}
    titles = [*subjects, *(["all subjects"] if len({subject for subject, _ in known}) > 1 else [])]
    across, high = min(len(titles), ACROSS), math.ceil(len(titles) / ACROSS)
    figure = Figure(figsize=(2.0 + 3.2 * across, 1.2 + 2.4 * high), layout="constrained")
    panels = figure.subplots(high, across, squeeze=False).ravel()
    for axes, title in itertools.zip_longest(panels, titles):
        if title is None:
            axes.set_visible(False)
            continue
        if title in subjects:
            one(axes, {technique: rows for (name, technique), rows in groups.items() if name == title}, looks)
        else:
            all_of_them(axes, known, looks)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("budget spent (%)")
        axes.set_xlim(0, 100)
        quiet(axes, grid="both")
    told = dict(reversed(pair) for axes in panels for pair in zip(*axes.get_legend_handles_labels(), strict=True))
    figure.legend(told.values(), told.keys(), loc="outside lower center", ncols=across + 1, frameon=False)
    return figure


def one(axes: Axes, techniques: Mapping[str, Sequence[Row]], looks: Mapping[str, Mapping]) -> None:
    """A subject's scores as they are, with those of the faulty program and of the known fix on examples held out."""
    for technique, rows in techniques.items():
        axes.plot(100 * GRID, np.mean([curve(row) for row in rows], 0), label=technique, **looks[technique])
    every = list(itertools.chain(*techniques.values()))
    for name, style in (("faulty", (0, (1, 3))), ("fixed", (0, (8, 4)))):
        levels = numbers(every, f"metric_{name}")
        if np.isfinite(levels).any():
            axes.axhline(np.nanmean(levels), color=GREY, linewidth=1, linestyle=style, label=name)
    axes.set_ylabel("best on validation")


def all_of_them(axes: Axes, known: Groups, looks: Mapping[str, Mapping]) -> None:
    """Mean improvement rates over the subjects that have a known fix."""
    for technique, look in looks.items():
        means = [np.mean([rates(row) for row in rows], 0) for (_, own), rows in known.items() if own == technique]
        if means:
            axes.plot(100 * GRID, np.mean(means, 0), **look)
    axes.set_ylabel("improvement rate")
