"""The déjà vu score of the most confident records, by how many of them are counted."""

from __future__ import annotations

from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import Estimate, over_runs
from dejavu_lightning.figures import style
from dejavu_lightning.memorization.label_inference.score_curve import score_curve
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.epochs import Curve, shaded_line
from dejavu_lightning.report.panel import Panel, Picture, data_uri
from dejavu_lightning.report.words import called, columns

FRACTIONS = tuple(round(0.05 * step, 2) for step in range(1, 21))


def fractions(collection: Collection) -> Panel | None:
    """Of label inference, recomputed from the records."""
    found: dict[str, Curve] = {}
    for variant, runs in collection.shown():
        runs = [run for run in runs if "confidence" in run.target.table.column_names]
        if not runs:
            continue
        each = [
            [
                Estimate(*point)
                for point in score_curve(run.target, run.reference, FRACTIONS, run.comparison is not None)
            ]
            for run in runs
        ]
        found[variant] = [(p, over_runs(points)) for p, points in zip(FRACTIONS, zip(*each, strict=True), strict=True)]
    if not found:
        return None
    rows = [
        {"variant": variant, "fraction": fraction, "runs": estimate.runs, **columns("score", estimate)}
        for variant, points in found.items()
        for fraction, estimate in points
    ]
    caption = (
        "Each model's records, the share of them that it is most confident of; at 100% the score itself. "
        f"Shaded: {collection.intervals()}, of each share by itself."
    )
    picture = Picture(data_uri("image/svg+xml", _draw(collection, found)), "Déjà vu score by confidence fraction")
    return Panel("score_by_fraction", "Score against confidence", caption, rows, [picture])


def _draw(collection: Collection, found: dict[str, Curve]) -> bytes:
    figure = Figure(figsize=(5.4, 3.6 + 0.2 * ((len(found) + 1) // 2)), layout="constrained")
    axes = figure.subplots()
    for variant, mark in style.marks(collection.variants).items():
        if points := found.get(variant):
            percent = [(100 * fraction, estimate) for fraction, estimate in points]
            shaded_line(axes, percent, mark, called(collection, variant))
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_xlabel("% most confident records of each model")
    axes.set_ylabel("déjà vu score")
    style.plain(axes)
    style.legend_below(figure, axes)
    return style.svg(figure)
