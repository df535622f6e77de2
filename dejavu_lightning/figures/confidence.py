"""How sure the target is of records of which the reference is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.figures import style

BINS = 40
CONFIDENCE = "memorization_confidence"


def draw_confidence(
    records: Sequence[tuple[float, str]], path: str | Path, title: str = "Memorization confidence"
) -> Path:
    """Histogram of memorization confidence in [-1, 1], stacked by outcome, memorized records at the bottom.

    Args:
        records: confidence and outcome of each.
        path: where the PNG goes.
    """
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=12, color=style.INK)
    plot_confidence(axes, records, bin_edges([value for value, _ in records]))
    axes.set_xlabel("uncertainty of the reference minus that of the target")
    axes.legend(frameon=False, fontsize=8.5)
    return style.save(figure, path)


def bin_edges(values: Sequence[float]) -> list[float]:
    """Of bins that hold all values, and 0."""
    return [float(edge) for edge in np.linspace(min(*values, 0), max(*values, 0.01), BINS + 1)]


def plot_confidence(axes: Axes, records: Sequence[tuple[float, str]], edges: Sequence[float]) -> None:
    """The histogram on given axes, which still lack a label below and a legend."""
    shares = [[value for value, outcome in records if outcome == name] for name in style.OUTCOME_COLORS]
    labels = [f"{name} ({len(share)})" for name, share in zip(style.OUTCOME_COLORS, shares, strict=True)]
    axes.hist(shares, bins=list(edges), stacked=True, color=list(style.OUTCOME_COLORS.values()), label=labels)
    axes.axvline(0, color=style.INK, linewidth=0.8)
    axes.set_ylabel("records")
    style.plain(axes)
