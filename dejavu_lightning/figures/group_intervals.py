"""Memorization of groups of records: a table on the terminal, and their simultaneous intervals as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from dejavu_lightning.core.estimate import Estimate, format_p, net_parts
from dejavu_lightning.figures import style
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.groups import Breakdown, GroupDifference, GroupEstimates
from dejavu_lightning.runs.measurement_folder import figure_file

Line = TypeVar("Line")

SHOWN = 20  # groups of a table or a figure, the highest and the lowest of more
NAMED = 5  # groups without estimates that are named


def metric_of_groups(found: Breakdown, metric: str) -> str:
    """The metric, or of a net value the gap where no group has enough held-out records."""
    return metric if by_value(found.groups, metric) else net_parts(metric)[1]


def print_groups(found: Breakdown, metric: str) -> None:
    """Print a metric of the groups, the highest first, who differ most clearly, and which groups are too small."""
    metric = metric_of_groups(found, metric)
    estimated = by_value(found.groups, metric)
    table = Table(title=f"{metric} by {found.column}", title_justify="left", caption_justify="left")
    table.add_column(found.column)
    for heading in ("records", "value", "simultaneous 95% interval"):
        table.add_column(heading, justify="right")
    for group in shown(estimated):
        value, low, high, *_ = group.estimates[metric]
        ends = "" if low is None or high is None else f"\\[{low:+.3f}, {high:+.3f}]"
        table.add_row(group.group.replace("[", "\\["), str(group.records), f"{value:+.3f}", ends)
    lines = [told_difference(one) for one in found.differences if one.metric == metric] + told_left_out(found, metric)
    table.caption = "\n".join(lines).replace("[", "\\[")
    Console().print(table)


def by_value(groups: Sequence[GroupEstimates], metric: str) -> list[GroupEstimates]:
    """The groups that have the metric, the highest first."""
    known = [group for group in groups if metric in group.estimates]
    return sorted(known, key=lambda group: -group.estimates[metric].value)


def shown(groups: Sequence[Line]) -> list[Line]:
    """All groups, or the first and the last of many."""
    return list(groups) if len(groups) <= SHOWN else [*groups[: SHOWN // 2], *groups[-SHOWN // 2 :]]


def told_difference(one: GroupDifference) -> str:
    """The two groups that differ most clearly, and the p-value, in words."""
    pairs = one.groups * (one.groups - 1) // 2
    return (
        f"largest difference, in standard errors: {one.higher} above {one.lower} by {one.difference:.3f}, "
        f"p {format_p(one.p_value)} for the largest of {pairs} pairs"
    )


def told_left_out(found: Breakdown, metric: str) -> list[str]:
    """Which groups have too few records for a metric, how many records have no group, and which are not shown."""
    small = [group for group in found.groups if group.group and metric not in group.estimates]
    alone = sum(group.records for group in found.groups if not group.group)
    hidden = len(by_value(found.groups, metric)) - SHOWN
    lines = (
        [f"the {SHOWN // 2} highest and the {SHOWN // 2} lowest; {hidden} more are in groups.csv"] if hidden > 0 else []
    )
    if small:
        named = ", ".join(f"{group.group} ({group.records})" for group in small[:NAMED])
        more = f" and {len(small) - NAMED} more" if len(small) > NAMED else ""
        lines.append(f"too few records for {metric}: {named}{more}; {sum(group.records for group in small)} records")
    return [*lines, f"records without a group: {alone}"] if alone else lines


def draw_groups(found: Breakdown, folder: Path, metric: str, display: Display) -> dict[str, Path]:
    """Draw ``groups.png``: a metric of each group with simultaneous intervals; by name, empty where none has it."""
    metric = metric_of_groups(found, metric)
    groups = shown(by_value(found.groups, metric))
    if not groups:
        return {}
    lines = [(group.group, group.records, group.estimates[metric]) for group in groups]
    figure = plot_groups(lines, display.label(metric), found.column)
    return {"groups": style.save(figure, figure_file(folder, "groups"))}


def plot_groups(lines: Sequence[tuple[str, int, Estimate]], label: str, column: str) -> Figure:
    """Plot values with their intervals below each other; a line is a group's name, its records and its estimate."""
    figure, axes = style.canvas(5.4, 0.9 + 0.24 * len(lines), grid=False)
    for height, (_, records, estimate) in enumerate(lines):
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [height] * 2, color=style.INK, linewidth=1)
        axes.plot(estimate.value, height, "o", color=style.ABOVE, markersize=5)
        style.beside(axes, height, str(records))
    axes.axvline(0, color=style.NEUTRAL, linewidth=0.8)
    axes.set_yticks(range(len(lines)), [name if len(name) < 24 else f"{name[:22]}…" for name, *_ in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel(f"{label}, simultaneous 95% intervals; right: records")
    axes.set_ylabel(column)
    return figure
