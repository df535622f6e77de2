"""The headline of the most confident records, by how many of them are counted."""

from __future__ import annotations

from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import over_runs
from dejavu_lightning.figures import style
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import csv_columns, metric_label, variant_name
from dejavu_lightning.report.panels.epochs import Curve, shaded_line
from dejavu_lightning.report.panels.panel import Panel, Picture, data_uri

FRACTIONS = tuple(round(0.05 * step, 2) for step in range(1, 21))


def fractions(collection: Collection) -> Panel | None:
    """Draw it where the records of the test have a confidence, recomputed from the records."""
    found: dict[str, Curve] = {}
    for variant, runs in collection.shown():
        each = [
            run.display.score_by_share(run.target, run.reference, FRACTIONS, run.comparison is not None) for run in runs
        ]
        if not all(each):
            continue
        found[variant] = [(p, over_runs(points)) for p, points in zip(FRACTIONS, zip(*each, strict=True), strict=True)]
    if not found:
        return None
    headline = next(run.test.headline for _, run in collection.measured())
    words = metric_label(collection, headline)
    rows = [
        {"variant": variant, "fraction": fraction, "runs": estimate.runs, **csv_columns(headline, estimate)}
        for variant, points in found.items()
        for fraction, estimate in points
    ]
    caption = (
        f"Each model's records, the share of them that it is most confident of; at 100% the {words} itself. "
        f"Shaded: {collection.intervals()}, of each share by itself."
    )
    picture = Picture(data_uri("image/svg+xml", _draw(collection, found, words)), f"{words} by confidence fraction")
    return Panel(f"{headline}_by_fraction", f"{headline.capitalize()} against confidence", caption, rows, [picture])


def _draw(collection: Collection, found: dict[str, Curve], words: str) -> bytes:
    figure = Figure(figsize=(5.4, 3.6 + 0.2 * ((len(found) + 1) // 2)), layout="constrained")
    axes = figure.subplots()
    for variant, mark in style.marks(collection.variants).items():
        if points := found.get(variant):
            percent = [(100 * fraction, estimate) for fraction, estimate in points]
            shaded_line(axes, percent, mark, variant_name(collection, variant))
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_xlabel("% most confident records of each model")
    axes.set_ylabel(words)
    style.plain(axes)
    style.legend_below(figure, axes)
    return style.svg(figure)
