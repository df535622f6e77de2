"""MLflow: numbers, figures, and files as artifacts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from dejavu_lightning.callbacks.loggers.logger_adapter import LoggerAdapter
from PIL import Image


class MLFlowAdapter(LoggerAdapter):
    """Its names have letters, digits and ``_ - . /`` and spaces only: see :func:`mlflow_name`."""

    kind, shows_images = "MLFlowLogger", True

    def figures(self, files: Mapping[str, Path], epoch: int, step: int) -> None:
        """Images with a slider of steps."""
        for name, file in files.items():
            with Image.open(file) as image:
                self.logger.experiment.log_image(
                    self.logger.run_id, image.convert("RGB"), key=mlflow_name(f"{self.name}/{name}"), step=step
                )

    def summary(self, values: Mapping[str, float], step: int) -> None:
        """Metrics, which the table of runs shows the latest of."""
        self.metrics(values, step)

    def records(self, table: pa.Table, tables: Sequence[Path], others: Sequence[Path], folder: Path, step: int) -> None:
        """Artifacts, in folders as on the disk."""
        for file in (*tables, *others):
            inside = Path(mlflow_name(self.name)) / file.relative_to(folder).parent
            self.logger.experiment.log_artifact(self.logger.run_id, str(file), inside.as_posix())

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """In names that MLflow takes; Lightning's logger would drop characters, with a warning each."""
        return {mlflow_name(key): value for key, value in super().named(values).items()}


def mlflow_name(key: str) -> str:
    """The name of a key in MLflow: "@" becomes "_at_", anything else that it does not take "_".

    >>> mlflow_name("memorization/score@20"), mlflow_name("memorization/naive Bayes (k=5)/ppg")
    ('memorization/score_at_20', 'memorization/naive Bayes _k_5_/ppg')
    """
    return re.sub(r"[^a-zA-Z0-9_/. -]", "_", key.replace("@", "_at_"))
