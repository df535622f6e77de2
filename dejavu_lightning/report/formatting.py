"""Labels of metrics and variants on the page, and how its numbers are written."""

from __future__ import annotations

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.report.collection import Collection

UTILITIES = {
    "linear_top1": "linear probe, top 1",
    "knn_top1": "nearest neighbours, top 1",
    "zero_shot_top1": "zero-shot, top 1",
}


def metric_label(collection: Collection, name: str) -> str:
    """The label of a metric, without what explains it behind a colon; its own name where it has none."""
    known = UTILITIES.get(name)
    return known or (collection.display.label(name).partition(":")[0] if collection.display else name)


def part_label(name: str) -> str:
    """A short label of what stands beside a metric: its net value, the gap of the attacked records, the control."""
    if name.startswith("net_"):
        return "net value"
    return "control (held-out records)" if name.startswith("control_") else "gap of the attacked records"


def format_gap(name: str, estimate: Estimate | None) -> str:
    """As :func:`format_estimate`; a control or net value that is not there says why."""
    if estimate is None and name.startswith(("control_", "net_")):
        return "no held-out records"
    return format_estimate(estimate)


def format_estimate(estimate: Estimate | None, signed: bool = True) -> str:
    """The value with its interval; a dash where there is none."""
    if estimate is None:
        return "–"
    sign = "+" if signed else ""
    text = f"{estimate.value:{sign}.3f}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{estimate.low:{sign}.3f},\N{NO-BREAK SPACE}{estimate.high:{sign}.3f}]"


def csv_columns(name: str, estimate: Estimate | None) -> dict[str, float | str]:
    """Columns of a CSV file, empty where there is nothing."""
    if estimate is None:
        return {name: "", f"{name}_low": "", f"{name}_high": ""}
    low, high = ("" if end is None else end for end in (estimate.low, estimate.high))
    return {name: estimate.value, f"{name}_low": low, f"{name}_high": high}


def beside_columns(collection: Collection, variant: str) -> dict[str, float | str]:
    """Columns of what stands beside the metric, of the final models of a variant."""
    found: dict[str, float | str] = {}
    for name in collection.beside:
        found |= csv_columns(name, collection.final(variant, name))
    return found


def variant_name(collection: Collection, variant: str) -> str:
    """A variant's name, the default's marked where the name does not say it."""
    marked = collection.marked and variant == collection.default != "default" and len(collection.variants) > 1
    return f"{variant} (default)" if marked else variant
