"""Which classes, or objects, are memorized most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import SEEDS_FOR_SPREAD, Estimate, over_runs
from dejavu_lightning.core.intervals import share
from dejavu_lightning.figures import style
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import csv_columns, variant_name
from dejavu_lightning.report.panels.panel import Panel, svg_picture
from dejavu_lightning.report.runs import Run

SHOWN = 15


class Tally(NamedTuple):
    """How many records of a class there are and how many of them are memorized, in all runs; and the mean share."""

    memorized: int
    records: int
    share: Estimate


def tally(runs: Sequence[Run]) -> dict[int, Tally]:
    """By label or object, over the runs that compared record by record.

    Seeds share records and classes and are no independent samples of them: each has a share of its own, of which the
    mean is taken, with the interval of :func:`~dejavu_lightning.core.estimate.over_runs`.
    """
    counts = [_counted(run) for run in runs if run.comparison is not None]
    found = {}
    for label in dict.fromkeys(label for counted in counts for label in counted):
        own = [counted[label] for counted in counts if label in counted]
        mean = over_runs([share(memorized, records) for memorized, records in own])
        low, high = (None if end is None else min(1.0, max(0.0, end)) for end in (mean.low, mean.high))
        memorized, records = (sum(each) for each in zip(*own, strict=True))
        found[label] = Tally(memorized, records, mean._replace(low=low, high=high))
    return found


def _counted(run: Run) -> dict[int, tuple[int, int]]:
    """Memorized and all records of each label or object of one run."""
    found: dict[int, tuple[int, int]] = {}
    for label, hit in run.display.groups(run.comparison):
        memorized, records = found.get(label, (0, 0))
        found[label] = memorized + hit, records + 1
    return found


def classes(collection: Collection) -> Panel | None:
    """Shares of memorized records by class, every variant in the order of the default."""
    found = {variant: counts for variant, runs in collection.shown() if (counts := tally(runs))}
    if not found:
        return None
    runs = [run for _, run in collection.measured()]
    named = next((run for run in runs if run.class_names), runs[0])
    first = collection.default if collection.default in found else next(iter(found))
    order = sorted(found[first], key=lambda label: (-found[first][label].share.value, label))
    shown = order[:SHOWN]
    what, plural = named.display.truth_labels
    top = max(counts[label].share.high or 0 for counts in found.values() for label in shown if label in counts)
    pictures = []
    for variant, counts in found.items():
        lines = [(named.named(label), counts.get(label)) for label in shown]
        name = variant_name(collection, variant)
        pictures.append(svg_picture(_draw(lines, top, what), f"Memorized records by {what}: {name}", name))
    many = f", the {SHOWN} highest of {len(order)} {plural}" if len(order) > SHOWN else ""
    caption = (
        f"Of the records of each {what}, the share where only the target knows it{many}, in the order of "
        f"{variant_name(collection, first)}. {_intervals(collection)} The first of many are high by chance too, and "
        "two models that merely differ know some records alone: this is not net."
    )
    rows = [_row(variant, label, named, counts[label]) for variant, counts in found.items() for label in sorted(counts)]
    return Panel(f"memorized_by_{what}", f"Which {plural} are memorized most", caption, rows, pictures)


def _intervals(collection: Collection) -> str:
    """Say what the lines are, of variants with few and with more seeds."""
    runs = {len(runs) for _, runs in collection.shown()}
    kinds = ["of one run Wilson's over its records"] if 1 in runs else []
    kinds += ["of two seeds both runs' Wilson intervals as independent"] if 2 in runs else []
    kinds += ["Student t over seeds"] if max(runs) >= SEEDS_FOR_SPREAD else []
    several = " Bars are means over seeds of each seed's share; counts are of all seeds." if max(runs) > 1 else ""
    return f"Lines: 95% interval of each share by itself, {'; '.join(kinds)}.{several}"


def _row(variant: str, label: int, named: Run, counted: Tally) -> Mapping[str, Any]:
    counts = {"memorized": counted.memorized, "records": counted.records, "runs": counted.share.runs}
    told = {"variant": variant, "label": label, "name": named.named(label), **counts}
    return told | csv_columns("share", counted.share)


def _draw(lines: Sequence[tuple[str, Tally | None]], top: float, what: str) -> Figure:
    figure, axes = style.canvas(3.8, 0.8 + 0.24 * len(lines), grid=False)
    for height, (_, counted) in enumerate(lines):
        if counted is None:
            continue
        style.beside(axes, height, f"{counted.memorized}/{counted.records}")
        axes.barh(height, counted.share.value, color=style.ABOVE, height=0.65)
        axes.plot([counted.share.low or 0, counted.share.high or 0], [height] * 2, color=style.INK, linewidth=1)
    axes.set_yticks(range(len(lines)), [name if len(name) < 24 else f"{name[:22]}…" for name, _ in lines])
    axes.set_xlim(0, top * 1.03)
    axes.invert_yaxis()
    axes.set_xlabel("share memorized")
    axes.set_ylabel(what)
    return figure
