"""Figures of several references beside each other: what they agree in, infer, score and rank first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.figures import style
from dejavu_lightning.figures.spread import Value, bin_edges, colors_of, plot_histogram
from dejavu_lightning.memorization.agreement import Agreement
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.reference_answers import ClassShare, TopPrecision

ACROSS = 3  # histograms beside each other
MEASURES = ("precision", "recall", "f_score")


def draw_agreement(parts: Mapping[str, Sequence[Agreement]], path: str | Path) -> Path:
    """Draw Cohen's kappa of each two as a heatmap, one for each part, by its title."""
    sides = [len({name for pair in pairs for name in pair[:2]}) for pairs in parts.values()]
    inches = [1.8 + 0.62 * side for side in sides]
    figure = Figure(figsize=(sum(inches) + 1.6, max(inches) + 0.6), layout="constrained")
    shown = figure.subplots(1, len(parts), squeeze=False, width_ratios=sides)[0]
    image = None
    for axes, (title, pairs) in zip(shown, parts.items(), strict=True):
        names = list(dict.fromkeys(name for pair in pairs for name in pair[:2]))
        kappa = np.full((len(names), len(names)), np.nan)
        for pair in pairs:
            row, column = names.index(pair.first), names.index(pair.second)
            kappa[row, column] = kappa[column, row] = pair.kappa
        image = axes.imshow(kappa, cmap="viridis", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(kappa):
            if not math.isnan(value):
                color = "white" if value < 0.6 else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=8)
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_title(title, loc="left", fontsize=10, color=style.INK)
        axes.spines[:].set_visible(False)
    if image is not None:
        figure.colorbar(image, ax=list(shown), label="Cohen's kappa", shrink=0.7)
    return style.save(figure, path)


def draw_scores(lines: Mapping[str, Mapping[str, Estimate]], labels: Mapping[str, str], path: str | Path) -> Path:
    """Draw estimates of several tests with their intervals, a column for each estimate; a line for each test by name.

    Args:
        lines: test -> metric -> estimate.
        labels: metric -> what the column is called.
        path: where the PNG goes.
    """
    figure = Figure(figsize=(2.2 + 2.9 * len(labels), 1.1 + 0.27 * len(lines)), layout="constrained")
    shown = figure.subplots(1, len(labels), squeeze=False, sharey=True)[0]
    for axes, (metric, label) in zip(shown, labels.items(), strict=True):
        for height, estimates in enumerate(lines.values()):
            estimate = estimates.get(metric)
            if estimate is None:
                continue
            if estimate.low is not None and estimate.high is not None:
                axes.plot([estimate.low, estimate.high], [height] * 2, color=style.INK, linewidth=1)
            axes.plot(estimate.value, height, "o", color=style.ABOVE, markersize=5)
        axes.axvline(0, color=style.NEUTRAL, linewidth=0.8)
        axes.set_xlabel(label, fontsize=9)
        style.plain(axes)
    shown[0].set_yticks(range(len(lines)), list(lines))
    shown[0].set_ylim(len(lines) - 0.4, -0.6)
    return style.save(figure, path)


