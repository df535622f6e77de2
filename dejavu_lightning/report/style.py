"""How every figure looks. Figures are built without pyplot, so a host's plotting state is left alone."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers.
TARGET, REFERENCE = "#0072B2", "#E69F00"
GAPS = ("#D55E00", "#CC79A7")
OUTCOME_COLORS = {
    "memorized": "#D55E00",
    "correlated": "#E69F00",
    "misrepresented": "#56B4E9",
    "unassociated": "#D9D9D9",
}
INK = "#333333"


def plain(axes: Axes) -> None:
    """Only the axes that carry numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG."""
    FigureCanvasAgg(figure)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white")
    return Path(path)
