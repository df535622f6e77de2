"""What becomes of the records of every variant: final shares beside each other, and by epoch."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.figures import style
from dejavu_lightning.figures.outcomes import plot_stack
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import csv_columns, variant_name
from dejavu_lightning.report.panels.epochs import curve
from dejavu_lightning.report.panels.panel import Panel, svg_picture


def partitions(collection: Collection) -> Panel | None:
    """Draw the final shares, where the test has outcomes and the reference answers per record."""
    outcomes = collection.display.outcomes if collection.display else {}
    found: dict[str, list[Estimate]] = {}
    for variant, _ in collection.shown():
        shares = [collection.final(variant, name) for name in outcomes]
        if known := [share for share in shares if share is not None]:
            found[variant] = known
    if not found:
        return None
    rows = [
        {
            "variant": variant,
            **{
                key: value
                for name, share in zip(outcomes, shares, strict=True)
                for key, value in csv_columns(name, share).items()
            },
        }
        for variant, shares in found.items()
    ]
    explained = ", ".join(f"{name}: {meaning}" for name, meaning in outcomes.items())
    caption = f"{explained[0].upper()}{explained[1:]}. Means over seeds where there are several. Intervals, "
    caption += f"{collection.intervals()}, are in the CSV. Of two models each knows some records alone without any "
    caption += "memory: how much is memorized is what the net value tells."
    picture = svg_picture(_bars(collection, found, outcomes), "Outcomes of the records by variant")
    return Panel("partition", "What becomes of the records", caption, rows, [picture])


def partitions_by_epoch(collection: Collection) -> Panel | None:
    """Draw the same shares by epoch, a picture a variant."""
    outcomes = collection.display.outcomes if collection.display else {}
    if not outcomes:
        return None
    rows, pictures = [], []
    for variant, runs in collection.shown():
        histories = [run.history for run in runs if run.history]
        curves = [curve(histories, name) for name in outcomes]
        if len(curves[0]) < 2:
            continue
        epochs = [epoch for epoch, _ in curves[0]]
        shares = {name: [share.value for _, share in points] for name, points in zip(outcomes, curves, strict=True)}
        rows += [
            {"variant": variant, "epoch": epoch, **{name: values[at] for name, values in shares.items()}}
            for at, epoch in enumerate(epochs)
        ]
        name = variant_name(collection, variant)
        figure, axes = style.canvas(3.4, 2.4, grid=False)
        plot_stack(axes, epochs, list(shares.values()), list(style.outcome_colors(shares).values()))
        pictures.append(svg_picture(figure, f"Outcomes by epoch: {name}", name))
    if not rows:
        return None
    caption = "Shares of the records by epochs completed, colours as above; means over seeds, no intervals."
    return Panel("partition_by_epoch", "What becomes of the records, by epoch", caption, rows, pictures)


def _bars(collection: Collection, found: dict[str, list[Estimate]], outcomes: Iterable[str]) -> Figure:
    figure, axes = style.canvas(5.4, 1.3 + 0.42 * len(found), grid=False)
    names = [variant_name(collection, variant) for variant in found]
    left = [0.0] * len(found)
    for at, (outcome, color) in enumerate(style.outcome_colors(outcomes).items()):
        widths = [shares[at].value for shares in found.values()]
        axes.barh(names, widths, left=left, color=color, edgecolor="white", linewidth=0.8, label=outcome, height=0.7)
        for line, (start, width) in enumerate(zip(left, widths, strict=True)):
            if width >= 0.055:
                ink = "white" if color == style.ABOVE else style.INK
                axes.text(start + width / 2, line, f"{width:.0%}", ha="center", va="center", fontsize=8, color=ink)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of records")
    style.legend_below(figure, axes)
    return figure
