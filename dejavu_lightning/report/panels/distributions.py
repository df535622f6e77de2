"""Distribution over records of what a test shows of each: memorization confidence, objects found, recall."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dejavu_lightning.figures import style
from dejavu_lightning.figures.spread import (
    Value,
    bin_edges,
    colors_of,
    is_counted,
    plot_bars,
    plot_histogram,
    values_of,
)
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import variant_name
from dejavu_lightning.report.panels.panel import Panel, svg_picture

ROLES = ("target", "reference")


def spreads(collection: Collection) -> Panel | None:
    """Draw it, a picture a variant, all on the same axis."""
    display = collection.display
    if display is None or display.spread is None:
        return None
    found: dict[str, list[Value]] = {}
    records: list[dict[str, Any]] = []
    for entry, run in collection.measured():
        values = values_of(run.comparison, display) if run.comparison is not None else []
        if run.comparison is None or not values:
            continue
        found.setdefault(entry.variant, []).extend(values)
        known = ["id", display.spread.column, *([display.spread.by] if display.spread.by else [])]
        seed = "" if entry.seed is None else entry.seed
        records += [{"variant": entry.variant, "seed": seed, **row} for row in run.comparison.select(known).to_pylist()]
    if not found:
        return None
    if is_counted(value for values in found.values() for value in values):
        rows, drawn = _counted(found, display)
    else:
        rows, drawn = records, _binned(found, display)
    pictures = []
    for variant, figure in drawn.items():
        name = variant_name(collection, variant)
        pictures.append(svg_picture(figure, f"{display.spread.title}: {name}", name))
    return Panel(display.spread.key, display.spread.title, display.spread.caption, rows, pictures)


def _binned(found: dict[str, list[Value]], display: Display) -> dict[str, Figure]:
    assert display.spread is not None
    edges = bin_edges([value for values in found.values() for value, _ in values])
    figures = {}
    for variant, values in found.items():
        figures[variant], axes = style.canvas(3.6, 3.1)
        plot_histogram(axes, values, edges, colors_of(display))
        axes.set_xlabel(display.spread.axis)
        style.legend_below(figures[variant], axes)
    return figures


def _counted(found: dict[str, list[Value]], display: Display) -> tuple[list[dict[str, Any]], dict[str, Figure]]:
    assert display.spread is not None
    counts = {variant: Counter(int(value) for value, _ in values) for variant, values in found.items()}
    met = [value for counted in counts.values() for value in counted]
    values = range(min(met), max(met) + 1)
    rows: list[dict[str, Any]] = [
        {
            "variant": variant,
            display.spread.column: value,
            "records": counted[value],
            "share": counted[value] / counted.total(),
        }
        for variant, counted in counts.items()
        for value in values
    ]
    top = max(row["share"] for row in rows)
    figures = {}
    for variant, counted in counts.items():
        figures[variant], axes = style.canvas(3.6, 2.5)
        plot_bars(axes, counted, values, top)
        axes.set_xlabel(display.spread.axis)
    return rows, figures


def reached_levels(collection: Collection) -> Panel | None:
    """Draw the share of records of which each model reaches at least each level, where a test has levels."""
    shown = collection.display.levels if collection.display else None
    if shown is None:
        return None
    found: dict[str, list[NDArray[np.float64]]] = {}
    for variant, runs in collection.shown():
        tables = [run.comparison for run in runs if run.comparison is not None]
        if tables:
            columns = [f"{role}_{shown.column}" for role in ROLES]
            found[variant] = [np.concatenate([table[column].to_numpy() for table in tables]) for column in columns]
    if not found:
        return None
    levels = np.unique(np.concatenate([np.array([0.0, 1.0]), *(values for both in found.values() for values in both)]))
    shares = {variant: [(values[:, None] >= levels).mean(axis=0) for values in both] for variant, both in found.items()}
    rows = [
        {"variant": variant, "level": level, "records": len(found[variant][0])}
        | {role: share[at] for role, share in zip(ROLES, both, strict=True)}
        for variant, both in shares.items()
        for at, level in enumerate(levels)
    ]
    figure, axes = style.canvas(5.4, 3.6 + 0.2 * ((len(found) + 1) // 2))
    for variant, mark in style.marks(collection.variants).items():
        for share, shape in zip(shares.get(variant, ()), ("-", ":"), strict=False):
            name = variant_name(collection, variant) if shape == "-" else ""
            # As many reach a level as reach more than the one before it.
            axes.step(levels, share, shape, where="pre", color=mark.color, linewidth=1.5, label=name)
    axes.set_xlabel(shown.axis)
    axes.set_ylabel("share of records")
    axes.set_ylim(0, 1.02)
    style.legend_below(figure, axes)
    caption = (
        f"Lines: the target; dotted: the reference. {shown.caption} All attacked records, over all seeds; no intervals."
    )
    return Panel(shown.key, shown.title, caption, rows, [svg_picture(figure, f"share of records by {shown.axis}")])
