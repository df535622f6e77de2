"""The curve of a monitor as a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


def save_history(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write one row per measurement; the columns are those of the latest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[-1]), restval="")
        writer.writeheader()
        writer.writerows(history)
