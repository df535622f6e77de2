"""Memorization by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import estimates_in
from dejavu_lightning.figures import style
from dejavu_lightning.memorization.display import Display


def draw_curve(history: Sequence[Mapping[str, float]], path: str | Path, display: Display) -> Path:
    """Draw what target and reference find, and below it the gap between them, each with its 95% interval shaded.

    Where there are held-out records the gap is net, the gap of the attacked records dotted beside it.

    Args:
        history: one row per measurement with ``epoch`` and what ``display`` names, as logged.
        path: where the PNG goes.
        display: of the test.
    """
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    answers, gaps = figure.subplots(2, 1, sharex=True)
    figure.suptitle("Memorization", x=0.02, ha="left", fontsize=12, color=style.INK)
    _line(answers, history, f"target_{display.answers.metric}", style.TARGET, "target")
    _line(answers, history, f"reference_{display.answers.metric}", style.REFERENCE, "reference")
    answers.set_ylabel(display.answers.label)
    answers.legend(frameon=False, loc="upper left")
    last = history[-1]
    shown = display.shown_gaps(last)
    for (name, label, beside), color in zip(shown, style.GAPS, strict=False):
        _line(gaps, history, name, color, label)
        if beside is not None:
            epochs, values = [row["epoch"] for row in history], [row[beside] for row in history]
            gaps.plot(epochs, values, color=color, linewidth=1, linestyle=":", label=f"{display.gaps[beside]}, not net")
        gaps.annotate(
            f"{last[name]:+.3f}",
            (last["epoch"], last[name]),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=color,
            annotation_clip=False,
        )
    gaps.axhline(0, color=style.INK, linewidth=0.8)
    several = len(shown) > 1 or any(beside for *_, beside in shown)
    gaps.set_ylabel("target minus reference" if several else shown[0][1])
    if several:
        gaps.legend(frameon=False, loc="upper left")
    gaps.set_xlabel("epochs completed")
    gaps.locator_params(axis="x", integer=True)
    if answers.dataLim.ymin >= 0:
        answers.set_ylim(bottom=0)
    for axes in (answers, gaps):
        style.plain(axes)
    return style.save(figure, path)


def _line(axes: Axes, history: Sequence[Mapping[str, float]], name: str, color: str, label: str) -> None:
    epochs, points = [row["epoch"] for row in history], [estimates_in(row)[name] for row in history]
    axes.plot(epochs, [point.value for point in points], color=color, label=label, marker="o", markersize=3.5)
    low = [point.low for point in points if point.low is not None]
    high = [point.high for point in points if point.high is not None]
    if len(low) == len(high) == len(points):
        axes.fill_between(epochs, low, high, color=color, alpha=0.18, linewidth=0)
