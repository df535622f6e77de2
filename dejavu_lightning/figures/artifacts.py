"""The files a measurement leaves behind: records as parquet, figures as PNG."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.figures.curve import draw_curve
from dejavu_lightning.figures.gallery import draw_gallery
from dejavu_lightning.figures.outcomes import draw_outcomes
from dejavu_lightning.figures.spread import draw_spread, is_counted, values_of
from dejavu_lightning.memorization.agreement import Agreement
from dejavu_lightning.memorization.display import Display, GalleryRow
from dejavu_lightning.memorization.measure import Measurement

GALLERY_RECORDS = 8


def save_records(measurement: Measurement, folder: Path) -> None:
    """Write ``target.parquet``, ``reference.parquet`` and, of paired records, ``comparison.parquet``.

    Of object retrieval also ``sample_gaps.parquet``. Each extra reference has a folder of its name, and
    ``agreement.csv`` tells of each pair how far they agree.
    """
    measurement.target.save(folder / "target.parquet")
    _save_reference(measurement, folder)
    for name, found in measurement.extra_references.items():
        _save_reference(found, folder / name)
    if measurement.agreement:
        with (folder / "agreement.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Agreement._fields)
            writer.writerows(measurement.agreement)


def _save_reference(measurement: Measurement, folder: Path) -> None:
    measurement.reference.save(folder / "reference.parquet")
    comparison = measurement.comparison
    for name, table in (("comparison", comparison.table), ("sample_gaps", comparison.sample_gaps)):
        if table is not None:
            pq.write_table(table, folder / f"{name}.parquet")


def draw_curves(history: Sequence[Mapping[str, float]], folder: Path, display: Display) -> dict[str, Path]:
    """Draw ``curve.png`` and, where every record has an outcome, ``partition.png``; by name."""
    figures = {"curve": draw_curve(history, folder / "curve.png", display)}
    if display.outcomes and all(name in row for row in history for name in display.outcomes):
        figures["partition"] = draw_outcomes(history, folder / "partition.png", display.outcomes)
    return figures


def gallery_rows(measurement: Measurement, sets: MemorizationSets, display: Display) -> list[GalleryRow]:
    """The most memorized records with their pictures; empty where the sets cannot show them."""
    return display.gallery(measurement.comparison.table, measurement.target, sets, GALLERY_RECORDS)


def draw_most_memorized(
    measurement: Measurement, sets: MemorizationSets, folder: Path, display: Display
) -> dict[str, Path]:
    """Draw ``gallery.png``, where the sets can show their samples and something is memorized; by name."""
    rows = gallery_rows(measurement, sets, display)
    if not rows:
        return {}
    title = display.gallery_title(measurement.target.settings, measurement.comparison.table is not None)
    return {"gallery": draw_gallery(rows, folder / "gallery.png", title)}


def save_ranking(measurement: Measurement, sets: MemorizationSets, folder: Path, display: Display) -> dict[str, Path]:
    """Write ``ranking.csv`` and draw ``confidence.png``, where the test ranks its records; by name.

    ``classes.json`` has the names of the classes, or objects, where the sets have them: records hold numbers.
    """
    if sets.class_names is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "classes.json").write_text(json.dumps(list(sets.class_names)))
    table = measurement.comparison.table
    rows = display.ranking(table, sets.class_names or ()) if table is not None else []
    if table is None or not rows:
        return {}
    with (folder / "ranking.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = {"ranking": folder / "ranking.csv"}
    values = values_of(table, display)
    if values and not is_counted(values):
        found["confidence"] = draw_spread(values, folder / "confidence.png", display)
    return found