def draw_confidences(values: Mapping[str, Sequence[Value]], display: Display, path: str | Path) -> Path:
    """Draw the histogram of each test, by name, all on the same bins."""
    assert display.spread is not None
    edges = bin_edges([value for each in values.values() for value, _ in each])
    rows = -(-len(values) // ACROSS)
    figure = Figure(figsize=(3.4 * min(len(values), ACROSS), 2.6 * rows + 0.6), layout="constrained")
    shown = figure.subplots(rows, min(len(values), ACROSS), squeeze=False, sharex=True, sharey=True)
    for axes, (name, each) in zip(shown.flat, values.items(), strict=False):
        plot_histogram(axes, each, edges, colors_of(display))
        style.plain(axes)
        axes.set_title(name, loc="left", fontsize=9, color=style.INK)
        axes.legend(frameon=False, fontsize=7, loc="upper right")
    shown.flat[0].set_ylim(top=1.4 * shown.flat[0].get_ylim()[1])  # room for the legends
    for axes in shown.flatten()[len(values) :]:
        axes.set_visible(False)
    figure.supxlabel(display.spread.axis, fontsize=9)
    return style.save(figure, path)


def draw_top(top: Mapping[str, Sequence[TopPrecision]], memorized: int, records: int, path: str | Path) -> Path:
    """Draw precision, recall and F of the first L records of each order, by name.

    Args:
        top: of each order, L ascending.
        memorized, records: how many there are, for what a random order would have.
        path: where the PNG goes.
    """
    figure, shown = _three()
    marks = style.marks(list(top))
    for axes, measure in zip(shown, MEASURES, strict=True):
        for name, points in top.items():
            sizes = [point.records for point in points]
            found = [getattr(point, measure) for point in points]
            known = [one.value if isinstance(one, Estimate) else one for one in found]
            axes.plot(sizes, known, color=marks[name].color, label=name, linewidth=1.4)
        sizes = max(([point.records for point in points] for points in top.values()), key=len)
        axes.plot(sizes, _at_random(measure, sizes, memorized, records), ":", color=style.INK, label="a random order")
        _finish(axes, measure)
    style.legend_below(figure, shown[0])
    return style.save(figure, path)


def draw_top_gaps(gaps: Mapping[str, pa.Table], order: str, path: str | Path) -> Path:
    """Draw the gaps of precision, recall and F of the first L records of each test, by name, beside their null.

    Args:
        gaps: what ``sample_gaps`` found.
        order: of the records, one of that table.
        path: where the PNG goes.
    """
    figure, shown = _three()
    marks = style.marks(list(gaps))
    for axes, measure in zip(shown, MEASURES, strict=True):
        for name, table in gaps.items():
            rows = [row for row in table.to_pylist() if row["order"] == order and row["measure"] == measure]
            rows.sort(key=lambda row: row["records"])
            sizes = [row["records"] for row in rows]
            mark = marks[name]
            low, high = ([row[end] for row in rows] for end in ("null_low", "null_high"))
            axes.fill_between(sizes, low, high, color=mark.color, alpha=0.12)
            axes.plot(sizes, [row["gap"] for row in rows], color=mark.color, marker=mark.marker, label=name)
        axes.axhline(0, color=style.INK, linewidth=0.8)
        _finish(axes, f"{measure} gap")
    style.legend_below(figure, shown[0])
    return style.save(figure, path)


def draw_classes(classes: Mapping[str, Sequence[ClassShare]], names: Mapping[int, str], path: str | Path) -> Path:
    """Draw the classes that each reference infers best with their shares and intervals, by the reference's name."""
    rows = -(-len(classes) // ACROSS)
    most = max(map(len, classes.values()))
    columns = min(len(classes), ACROSS)
    figure = Figure(figsize=(3.6 * columns, rows * (0.9 + 0.26 * most)), layout="constrained")
    shown = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, (reference, found) in zip(shown.flat, classes.items(), strict=False):
        for height, one in enumerate(found):
            axes.barh(height, one.share.value, color=style.REFERENCE, height=0.65)
            axes.plot([one.share.low or 0, one.share.high or 0], [height] * 2, color=style.INK, linewidth=1)
            style.beside(axes, height, f"{one.inferred}/{one.records}")
        axes.set_yticks(range(len(found)), [names[one.label][:22] for one in found], fontsize=8)
        axes.invert_yaxis()
        axes.set_title(reference, loc="left", fontsize=9, color=style.INK)
        style.plain(axes)
        axes.grid(visible=False)
    for axes in shown.flatten()[len(classes) :]:
        axes.set_visible(False)
    figure.supxlabel("share of the records that the reference infers", fontsize=9)
    return style.save(figure, path)


def _three() -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    return figure, list(figure.subplots(1, 3))


def _at_random(measure: str, sizes: Sequence[int], memorized: int, records: int) -> list[float]:
    """What to expect of the first so many records of a random order."""
    hits = [size * memorized / records for size in sizes]
    if measure == "precision":
        return [memorized / records for _ in sizes]
    if measure == "recall":
        return [hit / memorized for hit in hits]
    return [2 * hit / (size + memorized) for hit, size in zip(hits, sizes, strict=True)]


def _finish(axes: Axes, label: str) -> None:
    axes.set_xlabel("records counted, the surest first")
    axes.set_ylabel(label.replace("f_score", "F"))
    style.plain(axes)
