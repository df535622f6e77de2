"""Curves by epoch of every variant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import Estimate, estimates_in, net_parts, over_runs
from dejavu_lightning.figures import style
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import csv_columns, metric_label, part_label, variant_name
from dejavu_lightning.report.panels.panel import Panel, svg_picture
from dejavu_lightning.report.runs import Run
from dejavu_lightning.runs.history import History

Curve = list[tuple[float, Estimate]]

SHADED = 4  # variants whose bands can be told apart


def memorization_curves(collection: Collection) -> Panel | None:
    """The memorization metric by epoch, where runs have measured more than once."""
    return _curves(collection, "memorization", collection.metric, lambda run: run.history, collection.beside)


def utility_curves(collection: Collection) -> Panel | None:
    """The utility metric by epoch, likewise."""
    if collection.utility is None:
        return None
    return _curves(collection, "utility", collection.utility, lambda run: run.utility)


def curve(histories: Sequence[History], name: str) -> Curve:
    """A metric by epoch, over the epochs that each of the runs has measured."""
    by_epoch = [{row["epoch"]: estimates_in(row)[name] for row in history if name in row} for history in histories]
    common = sorted(set.intersection(*(set(found) for found in by_epoch))) if by_epoch else []
    return [(epoch, over_runs([found[epoch] for found in by_epoch])) for epoch in common]


def _curves(
    collection: Collection, kind: str, name: str, history: Callable[[Run], History], beside: Sequence[str] = ()
) -> Panel | None:
    """Draw ``name``; of ``beside``, which the CSV has too, the gap of the attacked records is dotted."""
    grouped: dict[str, list[list[History]]] = {}
    for variant, runs in collection.shown():
        kept = [history(run) for run in runs if history(run)]
        # Of seeds that were stopped apart, a mean would end where the first was.
        stopped = len({each[-1]["epoch"] for each in kept}) > 1
        grouped[variant] = [[each] for each in kept] if stopped else [kept] if kept else []
    found = {variant: [curve(group, name) for group in groups] for variant, groups in grouped.items()}
    if all(len(points) < 2 for curves in found.values() for points in curves):
        return None
    shaded = any(estimate.low is not None for curves in found.values() for points in curves for _, estimate in points)
    crowded = len(found) > SHADED
    which = f" of {collection.default} alone, the others' are in the CSV" if crowded else ""
    caption = f"Shaded: {collection.intervals()}{which}. " if shaded else "The runs kept no interval of it. "
    if any(len(runs) > 1 for _, runs in collection.shown()):
        caption += "Lines are means over seeds, at the epochs that every seed of the variant has measured. "
    apart = [variant for variant, curves in found.items() if len(curves) > 1]
    if apart:
        caption += f"Seeds of {', '.join(apart)} ended at different epochs and have a line each. "
    lacking = [variant for variant, curves in found.items() if not any(curves)]
    if lacking:
        caption += f"Not measured: {', '.join(lacking)}."
    rows = [
        row for variant, groups in grouped.items() for group in groups for row in _rows(variant, group, name, beside)
    ]
    dotted: dict[str, list[Curve]] = {}
    gap = net_parts(name)[1]
    if gap in beside and not crowded:
        dotted = {variant: [curve(group, gap) for group in groups] for variant, groups in grouped.items()}
        caption += f" Dotted: the {part_label(gap)}, without interval."
    if beside:
        caption += f" The CSV also has: {', '.join(map(part_label, beside))}."
    if crowded:
        others = [variant for variant in found if variant != collection.default]
        found |= {variant: [_bare(points) for points in found[variant]] for variant in others}
    label = metric_label(collection, name)
    picture = svg_picture(draw_curves(collection, found, "epochs completed", label, dotted), f"{label} by epoch")
    return Panel(f"{kind}_by_epoch", f"{kind.capitalize()} by epoch", caption, rows, [picture])


def _rows(variant: str, group: Sequence[History], name: str, beside: Sequence[str]) -> list[dict[str, Any]]:
    """A row an epoch, with what stands beside where it was measured."""
    others = {part: dict(curve(group, part)) for part in beside}
    return [
        {"variant": variant, "epoch": epoch, "runs": estimate.runs, **csv_columns(name, estimate)}
        | {key: value for part, points in others.items() for key, value in csv_columns(part, points.get(epoch)).items()}
        for epoch, estimate in curve(group, name)
    ]


def _bare(points: Curve) -> Curve:
    """Without intervals."""
    return [(epoch, Estimate(estimate.value, runs=estimate.runs)) for epoch, estimate in points]


def draw_curves(
    collection: Collection,
    found: Mapping[str, Sequence[Curve]],
    across: str,
    up: str,
    dotted: Mapping[str, Sequence[Curve]] | None = None,
) -> Figure:
    """Draw the curves of each variant in its colour, those of ``dotted`` thin; ``across`` and ``up`` label the axes."""
    drawn = {variant: curves for variant, curves in found.items() if any(curves)}
    figure, axes = style.canvas(5.4, 3.6 + 0.2 * ((len(drawn) + 1) // 2))
    for variant, mark in style.marks(collection.variants).items():
        for number, points in enumerate(drawn.get(variant, [])):
            _shaded_line(axes, points, mark, "" if number else variant_name(collection, variant))
        for points in (dotted or {}).get(variant, []):
            values = [estimate.value for _, estimate in points]
            axes.plot([at for at, _ in points], values, color=mark.color, linestyle=":", linewidth=1.2)
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    style.legend_below(figure, axes)
    return figure


def _shaded_line(axes: Axes, points: Curve, mark: style.Mark, name: str) -> None:
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
