"""``history.csv``, the curve that a monitor keeps: a row per measurement, ``epoch`` counts those completed."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dejavu_lightning.runs.files import write_rows

HISTORY = "history.csv"
History = Sequence[Mapping[str, float]]


def write_history(folder: Path, history: History) -> None:
    """Write a monitor's ``history.csv``; the columns of the latest row with a measurement come first."""
    latest = (measured_rows(history) or history)[-1]
    columns = dict.fromkeys([*latest, *(name for row in history for name in row)])
    write_rows(folder / HISTORY, history, list(columns))


def measured_rows(history: History) -> list[Mapping[str, float]]:
    """The rows with a measurement: one that is missing has its epoch alone."""
    return [row for row in history if len(row) > 1]


def read_history(folder: Path) -> list[dict[str, float]]:
    """Rows of a monitor's ``history.csv`` with what each has; none where there is no such file.

    Raises:
        ValueError: naming the file, which no monitor wrote, or of which a row is damaged.
    """
    path = folder / HISTORY
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        found = [{name: float(value) for name, value in row.items() if value} for row in rows]
    except (TypeError, ValueError, csv.Error) as error:
        raise ValueError(f"{path} is no history of a monitor: {error}") from error
    if rows and "epoch" not in rows[0]:
        raise ValueError(f"{path} is no history of a monitor: it has no column epoch")
    lacking = [number for number, row in enumerate(found, start=1) if not row.get("epoch", math.nan).is_integer()]
    if lacking:
        raise ValueError(f"{path} is damaged: row {lacking[0]} has no epoch, a whole number")
    return found


def passed_untrained(folder: Path) -> bool:
    """Whether a folder holds the curve of a model that was trained, or what may have been one."""
    try:
        return any(row["epoch"] > 0 for row in read_history(folder))
    except ValueError:
        return True


def row_after(history: History, epochs: float | None) -> Mapping[str, float]:
    """The row of a model after so many epochs; the last one where they are not known, empty where there is none."""
    if epochs is None:
        return history[-1] if history else {}
    return next((row for row in history if row["epoch"] == epochs), {})
