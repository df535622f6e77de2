"""When records are first memorized, forgotten and learned again, by epoch."""

from __future__ import annotations

from typing import Any

from dejavu_lightning.figures.record_figures import plot_events
from dejavu_lightning.memorization.forgotten_records import forgetting
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import variant_name
from dejavu_lightning.report.panels.panel import Panel, svg_picture
from dejavu_lightning.report.runs import Run
from dejavu_lightning.runs.measurement_folder import read_epoch_terms


def record_events(collection: Collection) -> Panel | None:
    """Draw them of each variant's first run that was measured at three epochs or more; the CSV has every run."""
    pictures, rows, left_out = [], [], []
    drawn: set[str] = set()
    for entry, run in collection.measured():
        measured, other_records = epoch_terms(run)
        if len(measured) < 3:
            continue
        found = forgetting(measured)
        left_out += [f"{entry.name}: {other_records}"] if other_records else []
        seed: Any = "" if entry.seed is None else entry.seed
        rows += [{"variant": entry.variant, "seed": seed, **one._asdict()} for one in found.epochs]
        if entry.variant not in drawn:
            drawn.add(entry.variant)
            name = variant_name(collection, entry.variant)
            pictures.append(svg_picture(plot_events(found.epochs), f"Events of records by epoch: {name}", name))
    if not pictures:
        return None
    caption = (
        "Of the attacked records: of which the target knows more than the reference for the first time, again, and no "
        "more. Dashes: of which the reference knows more for the first time, which is what two equally able models "
        "come to without memory. Of each variant the first run; counts of single models, no intervals. Between two "
        "measurements nothing is seen. evaluate.py records lists the records."
    )
    caption = " ".join([caption, *left_out])
    return Panel("record_events", "Memorized, forgotten and learned again", caption, rows, pictures)


def epoch_terms(run: Run) -> tuple[dict[int, dict[str, float]], str]:
    """By epoch, of each record what it adds to the headline gap, and which epochs of the curve are left out, if any.

    Epochs of the curve up to the measured model; those at which other records were attacked than at the last of them
    are left out. Nothing without a reference per record.
    """
    if run.comparison is None or run.curves is None:
        return {}, ""
    listed = {row["epoch"] for row in run.history if run.epochs is None or row["epoch"] <= run.epochs}
    terms = read_epoch_terms(run.curves, run.test.headline)
    found = {epoch: records for epoch, records in terms.items() if epoch in listed}
    alike = {epoch: records for epoch, records in found.items() if records.keys() == found[max(found)].keys()}
    others = ", ".join(str(epoch) for epoch in sorted(found.keys() - alike.keys()))
    return alike, f"Left out, since other records were attacked: epochs {others}." if others else ""
