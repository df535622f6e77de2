"""Comet: numbers, figures, and files as assets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from dejavu_lightning.callbacks.loggers.logger_adapter import LoggerAdapter

from dejavu_lightning.runs.measurement_folder import RECORD_TABLE


class CometAdapter(LoggerAdapter):
    """Its experiment takes them by name and step."""

    kind, shows_images = "CometLogger", True

    def figures(self, files: Mapping[str, Path], epoch: int, step: int) -> None:
        """Images with a slider of steps."""
        for name, file in files.items():
            self.logger.experiment.log_image(str(file), name=f"{self.name}/{name}", step=step)

    def summary(self, values: Mapping[str, float], step: int) -> None:
        """Values of Comet's kind "other", columns of the table of experiments."""
        self.logger.experiment.log_others(self.named(values))

    def records(self, table: pa.Table, tables: Sequence[Path], others: Sequence[Path], folder: Path, step: int) -> None:
        """Assets, named as on the disk; the final records as a table too."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=table.column_names)
        writer.writeheader()
        writer.writerows(table.to_pylist())
        text.seek(0)
        self.logger.experiment.log_asset(text, file_name=f"{self.name}/{RECORD_TABLE}", step=step)
        for file in (*tables, *others):
            name = f"{self.name}/{file.relative_to(folder).as_posix()}"
            self.logger.experiment.log_asset(str(file), file_name=name, step=step)
