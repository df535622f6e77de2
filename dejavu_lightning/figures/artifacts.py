"""The files a measurement leaves behind: records as parquet, figures as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.figures.curve import draw_curve
from dejavu_lightning.figures.gallery import draw_gallery
from dejavu_lightning.figures.outcomes import draw_outcomes
from dejavu_lightning.figures.series import draw_series
from dejavu_lightning.figures.spread import draw_spread, is_counted, values_of
from dejavu_lightning.memorization.display import Display, GalleryRow
from dejavu_lightning.memorization.measure import Measurement
from dejavu_lightning.memorization.protocols import Comparison
from dejavu_lightning.runs.history import measured_rows
from dejavu_lightning.runs.measurement_folder import (
    figure_file,
    read_records,
    read_table,
    write_agreement,
    write_class_names,
    write_groups,
    write_ranking,
    write_records,
    write_table,
    write_terms,
)

GALLERY_RECORDS = 8


def save_records(measurement: Measurement, folder: Path) -> None:
    """Write ``target.parquet``, ``reference.parquet``, ``terms.parquet``, of paired records ``comparison.parquet``.

    Of object retrieval also ``sample_gaps.parquet``. Each extra reference has a folder of its name, and
    ``agreement.csv`` tells of each pair how far they agree. ``groups.csv`` and ``group_differences.csv`` are
    there where the measurement was broken down.
    """
    write_records(folder, "target", measurement.target)
    _save_reference(measurement, folder)
    for name, found in measurement.extra_references.items():
        _save_reference(found, folder / name)
    if measurement.agreement:
        write_agreement(folder, [pair._asdict() for pair in measurement.agreement])


def read_answers(folder: Path) -> Measurement | None:
    """What figures and rankings show of what :func:`save_records` wrote, None where it is not there."""
    try:
        target, reference = read_records(folder, "target"), read_records(folder, "reference")
    except FileNotFoundError:
        return None
    comparison = Comparison({}, read_table(folder, "comparison"), {}, target.settings)
    return Measurement({}, comparison, target, reference, headline="")


def _save_reference(measurement: Measurement, folder: Path) -> None:
    write_records(folder, "reference", measurement.reference)
    write_terms(folder, measurement.gaps)
    if measurement.groups is not None:
        write_groups(
            folder,
            [{"column": measurement.groups.column, **group.row()} for group in measurement.groups.groups],
            [one._asdict() for one in measurement.groups.differences],
        )
    comparison = measurement.comparison
    for name, table in (("comparison", comparison.table), ("sample_gaps", comparison.sample_gaps)):
        if table is not None:
            write_table(folder, name, table)


def draw_curves(history: Sequence[Mapping[str, float]], folder: Path, display: Display) -> dict[str, Path]:
    """Draw ``curve.png`` and, where every record has an outcome, ``partition.png``; by name."""
    history = measured_rows(history)
    figures = {"curve": draw_curve(history, figure_file(folder, "curve"), display)}
    if display.outcomes and all(name in row for row in history for name in display.outcomes):
        figures["partition"] = draw_outcomes(history, figure_file(folder, "partition"), display.outcomes)
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
    return {"gallery": draw_gallery(rows, figure_file(folder, "gallery"), title)}


def draw_outcome_galleries(
    measurement: Measurement, sets: MemorizationSets, folder: Path, display: Display
) -> dict[str, Path]:
    """Draw ``gallery_<outcome>.png`` of each outcome that has one, such as correlated records; by name."""
    table, found = measurement.comparison.table, {}
    for outcome, title in display.galleries.items() if table is not None else ():
        rows = display.gallery(table, measurement.target, sets, GALLERY_RECORDS, outcome)
        if rows:
            name = f"gallery_{outcome}"
            found[name] = draw_gallery(rows, figure_file(folder, name), title)
    return found


def draw_each_series(
    estimates: Mapping[str, Estimate],
    folder: Path,
    display: Display,
    utility: Mapping[str, Estimate] | None = None,
) -> dict[str, Path]:
    """Draw ``by_layer.png`` and ``by_neighbors.png`` where several were measured; by name.

    Args:
        utility: metrics of utility, of which those of the same names are drawn beside.
    """
    return {
        series.key: draw_series(series, estimates, utility or {}, figure_file(folder, series.key), display)
        for series in display.series(estimates)
    }


def save_ranking(measurement: Measurement, sets: MemorizationSets, folder: Path, display: Display) -> dict[str, Path]:
    """Write ``ranking.csv`` and draw the spread, such as ``confidence.png``, where the test ranks its records.

    ``classes.json`` has the names of the classes, or objects, where the sets have them: records hold numbers.
    """
    if sets.class_names is not None:
        write_class_names(folder, sets.class_names)
    table = measurement.comparison.table
    rows = display.ranking(table, sets.class_names or ()) if table is not None else []
    if table is None or not rows:
        return {}
    found = {"ranking": write_ranking(folder, rows)}
    values = values_of(table, display)
    if values and not is_counted(values):
        assert display.spread is not None
        name = display.spread.file
        found[name] = draw_spread(values, figure_file(folder, name), display)
    return found
