"""Curves by epoch of every variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.history_file import History
from dejavu_lightning.report import style
from dejavu_lightning.report.collection import Collection, estimate_of
from dejavu_lightning.report.estimates import Estimate, over_runs
from dejavu_lightning.report.panel import Panel, Picture, data_uri
from dejavu_lightning.report.runs import Run
from dejavu_lightning.report.words import called, columns, label

Curve = list[tuple[float, Estimate]]


def memorization_curves(collection: Collection) -> Panel | None:
    """The memorization metric by epoch, where runs have measured more than once."""
    return _curves(collection, "memorization", collection.metric, lambda run: run.history)


def utility_curves(collection: Collection) -> Panel | None:
    """The utility metric by epoch, likewise."""
    if collection.utility is None:
        return None
    return _curves(collection, "utility", collection.utility, lambda run: run.utility)


def curve(histories: Sequence[History], name: str) -> Curve:
    """A metric by epoch, over the epochs that each of the runs has measured."""
    by_epoch = [{row["epoch"]: estimate_of(row, name) for row in history if name in row} for history in histories]
    common = sorted(set.intersection(*(set(found) for found in by_epoch))) if by_epoch else []
    return [(epoch, over_runs([found[epoch] for found in by_epoch])) for epoch in common]


def _curves(collection: Collection, kind: str, name: str, history: Callable[[Run], History]) -> Panel | None:
    found = {}
    for variant, runs in collection.shown():
        kept = [history(run) for run in runs if history(run)]
        found[variant] = curve(kept, name) if kept else []
    if all(len(points) < 2 for points in found.values()):
        return None
    shaded = any(estimate.low is not None for points in found.values() for _, estimate in points)
    seeds = any(len(runs) > 1 for _, runs in collection.shown())
    caption = f"Shaded: {collection.intervals()}. " if shaded else "The runs kept no interval of it. "
    if seeds:
        caption += "Lines are means over seeds, at the epochs that every seed of the variant has measured."
    rows = [
        {"variant": variant, "epoch": epoch, "runs": estimate.runs, **columns(name, estimate)}
        for variant, points in found.items()
        for epoch, estimate in points
    ]
    picture = Picture(data_uri("image/svg+xml", _draw(collection, found, name)), f"{label(name)} by epoch")
    return Panel(f"{kind}_by_epoch", f"{kind.capitalize()} by epoch", caption, rows, [picture])


def _draw(collection: Collection, found: dict[str, Curve], name: str) -> bytes:
    drawn = {variant: points for variant, points in found.items() if points}
    figure = Figure(figsize=(5.4, 3.6 + 0.2 * ((len(drawn) + 1) // 2)), layout="constrained")
    axes = figure.subplots()
    for variant, mark in style.marks(collection.variants).items():
        if points := drawn.get(variant):
            shaded_line(axes, points, mark, called(collection, variant))
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_xlabel("epochs completed")
    axes.set_ylabel(label(name))
    style.plain(axes)
    style.legend_below(figure, axes)
    return style.svg(figure)


def shaded_line(axes: Axes, points: Curve, mark: style.Mark, name: str) -> None:
    """A line with its interval shaded, where every point has one."""
    across = [position for position, _ in points]
    axes.plot(
        across,
        [estimate.value for _, estimate in points],
        color=mark.color,
        marker=mark.marker,
        markersize=4,
        linewidth=1.5,
        label=name,
    )
    low = [estimate.low for _, estimate in points if estimate.low is not None]
    high = [estimate.high for _, estimate in points if estimate.high is not None]
    if len(low) == len(high) == len(points):
        axes.fill_between(across, low, high, color=mark.color, alpha=0.14, linewidth=0)
