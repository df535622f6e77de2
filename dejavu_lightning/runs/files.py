"""JSON and CSV files as run folders hold them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dejavu_lightning.core.whole_file import whole_file


def read_json(file: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: naming the file, which is no JSON.
    """
    try:
        return json.loads(file.read_text())
    except (ValueError, RecursionError) as error:  # the latter of lists within lists
        raise ValueError(f"{file} is no JSON: {error}") from error


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> Path:
    """Write a CSV file with a header; the columns are those of the first row if not given."""
    with whole_file(file) as partial, partial.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, fieldnames=columns or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def read_rows(file: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that :func:`write_rows` wrote; none where there is no such file.

    Args:
        file: to be read.
        needed: columns that it must have.

    Raises:
        ValueError: naming the file, which is damaged.
    """
    if not file.is_file():
        return []
    try:
        with file.open(newline="") as opened:
            rows = list(csv.DictReader(opened))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    lacking = [name for row in rows for name in needed if row.get(name) is None]
    if lacking:
        raise ValueError(f"{file} is damaged: it lacks {lacking[0]!r}")
    return rows
