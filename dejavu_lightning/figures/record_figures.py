"""Figures of single records: their memorization over seeds and what predicts it, and their events over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.figures import style
from dejavu_lightning.memorization.forgotten_records import EpochEvents
from dejavu_lightning.memorization.records_over_seeds import RecordMean, RecordsOverSeeds

FIRST, AGAIN, FORGOTTEN = style.ABOVE, "#E69F00", style.BELOW


def draw_records(found: RecordsOverSeeds, path: str | Path) -> Path:
    """Draw every record's mean over seeds with its interval, and the correlations with seeds and facts."""
    lines = [
        (f"{one.first} and {one.second}" if one.first != "mean" else one.second, one)
        for one in (*found.stability, *found.predictors)
        if one.estimate is not None
    ]
    figure = Figure(figsize=(9, max(3.6, 1.2 + 0.26 * len(lines))), layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot_means(left, found.records)
    for height, (_, one) in enumerate(lines):
        assert one.estimate is not None
        color = style.INK if one.first != "mean" else style.ABOVE
        right.plot([one.estimate.low, one.estimate.high], [height] * 2, color=color, linewidth=1)
        right.plot(one.estimate.value, height, "o", color=color, markersize=5)
        style.beside(right, height, str(one.records))
    right.axvline(0, color=style.NEUTRAL, linewidth=0.8)
    right.set_yticks(range(len(lines)), [name for name, _ in lines])
    right.invert_yaxis()
    right.set_xlabel("rank correlation; right: records")
    right.set_title("Two seeds; mean with facts (orange)", loc="left", fontsize=10)
    style.plain(right)
    return style.save(figure, path)


def _plot_means(axes: Axes, records: Sequence[RecordMean]) -> None:
    places = range(1, len(records) + 1)
    known = [(place, one.mean.low, one.mean.high) for place, one in zip(places, records, strict=True)]
    ends = [(place, low, high) for place, low, high in known if low is not None and high is not None]
    if ends:
        axes.vlines(*zip(*ends, strict=True), color=style.NEUTRAL, linewidth=max(0.3, min(3.0, 200 / len(records))))
    axes.plot(places, [one.mean.value for one in records], ".", color=style.ABOVE, markersize=3)
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_xlabel("records, the most memorized first")
    axes.set_ylabel("target minus reference, mean over seeds")
    axes.set_title("Memorization of each record", loc="left", fontsize=10)
    style.plain(axes)


def draw_events(epochs: Sequence[EpochEvents], path: str | Path) -> Path:
    """Draw :func:`plot_events` into a file."""
    return style.save(plot_events(epochs), path)


def plot_events(epochs: Sequence[EpochEvents]) -> Figure:
    """Plot how many records are first memorized and learned again by epoch, upwards, and forgotten, downwards."""
    figure, axes = style.canvas(5.4, 4.0)
    places = range(len(epochs))
    first = [one.first_memorized for one in epochs]
    axes.bar(places, first, color=FIRST, label="first memorized")
    axes.bar(places, [one.learned_again for one in epochs], bottom=first, color=AGAIN, label="learned again")
    axes.bar(places, [-one.forgotten for one in epochs], color=FORGOTTEN, label="forgotten")
    reverse = [one.first_reversed for one in epochs]
    axes.plot(places, reverse, "_", color=style.INK, markersize=12, label="first known better by the reference")
    axes.axhline(0, color=style.INK, linewidth=0.8)
    every = max(1, len(epochs) // 10)
    axes.set_xticks(list(places)[::every], [str(one.epoch) for one in epochs][::every])
    axes.set_xlabel("epochs completed")
    axes.set_ylabel("records")
    style.legend_below(figure, axes)
    return figure
