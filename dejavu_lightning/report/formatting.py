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
    """The label of a metric; its own name where it has none."""
    known = UTILITIES.get(name)
    return known or (collection.display.label(name) if collection.display else name)


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


def variant_name(collection: Collection, variant: str) -> str:
    """A variant's name, the default's marked where the name does not say it."""
    marked = collection.marked and variant == collection.default != "default" and len(collection.variants) > 1
    return f"{variant} (default)" if marked else variant
