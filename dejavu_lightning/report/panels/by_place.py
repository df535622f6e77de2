"""The memorization metric along an axis of one measurement: the layers of a model, or numbers of neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import Estimate, net_parts, over_runs
from dejavu_lightning.memorization.display import Series
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import csv_columns, metric_label
from dejavu_lightning.report.panels.epochs import Curve, draw_curves
from dejavu_lightning.report.panels.panel import Panel, svg_picture

Found = Mapping[str, Sequence[Mapping[str, Estimate]]]  # of each variant the estimates of its runs


def by_layer(collection: Collection) -> Panel | None:
    """Draw it where every layer was attacked, as by ``--encode encode_layers``."""
    return _by_place(collection, "by_layer", "layer")


def by_neighbors(collection: Collection) -> Panel | None:
    """Draw it where several numbers of neighbours voted, as by ``--test.ks``."""
    return _by_place(collection, "by_neighbors", "number of neighbours")


def _by_place(collection: Collection, key: str, word: str) -> Panel | None:
    """A line for each variant, and utility by layer where the monitor probed each, which the final models have."""
    known = [(run, one) for _, run in collection.measured() for one in run.display.series(run.estimates)]
    series = next((one for _, one in known if one.key == key), None)
    if series is None:
        return None
    alike = {id(run) for run, one in known if one.key == key and list(one.places) == list(series.places)}
    shown = {variant: runs for variant, runs in collection.shown() if all(id(run) in alike for run in runs)}
    if not shown:
        return None
    found = {variant: [run.estimates for run in runs] for variant, runs in shown.items()}
    parts = [part for part in (collection.metric, *net_parts(collection.metric)) if _has(part, series, found)]
    if not parts:
        return None
    curves = {part: _curves(found, part, series) for part in dict.fromkeys(parts)}
    drawn = [parts[0]]
    useful = (collection.utility or "").partition("/")[0]  # "linear_top1/backbone" where each layer was probed
    probed = {variant: [run.final_utility for run in runs] for variant, runs in shown.items()}
    if useful and _has(useful, series, probed):
        curves[useful] = _curves(probed, useful, series)
        drawn.append(useful)
    rows = [
        _row(variant, place, len(found[variant]), {part: points[variant][at][1] for part, points in curves.items()})
        for variant in found
        for at, place in enumerate(series.places)
    ]
    caption = (
        f"Of the final models, each {word} measured in the same pass. Shaded: {collection.intervals()}, of each by "
        "itself: the highest point is high by chance too."
    )
    lacking = [variant for variant, _ in collection.shown() if variant not in found]
    if lacking:
        caption += f" Not measured, or at others: {', '.join(lacking)}."
    labels = {part: metric_label(collection, part) for part in drawn}
    pictures = [
        svg_picture(_drawn(collection, curves[part], series, label), f"{label} by {word}")
        for part, label in labels.items()
    ]
    return Panel(key, f"Memorization by {word}", caption, rows, pictures)


def _has(part: str, series: Series, found: Found) -> bool:
    return all(f"{part}/{place}" in run for runs in found.values() for run in runs for place in series.places)


def _curves(found: Found, part: str, series: Series) -> dict[str, Curve]:
    """Of each variant the mean of its runs at each place; places without a number lie side by side."""
    across = [float(at) if number is None else number for at, number in enumerate(series.places.values())]
    return {
        variant: [
            (at, over_runs([run[f"{part}/{place}"] for run in runs]))
            for at, place in zip(across, series.places, strict=True)
        ]
        for variant, runs in found.items()
    }


def _row(variant: str, place: str, runs: int, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    numbers: dict[str, Any] = {"variant": variant, "place": place, "runs": runs}
    for name, estimate in estimates.items():
        numbers |= csv_columns(name, estimate)
    return numbers


def _drawn(collection: Collection, curves: Mapping[str, Curve], series: Series, label: str) -> Figure:
    figure = draw_curves(collection, {variant: [points] for variant, points in curves.items()}, series.axis, label)
    axes = figure.axes[0]
    numbers = [number for number in series.places.values() if number is not None]
    if numbers:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(numbers or range(len(series.places)), [f"{at:g}" for at in numbers] or list(series.places))
    return figure
