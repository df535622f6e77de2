"""Gaps of the records that memorize most by their number, beside what their selection alone gives."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.figures import style
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.panels.panel import Panel, svg_picture

COLUMNS = 4
CLEAR = 0.05
SHORT = {"f_score": "F"}


def top_gaps(collection: Collection) -> Panel | None:
    """Draw a picture for each order of the records: axes for each variant, a line for each k."""
    rows = [
        {"variant": entry.variant, "seed": "" if entry.seed is None else entry.seed, "run": entry.name, **row}
        for entry, run in collection.measured()
        if run.sample_gaps is not None
        for row in run.sample_gaps.to_pylist()
    ]
    if not rows or collection.display is None:
        return None
    main = collection.display.gap_measure(collection.metric)
    measures = sorted({row["measure"] for row in rows}, key=lambda name: (name != main, name))
    seeds: dict[str, Any] = {}
    first = [row for row in rows if row["seed"] == seeds.setdefault(row["variant"], row["seed"])]
    variants = [name for name in collection.variants if name in seeds]
    if len(variants) > COLUMNS:  # axes for each measure would be too many
        measures = measures[:1]
    plain = next(run.target.settings.get("k") for _, run in collection.measured())  # of the plain names, alike in all
    pictures = [
        svg_picture(
            _draw(variants, chosen, measures, plain), f"Top records by {order}", f"Sorted by {order}: {meaning}"
        )
        for order, meaning in collection.display.orders.items()
        if (chosen := [row for row in first if row["order"] == order])
    ]
    measured = [SHORT.get(name, name) for name in measures]
    listed = " and ".join(filter(None, (", ".join(measured[:-1]), measured[-1])))
    caption = (
        f"Mean {listed} of the target minus that of the reference over the first L records, a line for each number of "
        "neighbours k. Gray: 95% range of the null of the thick line, the two models exchanged at random record by "
        "record before sorting. Sorting by an outcome selects on noise, so compare with the gray band, not with 0. "
        f"Full dots: p < {CLEAR:.2f}, one-sided, for all orders, k, L and measures of a run together, not for the "
        "number of variants. Of each variant its first seed; the CSV has all seeds and "
        f"nulls{'' if len(measures) > 1 else ', and the other measures'}."
    )
    return Panel("top_records", "Gaps of the top records", caption, rows, pictures)


def _draw(variants: list[str], rows: list[dict[str, Any]], measures: list[str], plain: int | None) -> Figure:
    """Axes for each variant side by side, a line of them for each measure; ``plain`` is the k of the thick line."""
    ks = sorted({row["k"] for row in rows}, key=lambda k: k or 0)
    sizes = sorted({row["records"] for row in rows})
    colors = dict(zip(ks, style.VARIANT_COLORS * len(ks), strict=False))
    cells = [(measure, variant) for measure in measures for variant in variants]
    columns = min(COLUMNS, len(variants))
    lines = math.ceil(len(cells) / columns)
    figure = Figure(figsize=(0.6 + 2.6 * columns, 0.8 + 2.2 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(cells) :]:
        axes.set_visible(False)
    for axes, (measure, variant) in zip(grid.flat, cells, strict=False):
        style.plain(axes)
        if measure == measures[0]:
            axes.set_title(variant, loc="left", fontsize=9, color=style.INK)
        own = [row for row in rows if row["variant"] == variant and row["measure"] == measure]
        for k in ks:
            _line(axes, [row for row in own if row["k"] == k], colors[k], k == plain or len(ks) == 1)
        axes.axhline(0, color=style.INK, linewidth=0.8, zorder=0)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(f"{SHORT.get(measure, measure)} gap", fontsize=9, color=style.INK)
    figure.supxlabel("records L", fontsize=9, color=style.INK)
    style.legend_below(figure, grid.flat[0])
    return figure


def _line(axes: Axes, rows: list[dict[str, Any]], color: str, thick: bool) -> None:
    rows = sorted(rows, key=lambda row: row["records"])
    sizes, gaps = [row["records"] for row in rows], [row["gap"] for row in rows]
    if not rows:
        return
    if thick:
        low, high = ([row[name] for row in rows] for name in ("null_low", "null_high"))
        axes.fill_between(sizes, low, high, color=style.NEUTRAL, linewidth=0)
    name = "" if rows[0]["k"] is None else f"k = {rows[0]['k']}"
    axes.plot(sizes, gaps, color=color, linewidth=2 if thick else 1, label=name)
    clear = [row["p_adjusted"] < CLEAR for row in rows]
    faces = [color if full else "white" for full in clear]
    axes.scatter(sizes, gaps, s=22, c=faces, edgecolors=color, zorder=3)
