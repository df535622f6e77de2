"""How every figure looks. Figures are built without pyplot, so a host's plotting state is left alone."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dejavu_lightning.core.whole_file import whole_file

# Okabe and Ito's palette, told apart by colour-blind readers.
TARGET, REFERENCE = "#0072B2", "#E69F00"
GAPS = ("#D55E00", "#CC79A7")
NEUTRAL = "#D9D9D9"
ABOVE, BELOW = "#D55E00", "#56B4E9"  # where the target, or the reference, knows more
OUTCOMES = (ABOVE, "#E69F00", BELOW, NEUTRAL)
INK = "#333333"
# Of the palette what is dark enough for lines on white. Seven colours and five markers repeat after 35 variants.
VARIANT_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v")


def outcome_colors(outcomes: Iterable[str]) -> dict[str, str]:
    """A colour for each outcome of a test, in their order."""
    return dict(zip(outcomes, OUTCOMES, strict=False))


class Mark(NamedTuple):
    """How one variant is drawn in every figure of a page."""

    color: str
    marker: str


def marks(variants: Sequence[str]) -> dict[str, Mark]:
    """A mark for each variant, told apart by colour and by shape."""
    return {
        variant: Mark(VARIANT_COLORS[at % len(VARIANT_COLORS)], MARKERS[at % len(MARKERS)])
        for at, variant in enumerate(variants)
    }


def canvas(width: float, height: float, title: str = "", grid: bool = True) -> tuple[Figure, Axes]:
    """A figure of one pair of plain axes; width and height in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=12, color=INK)
    plain(axes)
    if not grid:
        axes.grid(visible=False)
    return figure, axes


def plain(axes: Axes) -> None:
    """Only the axes that carry numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Names under the axes, where they hide nothing."""
    handles, labels = axes.get_legend_handles_labels()
    wide = max(map(len, labels), default=0) > 30
    figure.legend(handles, labels, loc="outside lower left", ncols=1 if wide else 2, frameon=False, fontsize=9)


def beside(axes: Axes, height: float, text: str) -> None:
    """Small print to the right of the axes, at a height of theirs."""
    axes.text(1.01, height, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=INK)


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG."""
    FigureCanvasAgg(figure)
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=150, facecolor="white")
    return Path(path)


def svg(figure: Figure) -> bytes:
    """The figure as SVG, text as outlines, the same bytes for the same figure."""
    written = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "dejavu-lightning", "svg.fonttype": "path"}):
        figure.savefig(written, format="svg", facecolor="white", metadata={"Date": None})
    return written.getvalue()
