"""Memorization against utility, and the variants that no other one beats in both."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import SEEDS_FOR_SPREAD, Estimate
from dejavu_lightning.figures import style
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import beside_columns, csv_columns, metric_label, part_label, variant_name
from dejavu_lightning.report.panels.panel import Panel, svg_picture


def pareto_frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points that no other one beats, by ascending memorization.

    A point (memorization, utility) is beaten by one that memorizes no more and is no less useful, and is better
    in one of them. Equal points are on the frontier together.
    """
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1]))
    frontier: list[int] = []
    for at in order:
        if not frontier or points[at][1] > points[frontier[-1]][1] or points[at] == points[frontier[-1]]:
            frontier.append(at)
    return frontier


def tradeoff(collection: Collection) -> Panel | None:
    """The scatter of all variants of which both numbers are known."""
    if collection.utility is None:
        return None
    found: dict[str, tuple[Estimate, Estimate]] = {}
    for variant, _ in collection.shown():
        memorization = collection.final(variant, collection.metric)
        utility = collection.useful(variant, collection.utility)
        if memorization is not None and utility is not None:
            found[variant] = memorization, utility
    if not found:
        return None
    names = list(found)
    points = [(memorization.value, utility.value) for memorization, utility in found.values()]
    best = [names[at] for at in pareto_frontier(points)]
    rows = [
        {
            "variant": variant,
            "runs": memorization.runs,
            **csv_columns(collection.metric, memorization),
            **beside_columns(collection, variant),
            **csv_columns(collection.utility, utility),
            "on_frontier": variant in best,
        }
        for variant, (memorization, utility) in found.items()
    ]
    ringed = "; the default is ringed" if collection.marked else ""
    across = any(utility.low is not None for _, utility in found.values())
    caption = (
        f"Up and to the left is better{ringed}. Bars across: {collection.intervals()}. "
        + (f"Bars upwards: {_upward(found)}. " if across else "The runs kept no interval of utility. ")
        + _frontier(best, len(found))
    )
    if collection.beside:
        caption += f" The CSV also has: {', '.join(map(part_label, collection.beside))}."
    lacking = [variant for variant, _ in collection.shown() if variant not in found]
    if lacking:
        caption += f" Without {metric_label(collection, collection.utility)}, and so not shown: {', '.join(lacking)}."
    picture = svg_picture(_draw(collection, found, best), "Memorization against utility")
    return Panel("tradeoff", "Memorization against utility", caption, rows, [picture])


def _frontier(best: Sequence[str], variants: int) -> str:
    if variants == 1:
        return "There is nothing to compare it with."
    if len(best) == 1:
        told = f"The Pareto frontier is {best[0]} alone: no other variant memorizes less or is more useful."
    else:
        told = "The line is the Pareto frontier of the values: variants that no other one beats in both."
    return f"{told} Variants whose bars overlap may change places."


def _upward(found: dict[str, tuple[Estimate, Estimate]]) -> str:
    over = [utility.runs >= SEEDS_FOR_SPREAD for _, utility in found.values() if utility.low is not None]
    kinds = (["95% Student t over seeds"] if any(over) else []) + (["95%, as the run kept it"] if not all(over) else [])
    return f"; of variants with fewer than {SEEDS_FOR_SPREAD} runs ".join(kinds)


def _draw(collection: Collection, found: dict[str, tuple[Estimate, Estimate]], best: Sequence[str]) -> Figure:
    figure, axes = style.canvas(5.4, 4.2 + 0.2 * ((len(found) + 1) // 2))
    marks = style.marks(collection.variants)
    for variant, (memorization, utility) in found.items():
        _point(axes, memorization, utility, marks[variant], variant_name(collection, variant))
        if collection.marked and variant == collection.default:
            axes.plot(
                memorization.value, utility.value, "o", markersize=15, fillstyle="none", color=style.INK, zorder=2
            )
    _draw_frontier(axes, [(found[name][0].value, found[name][1].value) for name in best])
    assert collection.utility is not None
    axes.set_xlabel(f"memorization: {metric_label(collection, collection.metric)}")
    axes.set_ylabel(f"utility: {metric_label(collection, collection.utility)}")
    style.legend_below(figure, axes)
    return figure


def _draw_frontier(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """A staircase from the bottom to the right edge: everything on its right and below is beaten by a point on it."""
    right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
    across = [points[0][0], *(x for x, _ in points), right]
    up = [bottom, *(y for _, y in points), points[-1][1]]
    axes.plot(across, up, color="#bbbbbb", linewidth=2.5, drawstyle="steps-post", zorder=1, scalex=False, scaley=False)


def _point(axes: Axes, across: Estimate, up: Estimate, mark: style.Mark, name: str) -> None:
    axes.errorbar(
        across.value,
        up.value,
        xerr=_arms(across),
        yerr=_arms(up),
        color=mark.color,
        marker=mark.marker,
        markersize=7,
        linestyle="none",
        elinewidth=1.2,
        label=name,
        zorder=3,
    )


def _arms(estimate: Estimate) -> list[list[float]] | None:
    if estimate.low is None or estimate.high is None:
        return None
    # A value may lie outside its interval, as that of a curved statistic does now and then.
    return [[max(0.0, estimate.value - estimate.low)], [max(0.0, estimate.high - estimate.value)]]
