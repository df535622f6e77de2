"""The files a measurement leaves behind: records as parquet, figures as PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dejavu_lightning.core.samples import DisplayableSamples, DisplaySample
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.figures.caption_gallery import CaptionRow, Picture, draw_caption_gallery
from dejavu_lightning.figures.confidence import CONFIDENCE, draw_confidence
from dejavu_lightning.figures.curve import draw_curve
from dejavu_lightning.figures.gallery import GalleryRow, Shown, draw_gallery
from dejavu_lightning.figures.partition import draw_partition
from dejavu_lightning.memorization.label_inference.metrics import OUTCOMES
from dejavu_lightning.memorization.measure import Measurement
from dejavu_lightning.report.top_records import in_order
from dejavu_lightning.runs.measurement_folder import (
    figure_file,
    write_agreement,
    write_class_names,
    write_ranking,
    write_records,
    write_table,
)

GALLERY_RECORDS = 8
GALLERY_NEIGHBORS = 4
KEPT = ("id", "label", "objects")  # columns that are no model's


def save_records(measurement: Measurement, folder: Path) -> None:
    """Write ``target.parquet``, ``reference.parquet`` and, of paired records, ``comparison.parquet``.

    Of object retrieval also ``sample_gaps.parquet``. Each further reference has a folder of its name, and
    ``agreement.csv`` tells of each pair how far they agree.
    """
    write_records(folder, "target", measurement.target)
    _save_reference(measurement, folder)
    for name, found in measurement.also.items():
        _save_reference(found, folder / name)
    if measurement.agreement:
        write_agreement(folder, [pair._asdict() for pair in measurement.agreement])


def _save_reference(measurement: Measurement, folder: Path) -> None:
    write_records(folder, "reference", measurement.reference)
    comparison = measurement.comparison
    for name, table in (("comparison", comparison.table), ("sample_gaps", comparison.sample_gaps)):
        if table is not None:
            write_table(folder, name, table)


def draw_curves(history: Sequence[Mapping[str, float]], folder: Path) -> dict[str, Path]:
    """Draw ``curve.png`` and, of paired records, ``partition.png``; by name."""
    figures = {"curve": draw_curve(history, figure_file(folder, "curve"))}
    if all(OUTCOMES[0] in row for row in history):
        figures["partition"] = draw_partition(history, figure_file(folder, "partition"))
    return figures


def draw_most_memorized(measurement: Measurement, sets: MemorizationSets, folder: Path) -> dict[str, Path]:
    """Draw ``gallery.png``, where the datasets can show their samples and something is memorized; by name."""
    shows = isinstance(sets.attack, DisplayableSamples) and isinstance(sets.public, DisplayableSamples)
    rows = most_memorized(measurement, GALLERY_RECORDS) if shows else []
    if not rows:
        return {}
    paired = measurement.comparison.table is not None
    path = figure_file(folder, "gallery")
    settings = measurement.target.settings
    if settings["test"] == "object_retrieval":
        objects = "unnamed objects" if settings["unnamed_only"] else "objects"
        nearest = f"among the {settings['k']} nearest, {GALLERY_NEIGHBORS} of them shown"
        title = f"Most memorized captions: the target finds more {objects} than the reference ({nearest})"
        if not paired:
            title = f"Captions by which the target finds most {objects} ({nearest}; no reference per record)"
        return {"gallery": draw_caption_gallery(caption_rows(rows, sets, settings["unnamed_only"]), path, title)}
    title = "Most memorized records: only the target infers the label, ordered by its confidence"
    if not paired:
        title = "Records whose label the target infers, ordered by its confidence (no reference per record)"
    return {"gallery": draw_gallery(label_rows(rows, sets), path, title)}


def most_memorized(measurement: Measurement, count: int) -> list[dict[str, Any]]:
    """Rows of the records that the target answers better than the reference, then by id.

    Of label inference: that only the target gets right, by its confidence; of object retrieval: by how many
    objects more the target finds, then by the distance of its nearest neighbour. Without a reference per
    record the target's own answers decide. The order selects on the outcome, so it shows what memorization
    looks like, not how much there is.
    """
    table = measurement.comparison.table
    if table is None:
        own = measurement.target.table
        table = own.rename_columns([name if name in KEPT else f"target_{name}" for name in own.column_names])
    rows: list[dict[str, Any]] = in_order(table).slice(0, count).to_pylist()
    return rows


def ranking(measurement: Measurement, class_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Every paired record of label inference, the highest memorization confidence first, then by id.

    The confidence alone orders: a record near the top may be one that neither model answers correctly.
    """
    table = measurement.comparison.table
    if table is None or CONFIDENCE not in table.column_names:
        return []
    ordered = table.sort_by([(CONFIDENCE, "descending"), ("id", "ascending")])

    def name(label: int) -> str:
        return str(label) if class_names is None or label < 0 else class_names[label]

    return [
        {
            "rank": rank,
            "id": row["id"],
            CONFIDENCE: row[CONFIDENCE],
            "outcome": row["outcome"],
            **{key: name(row[key]) for key in ("label", "target_predicted", "reference_predicted")},
        }
        for rank, row in enumerate(ordered.to_pylist(), start=1)
    ]


