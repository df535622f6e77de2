"""Hands a measurement to whatever loggers the trainer has. What each gets: docs/guides/loggers.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dejavu_lightning.callbacks.loggers.comet_adapter import CometAdapter
from dejavu_lightning.callbacks.loggers.logger_adapter import LoggerAdapter, is_a
from dejavu_lightning.callbacks.loggers.mlflow_adapter import MLFlowAdapter
from dejavu_lightning.callbacks.loggers.tensorboard_adapter import TensorBoardAdapter
from dejavu_lightning.callbacks.loggers.wandb_adapter import WandbAdapter

from dejavu_lightning.memorization.display import GalleryRow
from dejavu_lightning.runs.measurement_folder import epoch_folder, plain_files, read_table, table_files

ADAPTERS: tuple[type[LoggerAdapter], ...] = (WandbAdapter, TensorBoardAdapter, MLFlowAdapter, CometAdapter)


def publish_metrics(loggers: Iterable[Any], name: str, row: Mapping[str, float], step: int) -> None:
    """Log one row of the history under ``name/...``."""
    for adapter in _adapters(loggers, name):
        adapter.metrics(row, step)


def publish_settings(loggers: Iterable[Any], name: str, settings: Mapping[str, Any]) -> None:
    """Log what a monitor's numbers are of as hyperparameters."""
    for adapter in _adapters(loggers, name):
        adapter.settings(settings)


def shows_images(loggers: Iterable[Any]) -> bool:
    """Whether anyone would see a picture before the run ends."""
    return any(adapter.shows_images for adapter in _adapters(loggers, ""))


def publish_figures(loggers: Iterable[Any], name: str, figures: Mapping[str, Path], epoch: int, step: int) -> None:
    """Log figures as images."""
    for adapter in _adapters(loggers, name):
        adapter.figures(figures, epoch, step)


def publish_gallery(loggers: Iterable[Any], name: str, rows: Sequence[GalleryRow], epoch: int, step: int) -> None:
    """Log the most memorized records, if there are any, as a table with pictures."""
    for adapter in _adapters(loggers if rows else (), name):
        adapter.gallery(rows, epoch, step)


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
    for adapter in _adapters(loggers, name):
        adapter.summary(found, step)


def publish_records(loggers: Iterable[Any], name: str, folder: Path, epoch: int, step: int) -> None:
    """Log the final record table, if it could be written, and the files of all measurements."""
    tables = (read_table(epoch_folder(folder, epoch), kind) for kind in ("comparison", "target"))
    table = next((table for table in tables if table is not None), None)
    if table is not None:
        for adapter in _adapters(loggers, name):
            adapter.records(table, table_files(folder), plain_files(folder), folder, step)


def is_wandb(logger: Any) -> bool:
    """Whether a logger is Lightning's of W&B, or derived from it."""
    return is_a(logger, WandbAdapter.kind)


def _adapters(loggers: Iterable[Any], name: str) -> Iterator[LoggerAdapter]:
    for logger in loggers:
        yield next((adapter for adapter in ADAPTERS if is_a(logger, adapter.kind)), LoggerAdapter)(logger, name)
