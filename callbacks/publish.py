"""Hands a measurement to whatever loggers the trainer has. What each gets: docs/guides/loggers.md.

A logger that raises is named in a warning; the others are told all the same, and training goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dejavu_lightning.callbacks.loggers.comet_adapter import CometAdapter
from dejavu_lightning.callbacks.loggers.logger_adapter import LoggerAdapter, is_a
from dejavu_lightning.callbacks.loggers.mlflow_adapter import MLFlowAdapter
from dejavu_lightning.callbacks.loggers.tensorboard_adapter import TensorBoardAdapter
from dejavu_lightning.callbacks.loggers.wandb_adapter import WandbAdapter
from lightning.pytorch.utilities import rank_zero_warn

from dejavu_lightning.memorization.display import GalleryRow
from dejavu_lightning.runs.measurement_folder import epoch_folder, plain_files, read_table, table_files

ADAPTERS: tuple[type[LoggerAdapter], ...] = (WandbAdapter, TensorBoardAdapter, MLFlowAdapter, CometAdapter)


def publish_metrics(loggers: Iterable[Any], name: str, row: Mapping[str, float], step: int) -> None:
    """Log one row of the history under ``name/...``."""
    _tell(loggers, name, lambda adapter: adapter.metrics(row, step))


def publish_settings(loggers: Iterable[Any], name: str, settings: Mapping[str, Any]) -> None:
    """Log what a monitor's numbers are of as hyperparameters."""
    _tell(loggers, name, lambda adapter: adapter.settings(settings))


def shows_images(loggers: Iterable[Any]) -> bool:
    """Whether anyone would see a picture before the run ends."""
    return any(_adapter(logger, "").shows_images for logger in loggers)


def publish_figures(loggers: Iterable[Any], name: str, figures: Mapping[str, Path], epoch: int, step: int) -> None:
    """Log figures, if there are any, as images."""
    _tell(loggers if figures else (), name, lambda adapter: adapter.figures(figures, epoch, step))


def publish_gallery(loggers: Iterable[Any], name: str, rows: Sequence[GalleryRow], epoch: int, step: int) -> None:
    """Log the most memorized records, if there are any, as a table with pictures."""
    _tell(loggers if rows else (), name, lambda adapter: adapter.gallery(rows, epoch, step))


def publish_summary(
    loggers: Iterable[Any], name: str, metrics: Iterable[str], history: Sequence[Mapping[str, float]], step: int
) -> None:
    """Log the latest and the highest value of each metric, and the epoch of that, as what sums the run up."""
    found: dict[str, float] = {}
    for metric in metrics:
        rows = [row for row in history if metric in row]
        best = max(rows, key=lambda row, metric=metric: row[metric])  # type: ignore[misc]
        found |= {
            f"final_{metric}": rows[-1][metric],
            f"highest_{metric}": best[metric],
            f"highest_{metric}_epoch": best["epoch"],
        }
    _tell(loggers, name, lambda adapter: adapter.summary(found, step))


def publish_records(loggers: Iterable[Any], name: str, folder: Path, epoch: int, step: int) -> None:
    """Log the final record table, if it could be written, and the files of all measurements."""

    def tell(adapter: LoggerAdapter) -> None:
        tables = (read_table(epoch_folder(folder, epoch), kind) for kind in ("comparison", "target"))
        table = next((table for table in tables if table is not None), None)
        if table is not None:
            adapter.records(table, table_files(folder), plain_files(folder), folder, step)

    _tell(loggers, name, tell)


def is_wandb(logger: Any) -> bool:
    """Whether a logger is Lightning's of W&B, or derived from it."""
    return is_a(logger, WandbAdapter.kind)


def _adapter(logger: Any, name: str) -> LoggerAdapter:
    return next((adapter for adapter in ADAPTERS if is_a(logger, adapter.kind)), LoggerAdapter)(logger, name)


def _tell(loggers: Iterable[Any], name: str, tell: Callable[[LoggerAdapter], None]) -> None:
    for logger in loggers:
        try:
            tell(_adapter(logger, name))
        except Exception as error:  # whatever a logger raises: the files have the numbers too
            rank_zero_warn(
                f"{name}: {type(logger).__name__} failed and is not told of this: {type(error).__name__}: {error}. "
                "Training goes on; history.csv has the numbers"
            )
