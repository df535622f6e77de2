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
