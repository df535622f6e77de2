"""What any logger is told: numbers and settings. Those that hold more derive from this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from dejavu_lightning.memorization.display import GalleryRow


class LoggerAdapter:
    """Tells one of Lightning's loggers what a monitor found; parts that it cannot hold are passed over.

    Args:
        logger: Lightning's, or one of its interface.
        name: of the monitor, the prefix of all keys.
    """

    kind: ClassVar[str] = ""  # the class of Lightning that it serves
    shows_images: ClassVar[bool] = False

    def __init__(self, logger: Any, name: str) -> None:
        self.logger, self.name = logger, name

    def metrics(self, row: Mapping[str, float], step: int) -> None:
        """One row of the history, at a step of the optimiser."""
        self.logger.log_metrics(self.named(row), step=step)

    def settings(self, values: Mapping[str, Any]) -> None:
        """What the numbers are of, as hyperparameters."""
        self.logger.log_hyperparams(dict(values))

    def figures(self, files: Mapping[str, Path], epoch: int, step: int) -> None:
        """PNG files of one measurement by what they show."""

    def gallery(self, rows: Sequence[GalleryRow], epoch: int, step: int) -> None:
        """The most memorized records with their pictures."""

    def summary(self, values: Mapping[str, float], step: int) -> None:
        """Values that sum the run up, in place of earlier ones of their names."""

    def records(self, table: pa.Table, tables: Sequence[Path], others: Sequence[Path], folder: Path, step: int) -> None:
        """What was measured, when the training ends.

        Args:
            table: the final records.
            tables: parquet files of all measurements.
            others: further files, such as the history.
            folder: that all of them lie in.
            step: of the optimiser.
        """

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values under the monitor's keys."""
        return {f"{self.name}/{key}": value for key, value in values.items()}


def is_a(logger: Any, kind: str) -> bool:
    """Whether a logger is of a class of Lightning's, or derived from it."""
    # By name: the classes exist twice, in lightning and in pytorch_lightning, and their packages may not be installed.
    return any(parent.__name__ == kind for parent in type(logger).__mro__)
