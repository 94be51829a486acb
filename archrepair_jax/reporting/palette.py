"""What all figures share. Colours are those of Okabe and Ito, told apart by colour-blind readers too.

Nothing is told by colour alone.
"""

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 130

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK, GREY = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#8A8A8A",
)  # fmt: skip

# of the page, by day and by night: ``ink`` and ``quiet`` are text, on ``paper`` or ``lit``
LIGHT = {"ink": "#1a1a1a", "paper": "#ffffff", "quiet": "#5c5c5c", "rule": "#d8d8d8", "lit": "#eef4fa"}
DARK = {"ink": "#ececec", "paper": "#16181b", "quiet": "#a8a8a8", "rule": "#3a3d42", "lit": "#1f2a36"}


def quiet(axes: Axes, grid: str) -> None:
    """Leaves a panel with what is needed to read it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def png(figure: Figure) -> bytes:
    """A figure as a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
