"""Memorization and utility of several trainings against a setting of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.figures import style

WIDE = 8  # times the least value, from which on the axis is logarithmic


class Point(NamedTuple):
    """The trainings with one value of the setting; ``default`` ones are ringed."""

    value: float
    memorization: Estimate
    utility: Estimate | None
    default: bool = False


def draw_setting(points: Sequence[Point], setting: str, memorization: str, utility: str, path: str | Path) -> Path:
    """Draw memorization against a setting, and below it utility where it is known, both with their 95% intervals.

    Args:
        points: two or more, in any order.
        setting: what the axis is called.
        memorization, utility: what the values are called.
        path: where the PNG goes.
    """
    points = sorted(points, key=lambda point: point.value)
    useful = [(point, point.utility) for point in points if point.utility is not None]
    figure = Figure(figsize=(5.4, 5.6 if useful else 3.4), layout="constrained")
    upper, *rest = figure.subplots(2 if useful else 1, 1, sharex=True, squeeze=False)[:, 0]
    _line(upper, [(point, point.memorization) for point in points], style.GAPS[0], memorization)
    upper.axhline(0, color=style.INK, linewidth=0.8)
    for axes in rest:
        _line(axes, useful, style.VARIANT_COLORS[2], utility)
    last, values = [upper, *rest][-1], [point.value for point in points]
    if min(values) > 0 and max(values) / min(values) >= WIDE:
        last.set_xscale("log")
        last.minorticks_off()
    last.set_xticks(values, [f"{value:g}" for value in values])
    last.set_xlabel(setting)
    return style.save(figure, path)


def _line(axes: Axes, found: Sequence[tuple[Point, Estimate]], color: str, label: str) -> None:
    axes.plot([point.value for point, _ in found], [one.value for _, one in found], color=color, marker="o")
    for point, one in found:
        if one.low is not None and one.high is not None:
            axes.plot([point.value] * 2, [one.low, one.high], color=color, linewidth=1, alpha=0.6)
        if point.default:
            axes.plot(point.value, one.value, "o", markersize=13, fillstyle="none", color=style.INK)
    axes.set_ylabel(label)
    style.plain(axes)
