"""How sure the target is of records of which the reference is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dejavu_lightning.report import style

BINS = 40


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
    shares = [[value for value, outcome in records if outcome == name] for name in style.OUTCOME_COLORS]
    values = [value for value, _ in records]
    edges = np.linspace(min(*values, 0), max(*values, 0.01), BINS + 1).tolist()
    labels = [f"{name} ({len(share)})" for name, share in zip(style.OUTCOME_COLORS, shares, strict=True)]
    axes.hist(shares, bins=edges, stacked=True, color=list(style.OUTCOME_COLORS.values()), label=labels)
    axes.axvline(0, color=style.INK, linewidth=0.8)
    axes.set_xlabel("uncertainty of the reference minus that of the target")
    axes.set_ylabel("records")
    axes.legend(frameon=False, fontsize=8.5)
    style.plain(axes)
    return style.save(figure, path)
