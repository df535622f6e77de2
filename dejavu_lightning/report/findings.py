"""The files a measurement leaves behind: records as parquet, figures as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dejavu_lightning.memorization.compare import OUTCOMES
from dejavu_lightning.memorization.measure import Measurement
from dejavu_lightning.memorization.sets import MemorizationSets, ShownSamples
from dejavu_lightning.report.curve import draw_curve
from dejavu_lightning.report.gallery import GalleryRow, Shown, draw_gallery
from dejavu_lightning.report.partition import draw_partition

GALLERY_RECORDS = 8
GALLERY_NEIGHBORS = 4


def save_records(measurement: Measurement, folder: Path) -> None:
    """Write ``target.parquet``, ``reference.parquet`` and, of paired records, ``comparison.parquet``."""
    measurement.target.save(folder / "target.parquet")
    measurement.reference.save(folder / "reference.parquet")
    if measurement.comparison.table is not None:
        pq.write_table(measurement.comparison.table, folder / "comparison.parquet")


def draw_curves(history: Sequence[Mapping[str, float]], folder: Path) -> dict[str, Path]:
    """Draw ``curve.png`` and, of paired records, ``partition.png``; by name."""
    figures = {"curve": draw_curve(history, folder / "curve.png")}
    if all(OUTCOMES[0] in row for row in history):
        figures["partition"] = draw_partition(history, folder / "partition.png")
    return figures


def draw_most_memorized(measurement: Measurement, sets: MemorizationSets, folder: Path) -> dict[str, Path]:
    """Draw ``gallery.png``, where the datasets can show their samples and something is memorized; by name."""
    rows = gallery_rows(measurement, sets)
    if not rows:
        return {}
    title = "Most memorized records: only the target infers the label, ordered by its confidence"
    if measurement.comparison.table is None:
        title = "Records whose label the target infers, ordered by its confidence (no reference per record)"
    return {"gallery": draw_gallery(rows, folder / "gallery.png", title)}


def most_memorized(measurement: Measurement, count: int) -> list[dict[str, Any]]:
    """Rows of the records that only the target gets right, by its confidence, then by id.

    Without outcomes per record: those that the target gets right. The order selects on the outcome, so it
    shows what memorization looks like, not how much there is.
    """
    table = measurement.comparison.table
    if table is not None:
        chosen = table.filter(pc.equal(table["outcome"], "memorized"))
    else:
        chosen = _as_target(measurement.target.table.filter(measurement.target.table["correct"]))
    ordered = chosen.sort_by([("target_confidence", "descending"), ("id", "ascending")])
    rows: list[dict[str, Any]] = ordered.slice(0, count).to_pylist()
    return rows


def gallery_rows(measurement: Measurement, sets: MemorizationSets, count: int = GALLERY_RECORDS) -> list[GalleryRow]:
    """Pictures of the most memorized records; none where the datasets cannot show their samples."""
    attacked, bank = sets.attack, sets.public
    if not (isinstance(attacked, ShownSamples) and isinstance(bank, ShownSamples)):
        return []
    rows = most_memorized(measurement, count)
    attack = _positions(attacked, {row["id"] for row in rows})
    shown = {i for row in rows for role in ("target", "reference") for i in row.get(f"{role}_neighbors") or []}
    public = _positions(bank, shown)

    def neighbors(row: Mapping[str, Any], role: str) -> list[Shown]:
        found = (row.get(f"{role}_neighbors") or [])[:GALLERY_NEIGHBORS]
        exhibits = [bank.exhibit(public[identifier]) for identifier in found]
        return [Shown(exhibit.image, exhibit.class_name) for exhibit in exhibits]

    gallery = []
    for row in rows:
        exhibit = attacked.exhibit(attack[row["id"]])
        gallery.append(
            GalleryRow(
                identifier=row["id"],
                record=Shown(exhibit.image, exhibit.class_name),
                boxes=exhibit.boxes,
                crop=exhibit.crop,
                target=neighbors(row, "target"),
                reference=neighbors(row, "reference"),
            )
        )
    return gallery


def _positions(dataset: ShownSamples, wanted: set[str]) -> dict[str, int]:
    return {identifier: position for position, identifier in enumerate(dataset.ids) if identifier in wanted}


def _as_target(table: pa.Table) -> pa.Table:
    return table.rename_columns([name if name in ("id", "label") else f"target_{name}" for name in table.column_names])
