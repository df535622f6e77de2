"""The headline of the most confident records, by how many of them are counted."""

from __future__ import annotations

from dejavu_lightning.core.estimate import over_runs
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import csv_columns, metric_label
from dejavu_lightning.report.panels.epochs import Curve, draw_curves
from dejavu_lightning.report.panels.panel import Panel, svg_picture

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
        f"Shaded: {collection.intervals()}, of each share by itself. Of the attacked records alone, not net of the "
        "held-out ones: the highest point of a curve is high by chance too."
    )
    percent = {variant: [[(100 * share, estimate) for share, estimate in points]] for variant, points in found.items()}
    figure = draw_curves(collection, percent, "% most confident records of each model", words)
    picture = svg_picture(figure, f"{words} by confidence fraction")
    return Panel(f"{headline}_by_fraction", f"{headline.capitalize()} against confidence", caption, rows, [picture])
