"""The numbers of every variant in one table, failed runs with their error."""

from __future__ import annotations

from typing import Any

from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import csv_columns, format_estimate, metric_label, variant_name
from dejavu_lightning.report.panels.panel import Cell, Panel
from dejavu_lightning.report.runs import Run


def summary(collection: Collection) -> Panel:
    """A line a variant, and one for each run that failed."""
    control = _control(collection)
    headings = ["variant", metric_label(collection, collection.metric)]
    headings += ["control"] if control else []
    headings += [metric_label(collection, collection.utility)] if collection.utility else []
    headings += ["records", "reference", "epochs", "runs"]
    table = []
    for variant in collection.variants:
        name = variant_name(collection, variant)
        runs = collection.runs(variant)
        if runs:
            cells = [name, format_estimate(collection.final(variant, collection.metric))]
            cells += [format_estimate(collection.final(variant, control))] if control else []
            if collection.utility:
                cells.append(format_estimate(collection.useful(variant, collection.utility), signed=False))
            cells += [_range([len(run.target) for run in runs]), _references(runs), _epochs(runs), str(len(runs))]
            table.append([Cell(text) for text in cells])
        for entry in collection.entries:
            if entry.variant == variant and entry.error:
                table.append([Cell(entry.name), Cell(f"failed: {entry.error}", "error")])
    seeds = sorted({entry.seed for entry in collection.entries if entry.seed is not None})
    over = f" Seeds: {', '.join(map(str, seeds))}." if seeds else ""
    caption = f"Of the final models. In brackets: {collection.intervals()}.{over}"
    if control:
        caption += (
            " The control is the same measurement on records that neither model was trained on: what two models differ "
            "by without memory."
        )
    if len({run.comparison is None for _, run in collection.measured()}) == 2:
        caption += (
            " Some runs have a reference that answers for the same records, others one of held-out records: they "
            "estimate the same difference, with intervals of other kinds."
        )
    return Panel("summary", "Summary", caption, _rows(collection, control), (), headings, table)


def _control(collection: Collection) -> str | None:
    """The logged name of the metric's control, where any run has it."""
    name = f"control_{collection.metric.removeprefix('net_')}"
    return name if any(name in run.metrics for _, run in collection.measured()) else None


def _range(counts: list[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


def _references(runs: list[Run]) -> str:
    paired = {"same records" if run.comparison is not None else "held-out records" for run in runs}
    return " and ".join(sorted(paired))


def _epochs(runs: list[Run]) -> str:
    known = [int(run.epochs) for run in runs if run.epochs is not None]
    return _range(known) if known else "–"


def _rows(collection: Collection, control: str | None) -> list[dict[str, Any]]:
    """A row a run, with every number of its final measurement that the table shows."""
    rows = []
    for entry in collection.entries:
        run = entry.run
        metrics = run.estimates if run else {}
        utility = run.final_utility if run else {}
        row: dict[str, Any] = {"variant": entry.variant, "seed": "" if entry.seed is None else entry.seed}
        for name, values in ((collection.metric, metrics), (control, metrics), (collection.utility, utility)):
            if name is not None:
                row |= csv_columns(name, values.get(name))
        epochs = None if run is None else run.epochs
        row |= {"records": "" if run is None else len(run.target), "epochs": "" if epochs is None else epochs}
        rows.append(row | {"folder": str(run.folder) if run else "", "error": entry.error or ""})
    return rows
