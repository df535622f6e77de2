"""Hands a measurement to whatever loggers the trainer has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dejavu_lightning.core.samples import DisplaySample
from dejavu_lightning.figures.gallery import seen
from dejavu_lightning.memorization.display import GALLERY_NEIGHBORS, GalleryRow
from dejavu_lightning.runs.measurement_folder import epoch_folder, read_table, table_files


def publish_metrics(loggers: Iterable[Any], name: str, row: Mapping[str, float], step: int) -> None:
    """Log one row of the history under ``name/...``; W&B draws it against ``name/epoch``."""
    for logger in loggers:
        if is_wandb(logger):
            logger.experiment.define_metric(f"{name}/epoch", hidden=True)
            logger.experiment.define_metric(f"{name}/*", step_metric=f"{name}/epoch")
        logger.log_metrics({f"{name}/{key}": value for key, value in row.items()}, step=step)


def shows_images(loggers: Iterable[Any]) -> bool:
    """Whether anyone would see a picture before the run ends."""
    return any(is_wandb(logger) or _is_tensorboard(logger) for logger in loggers)


def publish_figures(loggers: Iterable[Any], name: str, figures: Mapping[str, Path], step: int) -> None:
    """Log figures as images to W&B and TensorBoard."""
    for logger in loggers:
        for figure, path in figures.items():
            if is_wandb(logger):
                logger.log_image(f"{name}/{figure}", [str(path)], step=step)
            elif _is_tensorboard(logger):
                pixels = np.asarray(Image.open(path).convert("RGB"))
                logger.experiment.add_image(f"{name}/{figure}", pixels, step, dataformats="HWC")


def publish_gallery(loggers: Iterable[Any], name: str, rows: Sequence[GalleryRow], step: int) -> None:
    """Log the most memorized records as a table with pictures, to W&B; None where a model has no such neighbour."""
    if not rows:
        return
    captioned = any(row.record.caption for row in rows)
    cropped = any(row.record.crop is not None for row in rows)
    neighbors = GALLERY_NEIGHBORS if any(row.target or row.reference for row in rows) else 0
    near = [f"{role} neighbor {n + 1}" for role in ("target", "reference") for n in range(neighbors)]
    columns = ["id", *(["caption"] if captioned else []), "correct", "record"]
    columns += [*(["what the test saw"] if cropped else []), *near]
    for logger in filter(is_wandb, loggers):
        import wandb

        def shown(sample: DisplaySample | None) -> Any:
            return None if sample is None else wandb.Image(sample.image, caption=", ".join(sample.objects))

        data = []
        for row in rows:
            cells: list[Any] = [row.identifier, *([row.record.caption] if captioned else [])]
            cells += [", ".join(sorted(row.correct)), shown(row.record)]
            if cropped:
                crop = seen(row.record)
                cells.append(None if crop is None else wandb.Image(crop))
            for side in (row.target, row.reference):
                cells += [shown(sample) for sample in (*side, *[None] * (neighbors - len(side)))]
            data.append(cells)
        logger.log_table(f"{name}/most_memorized", columns=columns, data=data, step=step)


def publish_summary(
    loggers: Iterable[Any], name: str, metrics: Iterable[str], history: Sequence[Mapping[str, float]]
) -> None:
    """Write the final and the highest value of each metric, and the epoch of that, to W&B's run summary."""
    found: dict[str, float] = {}
    for metric in metrics:
        rows = [row for row in history if metric in row]
        best = max(rows, key=lambda row, metric=metric: row[metric])  # type: ignore[misc]
        found |= {
            f"{name}/final_{metric}": rows[-1][metric],
            f"{name}/highest_{metric}": best[metric],
            f"{name}/highest_{metric}_epoch": best["epoch"],
        }
    for logger in filter(is_wandb, loggers):
        logger.experiment.summary.update(found)


def publish_records(loggers: Iterable[Any], name: str, folder: Path, epoch: int, step: int) -> None:
    """Log the final record table, if it could be written, and those of all measurements as one artifact, to W&B."""
    tables = (read_table(epoch_folder(folder, epoch), kind) for kind in ("comparison", "target"))
    table = next((table for table in tables if table is not None), None)
    for logger in filter(is_wandb, loggers if table is not None else ()):
        import wandb

        assert table is not None
        columns, rows = table.column_names, [list(row.values()) for row in table.to_pylist()]
        logger.log_table(f"{name}/record_table", columns=columns, data=rows, step=step)
        artifact = wandb.Artifact(re.sub(r"[^\w.-]", "_", f"{name}-records-{logger.experiment.id}"), type="records")
        for file in table_files(folder):
            artifact.add_file(str(file), name=str(file.relative_to(folder)))
        logger.experiment.log_artifact(artifact)


def is_wandb(logger: Any) -> bool:
    """Whether a logger is Lightning's of W&B, or derived from it."""
    return _is_a(logger, "WandbLogger")


def _is_tensorboard(logger: Any) -> bool:
    return _is_a(logger, "TensorBoardLogger")


def _is_a(logger: Any, name: str) -> bool:
    # By name: the classes exist twice, in lightning and in pytorch_lightning, and their packages may not be installed.
    return any(parent.__name__ == name for parent in type(logger).__mro__)
