"""Gaps of the records that memorize most, beside what their selection alone gives."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import format_p
from dejavu_lightning.figures import style
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.panels.panel import Panel, svg_picture


def top_gaps(collection: Collection) -> Panel | None:
    """Draw a picture for each order of the records, a line for each variant and number of records."""
    rows = [
        {"variant": entry.variant, "seed": "" if entry.seed is None else entry.seed, "run": entry.name, **row}
        for entry, run in collection.measured()
        if run.sample_gaps is not None
        for row in run.sample_gaps.to_pylist()
    ]
    if not rows or collection.display is None:
        return None
    measure = collection.display.gap_measure(collection.metric)
    seeds: dict[str, Any] = {}
    first = [row for row in rows if row["seed"] == seeds.setdefault(row["variant"], row["seed"])]
    pictures = [
        svg_picture(_draw(collection, chosen, measure), f"Top records by {order}", f"Sorted by {order}: {meaning}")
        for order, meaning in collection.display.orders.items()
        if (chosen := [row for row in first if row["order"] == order and row["measure"] == measure])
    ]
    caption = (
        f"Dots: mean {measure} of the target minus that of the reference over the first L records. Gray: mean and 95% "
        "range of the null, the two models exchanged at random record by record before sorting. Sorting by an outcome "
        "selects on noise, so compare with the gray bar, not with 0. p: one-sided, Holm's for all orders, L and "
        "measures of a run, not for the number of variants. Of each variant its first seed; all seeds, and precision, "
        "recall and F, are in the CSV."
    )
    return Panel("top_records", "Gaps of the top records", caption, rows, pictures)


def _draw(collection: Collection, rows: list[dict[str, Any]], measure: str) -> Figure:
    marks = style.marks(collection.variants)
    rows = sorted(rows, key=lambda row: list(marks).index(row["variant"]))
    figure, axes = style.canvas(5.4, 0.9 + 0.27 * len(rows), grid=False)
    for line, row in enumerate(rows):
        mark = marks[row["variant"]]
        axes.barh(line, row["null_high"] - row["null_low"], left=row["null_low"], height=0.5, color="#D9D9D9")
        axes.plot([row["null_mean"]] * 2, [line - 0.25, line + 0.25], color="#888888", linewidth=1.2)
        axes.plot(row["gap"], line, marker=mark.marker, color=mark.color, markersize=6)
        style.beside(axes, line, f"p {'' if row['p_adjusted'] < 0.001 else '= '}{format_p(row['p_adjusted'])}")
    axes.axvline(0, color=style.INK, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(rows)), [f"{row['variant']}, L = {row['records']}" for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"{measure} gap")
    return figure
