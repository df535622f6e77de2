"""Numbers of one measurement by layer, or by number of neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import Estimate, net_parts
from dejavu_lightning.figures import style
from dejavu_lightning.memorization.display import Display, Series

USEFUL = style.VARIANT_COLORS[2]  # of utility


def series_gap(series: Series, estimates: Mapping[str, Estimate], display: Display) -> str:
    """The gap that sums each place up: the net value of the test's first, where all places have it."""
    net, gap, _ = net_parts(next(iter(display.gaps)))
    return net if all(f"{net}/{place}" in estimates for place in series.places) else gap


def series_utility(series: Series, utility: Mapping[str, Estimate]) -> list[str]:
    """Metrics of utility that all places have, of the best answer alone, such as ``linear_top1``."""
    last = list(series.places)[-1]
    named = [name.removesuffix(f"/{last}") for name in utility if name.endswith(f"_top1/{last}")]
    return [name for name in named if all(f"{name}/{place}" in utility for place in series.places)]


def draw_series(
    series: Series,
    estimates: Mapping[str, Estimate],
    utility: Mapping[str, Estimate],
    path: str | Path,
    display: Display,
) -> Path:
    """Draw what both models find at each place, below it the gap between them, and utility where it is known.

    Args:
        series: the places.
        estimates: of the measurement.
        utility: of the same model, by the same names; may be empty.
        path: where the PNG goes.
        display: of the test.
    """
    useful = series_utility(series, utility)
    figure = Figure(figsize=(7, 7.6 if useful else 5.6), layout="constrained")
    answers, gaps, *rest = figure.subplots(3 if useful else 2, 1, sharex=True)
    for role, color in (("target", style.TARGET), ("reference", style.REFERENCE)):
        _line(answers, series, estimates, f"{role}_{display.answers.metric}", color, role)
    answers.set_ylabel(display.answers.label)
    gap = series_gap(series, estimates, display)
    _line(gaps, series, estimates, gap, style.GAPS[0], display.label(gap))
    gaps.axhline(0, color=style.INK, linewidth=0.8)
    gaps.set_ylabel(display.label(gap))
    for axes in rest:
        for name, shape in zip(useful, ("-", "--", ":"), strict=False):
            _line(axes, series, utility, name, USEFUL, name, shape)
        axes.set_ylabel("utility")
    every = [answers, gaps, *rest]
    for axes in every:
        style.plain(axes)
    for axes in (answers, *rest):
        axes.legend(frameon=False)
    numbers = [place for place in series.places.values() if place is not None]
    if len(numbers) == len(series.places):
        every[-1].set_xscale("log")
        every[-1].minorticks_off()
    every[-1].set_xticks(_across(series), list(series.places) if not numbers else [f"{number:g}" for number in numbers])
    every[-1].set_xlabel(series.axis)
    return style.save(figure, path)


def _across(series: Series) -> list[float]:
    """Where the places lie: at their numbers, or side by side."""
    return [float(number) if at is None else at for number, at in enumerate(series.places.values())]


def _line(
    axes: Axes,
    series: Series,
    estimates: Mapping[str, Estimate],
    metric: str,
    color: str,
    label: str,
    shape: str = "-",
) -> None:
    """A line through the values, the 95% intervals as bars."""
    across, found = _across(series), [estimates[f"{metric}/{place}"] for place in series.places]
    axes.plot(across, [one.value for one in found], shape, color=color, label=label, marker="o", markersize=4)
    for at, one in zip(across, found, strict=True):
        if one.low is not None and one.high is not None:
            axes.plot([at, at], [one.low, one.high], color=color, linewidth=1, alpha=0.6)
