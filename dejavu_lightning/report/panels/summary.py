"""The numbers of every variant in one table, failed runs with their error."""

from __future__ import annotations

from typing import Any

from dejavu_lightning.core.estimate import Estimate, format_p, net_parts
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import (
    csv_columns,
    format_estimate,
    format_gap,
    metric_label,
    part_label,
    variant_name,
)
from dejavu_lightning.report.panels.panel import Cell, Panel
from dejavu_lightning.report.runs import Run


def summary(collection: Collection) -> Panel:
    """A line a variant, and one for each run that failed."""
    beside = _beside(collection)
    tested = any(_p_value(collection.final(variant, collection.metric)) for variant, _ in collection.shown())
    headings = ["variant", metric_label(collection, collection.metric)]
    headings += ["p"] if tested else []
    headings += [part_label(name) for name in beside]
    headings += [metric_label(collection, collection.utility)] if collection.utility else []
    headings += ["records", "reference", "epochs", "runs"]
    table, intervals = [], 0
    for variant in collection.variants:
        name = variant_name(collection, variant)
        runs = collection.runs(variant)
        if runs:
            value = collection.final(variant, collection.metric)
            shown = [value, *(collection.final(variant, part) for part in beside)]
            cells = [name, format_estimate(value)] + ([_p_value(value)] if tested else [])
            cells += [format_gap(part, found) for part, found in zip(beside, shown[1:], strict=True)]
            if collection.utility:
                shown.append(collection.useful(variant, collection.utility))
                cells.append(format_estimate(shown[-1], signed=False))
            intervals += sum(found is not None and found.low is not None for found in shown)
            cells += [_range([len(run.target) for run in runs]), collection.reference, _epochs(runs), str(len(runs))]
            table.append([Cell(text) for text in cells])
        for entry in collection.entries:
            if entry.variant == variant and entry.error:
                table.append([Cell(entry.name), Cell(f"failed: {entry.error}", "error")])
    return Panel("summary", "Summary", _caption(collection, intervals, tested), _rows(collection), (), headings, table)


def _beside(collection: Collection) -> list[str]:
    """What the table shows beside the metric: a control also where none was measured, to say so."""
    control = net_parts(collection.metric)[2]
    lacks_all = collection.without_held_out and control not in collection.beside
    return [*collection.beside, *([control] if lacks_all else [])]


def _p_value(estimate: Estimate | None) -> str:
    return "" if estimate is None or estimate.p_value is None else format_p(estimate.p_value)


def _caption(collection: Collection, intervals: int, tested: bool) -> str:
    seeds = sorted({entry.seed for entry in collection.entries if entry.seed is not None})
    over = f" Seeds: {', '.join(map(str, seeds))}." if seeds else ""
    caption = f"Of the final models. In brackets: {collection.intervals()}.{over}"
    if intervals > 1:
        caption += f" The table has {intervals} intervals, each for itself: of so many about 1 in 20 misses the truth."
    if tested:
        caption += ' p: one-sided, of "nothing is memorized", of each value by itself.'
    net, _, control = net_parts(collection.metric)
    if net in {collection.metric, *collection.beside} or control in collection.beside:
        caption += (
            " The control is the same gap on records that neither model was trained on, what two models differ by "
            "without memory; the net value is the gap of the attacked records minus it."
        )
    if collection.without_held_out:
        caption += (
            " No held-out records: without them there is no net value, and two models that differ in ability differ "
            "here without any memory."
        )
    if any(run.comparison is None for _, run in collection.measured()):
        caption += (
            " The reference is the target itself on records that it was not trained on: its ability cancels, there is "
            "no control and nothing is told of single records."
        )
    return caption


def _range(counts: list[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


def _epochs(runs: list[Run]) -> str:
    known = [int(run.epochs) for run in runs if run.epochs is not None]
    return _range(known) if known else "–"


def _rows(collection: Collection) -> list[dict[str, Any]]:
    """A row a run, with every number of its final measurement that the table shows."""
    rows = []
    for entry in collection.entries:
        run = entry.run
        metrics = run.estimates if run else {}
        utility = run.final_utility if run else {}
        row: dict[str, Any] = {"variant": entry.variant, "seed": "" if entry.seed is None else entry.seed}
        for name in (collection.metric, *collection.beside):
            row |= csv_columns(name, metrics.get(name))
            p_value = metrics[name].p_value if name in metrics else None
            row |= {f"{name}_p_value": "" if p_value is None else p_value} if name == collection.metric else {}
        if collection.utility is not None:
            row |= csv_columns(collection.utility, utility.get(collection.utility))
        epochs = None if run is None else run.epochs
        row |= {"records": "" if run is None else len(run.target), "reference": run.reference_kind if run else ""}
        row |= {"epochs": "" if epochs is None else epochs}
        rows.append(row | {"folder": str(run.folder) if run else "", "error": entry.error or ""})
    return rows
