"""How a column of a comparison is spread over the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes

from dejavu_lightning.figures import style
from dejavu_lightning.memorization.display import Display

BINS = 40
SIGNS = {"target knows more": style.ABOVE, "reference knows more": style.BELOW, "as much": style.NEUTRAL}

Value = tuple[float, str]  # of a record, and its outcome, or which model knows more


def values_of(table: pa.Table, display: Display) -> list[Value]:
    """Read a comparison's column of ``display.spread``; empty where the table lacks it."""
    if display.spread is None or display.spread.column not in table.column_names:
        return []
    values = table[display.spread.column].to_pylist()
    if display.spread.by:
        return list(zip(values, table[display.spread.by].to_pylist(), strict=True))
    above, below, same = SIGNS
    return [(value, above if value > 0 else below if value < 0 else same) for value in values]


def colors_of(display: Display) -> Mapping[str, str]:
    """Colours of the outcomes, of which model knows more where the test has none."""
    return style.outcome_colors(display.outcomes) or SIGNS


def draw_spread(values: Sequence[Value], path: str | Path, display: Display) -> Path:
    """Draw a histogram, stacked by outcome, the first outcome at the bottom; ``path`` is where the PNG goes."""
    assert display.spread is not None
    figure, axes = style.canvas(7, 3.6, display.spread.title)
    plot_histogram(axes, values, bin_edges([value for value, _ in values]), colors_of(display))
    axes.set_xlabel(display.spread.axis)
    axes.legend(frameon=False, fontsize=8.5)
    return style.save(figure, path)


def bin_edges(values: Sequence[float]) -> list[float]:
    """Edges of bins that hold all values, and 0."""
    return [float(edge) for edge in np.linspace(min(*values, 0), max(*values, 0.01), BINS + 1)]


def plot_histogram(axes: Axes, values: Sequence[Value], edges: Sequence[float], colors: Mapping[str, str]) -> None:
    """Plot the histogram on given axes, which still lack a label below and a legend."""
    shares = [[value for value, outcome in values if outcome == name] for name in colors]
    labels = [f"{name} ({len(share)})" for name, share in zip(colors, shares, strict=True)]
    axes.hist(shares, bins=list(edges), stacked=True, color=list(colors.values()), label=labels)
    axes.axvline(0, color=style.INK, linewidth=0.8)
    axes.set_ylabel("records")


def is_counted(values: Iterable[Value]) -> bool:
    """Whether all values are whole numbers, which get a bar each."""
    return all(isinstance(value, int) for value, _ in values)


def plot_bars(axes: Axes, counts: Counter[int], values: Sequence[int], top: float) -> None:
    """Plot the share of records at each whole number; ``top`` is the largest share on any axes beside these."""
    shares = [counts[value] / counts.total() for value in values]
    above, below, same = SIGNS.values()
    colors = [above if value > 0 else below if value < 0 else same for value in values]
    drawn = axes.bar(values, shares, color=colors)
    axes.bar_label(drawn, [f"{share:.0%}" for share in shares], fontsize=8, color=style.INK)
    axes.set_ylim(0, 1.12 * top)
    axes.set_xticks(values)
    axes.set_ylabel("share of records")
