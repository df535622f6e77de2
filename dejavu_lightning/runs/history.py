"""``history.csv``, the curve that a monitor keeps: a row per measurement, ``epoch`` counts those completed."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

History = Sequence[Mapping[str, float]]


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of a ``history.csv`` with what each has; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and "epoch" not in rows[0]:
        raise ValueError(f"{path} is no history of a monitor: it has no column epoch")
    try:
        return [{name: float(value) for name, value in row.items() if value} for row in rows]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no history of a monitor: {error}") from error


def row_after(history: History, epochs: float | None) -> Mapping[str, float]:
    """The row of a model after so many epochs; the last one where they are not known, empty where there is none."""
    if epochs is None:
        return history[-1] if history else {}
    return next((row for row in history if row["epoch"] == epochs), {})