def save_ranking(measurement: Measurement, sets: MemorizationSets, folder: Path) -> dict[str, Path]:
    """Write ``ranking.csv`` and draw ``confidence.png``, where records have a memorization confidence; by name.

    ``classes.json`` has the names of the classes, or objects, where the sets have them: records hold numbers.
    """
    if sets.class_names is not None:
        write_class_names(folder, sets.class_names)
    rows = ranking(measurement, sets.class_names)
    if not rows:
        return {}
    written = write_ranking(folder, rows)
    drawn = draw_confidence([(row[CONFIDENCE], row["outcome"]) for row in rows], figure_file(folder, "confidence"))
    return {"ranking": written, "confidence": drawn}


def label_rows(rows: Sequence[Mapping[str, Any]], sets: MemorizationSets) -> list[GalleryRow]:
    """Pictures of these records of label inference."""
    attacked, bank = _shown(sets, rows)

    def neighbors(row: Mapping[str, Any], role: str) -> list[Shown]:
        return [Shown(exhibit.image, exhibit.class_name) for exhibit in map(bank, _neighbors(row, role))]

    gallery = []
    for row in rows:
        exhibit = attacked(row["id"])
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


def caption_rows(
    rows: Sequence[Mapping[str, Any]], sets: MemorizationSets, unnamed_only: bool = False
) -> list[CaptionRow]:
    """Captions and pictures of these records of object retrieval."""
    attacked, bank = _shown(sets, rows)

    def picture(exhibit: DisplaySample) -> Picture:
        return Picture(exhibit.image, exhibit.objects)

    return [
        CaptionRow(
            identifier=row["id"],
            caption=attacked(row["id"]).caption,
            record=picture(attacked(row["id"])),
            scored=_scored(attacked(row["id"]), unnamed_only),
            target=[picture(bank(identifier)) for identifier in _neighbors(row, "target")],
            reference=[picture(bank(identifier)) for identifier in _neighbors(row, "reference")],
        )
        for row in rows
    ]


def _scored(record: DisplaySample, unnamed_only: bool) -> list[str]:
    return [name for name in record.objects if not (unnamed_only and name in record.named)]


def _neighbors(row: Mapping[str, Any], role: str) -> list[str]:
    return list((row.get(f"{role}_neighbors") or [])[:GALLERY_NEIGHBORS])


Show = Callable[[str], DisplaySample]


def _shown(sets: MemorizationSets, rows: Sequence[Mapping[str, Any]]) -> tuple[Show, Show]:
    """What shows the attacked samples, and the public ones, by id."""
    attacked, bank = sets.attack, sets.public
    assert isinstance(attacked, DisplayableSamples)
    assert isinstance(bank, DisplayableSamples)
    records = _positions(attacked, {row["id"] for row in rows})
    near = {i for row in rows for role in ("target", "reference") for i in _neighbors(row, role)}
    public = _positions(bank, near)
    return lambda identifier: attacked.display(records[identifier]), lambda identifier: bank.display(public[identifier])


def _positions(dataset: DisplayableSamples, wanted: set[str]) -> dict[str, int]:
    return {identifier: position for position, identifier in enumerate(dataset.ids) if identifier in wanted}
