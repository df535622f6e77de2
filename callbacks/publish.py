"""Hands a measurement to whatever loggers the trainer has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def publish_metrics(loggers: Iterable[Any], name: str, row: Mapping[str, float], step: int) -> None:
    """Log one row of the history under ``name/...``; W&B draws it against ``name/epoch``."""
    for logger in loggers:
        if _is_wandb(logger):
            logger.experiment.define_metric(f"{name}/epoch", hidden=True)
            logger.experiment.define_metric(f"{name}/*", step_metric=f"{name}/epoch")
        logger.log_metrics({f"{name}/{key}": value for key, value in row.items()}, step=step)


def shows_images(loggers: Iterable[Any]) -> bool:
    """Whether anyone would see a picture before the run ends."""
    return any(map(_is_wandb, loggers))


def publish_figures(loggers: Iterable[Any], name: str, figures: Mapping[str, Path]) -> None:
    """Log figures as images to W&B."""
    for logger in filter(_is_wandb, loggers):
        for figure, path in figures.items():
            logger.log_image(f"{name}/{figure}", [str(path)])


def publish_summary(
    loggers: Iterable[Any], name: str, headline: str, history: Sequence[Mapping[str, float]], folder: Path
) -> None:
    """Log the final record table and, to the run summary, the highest headline metric and its epoch, to W&B."""
    best = max(history, key=lambda row: row[headline])
    final = folder / f"epoch={int(history[-1]['epoch']):04d}"
    tables = [final / "comparison.parquet", final / "target.parquet"]
    table = pq.read_table(next(path for path in tables if path.is_file()))
    for logger in filter(_is_wandb, loggers):
        rows = [list(row.values()) for row in table.to_pylist()]
        logger.log_table(f"{name}/records", columns=table.column_names, data=rows)
        logger.experiment.summary.update(
            {
                f"{name}/final_{headline}": history[-1][headline],
                f"{name}/highest_{headline}": best[headline],
                f"{name}/highest_{headline}_epoch": best["epoch"],
            }
        )


def _is_wandb(logger: Any) -> bool:
    # By name: the class exists twice, in lightning and in pytorch_lightning, and wandb may not be installed.
    return type(logger).__name__ == "WandbLogger"
