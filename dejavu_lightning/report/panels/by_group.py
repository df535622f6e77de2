"""The memorization metric by groups of records, with intervals that hold together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dejavu_lightning.core.estimate import Estimate, format_p, net_parts
from dejavu_lightning.figures.group_intervals import SHOWN, plot_groups, shown
from dejavu_lightning.report.collection import Collection, Entry
from dejavu_lightning.report.formatting import metric_label, variant_name
from dejavu_lightning.report.panels.panel import Panel, svg_picture
from dejavu_lightning.runs.measurement_folder import read_groups

NAMED = 5  # groups without estimates that are named

Line = tuple[str, int, Estimate]  # a group's name, its records and its estimate


def by_group(collection: Collection) -> Panel | None:
    """Draw it of each variant's first run that was broken down; the CSV has every run and every group."""
    pictures, rows, told = [], [], []
    drawn: set[str] = set()
    column = ""
    for entry, run in collection.measured():
        groups, differences = read_groups(run.tables)
        if not groups:
            continue
        column = groups[0]["column"]
        # Of a net value the gap, where no group has enough held-out records.
        known = any(line.get(collection.metric) for line in groups)
        metric = collection.metric if known else net_parts(collection.metric)[1]
        rows += [_row(entry, line, metric) for line in groups]
        lines = [found for line in groups if (found := _line(line, metric))]
        if entry.variant in drawn or not lines:
            continue
        drawn.add(entry.variant)
        name = variant_name(collection, entry.variant)
        lines.sort(key=lambda line: -line[2].value)
        figure = plot_groups(shown(lines), metric_label(collection, metric), column)
        pictures.append(svg_picture(figure, f"{metric} by {column}: {name}", name))
        told += [f"{entry.name}: {_told(one)}" for one in differences if one["metric"] == metric]
        told += _left_out(entry, groups, metric)
    if not pictures:
        return None
    caption = (
        "Lines: 95% intervals that hold for all groups of a run at once (Bonferroni). Runs of several seeds are not "
        f"averaged: of each variant the first is drawn. Of more than {SHOWN} groups the highest and the lowest are "
        "drawn. Difference: of all pairs the largest in standard errors; its p-value is that of the largest, by "
        f"permuting the groups' labels. {' '.join(told)}"
    )
    return Panel("by_group", f"Memorization by {column}", caption, rows, pictures)


def _told(one: Mapping[str, str]) -> str:
    p_value = format_p(float(one["p_value"]))
    return f"{one['higher']} above {one['lower']} by {float(one['difference']):.3f}, p {p_value}."


def _left_out(entry: Entry, groups: list[dict[str, str]], metric: str) -> list[str]:
    """Which groups are too small, and how many records have none."""
    small = [line for line in groups if line["group"] and not line.get(metric)]
    alone = sum(int(line["records"]) for line in groups if not line["group"])
    told = []
    if small:
        named = ", ".join(f"{line['group']} ({line['records']})" for line in small[:NAMED])
        more = f" and {len(small) - NAMED} more" if len(small) > NAMED else ""
        told.append(f"{entry.name}: too few records for {metric} in {named}{more}.")
    return [*told, f"{entry.name}: {alone} records without a group."] if alone else told


def _line(line: Mapping[str, str], metric: str) -> Line | None:
    if not line.get(metric):
        return None
    low, high = (float(line[end]) if line.get(end) else None for end in (f"{metric}_low", f"{metric}_high"))
    return line["group"], int(line["records"]), Estimate(float(line[metric]), low, high)


def _row(entry: Entry, line: Mapping[str, str], metric: str) -> dict[str, Any]:
    held_out = line.get("held_out", "")
    numbers = {"metric": metric, "value": line.get(metric, "")}
    numbers |= {end: line.get(f"{metric}_{end}", "") for end in ("low", "high")}
    seed = "" if entry.seed is None else entry.seed
    counts = {"group": line["group"], "records": line["records"], "held_out": held_out}
    return {"variant": entry.variant, "seed": seed, **counts, **numbers}
