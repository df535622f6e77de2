"""W&B: everything, against epochs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from dejavu_lightning.callbacks.loggers.logger_adapter import LoggerAdapter

from dejavu_lightning.core.samples import DisplaySample
from dejavu_lightning.figures.gallery import seen
from dejavu_lightning.memorization.display import GALLERY_NEIGHBORS, GalleryRow


class WandbAdapter(LoggerAdapter):
    """Rows and media have the epoch beside them, so that charts and the sliders of media panels can go by it."""

    kind, shows_images = "WandbLogger", True

    def metrics(self, row: Mapping[str, float], step: int) -> None:
        """Drawn against the epoch."""
        self.logger.experiment.define_metric(f"{self.name}/epoch", hidden=True)
        self.logger.experiment.define_metric(f"{self.name}/*", step_metric=f"{self.name}/epoch")
        super().metrics(row, step)

    def figures(self, files: Mapping[str, Path], epoch: int, step: int) -> None:
        """Images."""
        import wandb

        images = {name: wandb.Image(str(file)) for name, file in files.items()}
        self.logger.log_metrics(self.named({**images, "epoch": epoch}), step=step)

    def gallery(self, rows: Sequence[GalleryRow], epoch: int, step: int) -> None:
        """A table with pictures; None where a model has no such neighbour."""
        import wandb

        captioned = any(row.record.caption for row in rows)
        cropped = any(row.record.crop is not None for row in rows)
        neighbors = GALLERY_NEIGHBORS if any(row.target or row.reference for row in rows) else 0
        near = [f"{role} neighbor {n + 1}" for role in ("target", "reference") for n in range(neighbors)]
        columns = ["id", *(["caption"] if captioned else []), "correct", "record"]
        columns += [*(["what the test saw"] if cropped else []), *near]

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
        table = wandb.Table(columns=[*columns], data=data)
        self.logger.log_metrics(self.named({"most_memorized": table, "epoch": epoch}), step=step)

    def summary(self, values: Mapping[str, float], step: int) -> None:
        """Columns of the table of runs."""
        self.logger.experiment.summary.update(self.named(values))

    def records(self, table: pa.Table, tables: Sequence[Path], others: Sequence[Path], folder: Path, step: int) -> None:
        """A table, and one artifact of the parquet files."""
        import wandb

        rows = [list(row.values()) for row in table.to_pylist()]
        self.logger.log_table(f"{self.name}/record_table", columns=table.column_names, data=rows, step=step)
        title = re.sub(r"[^\w.-]", "_", f"{self.name}-records-{self.logger.experiment.id}")
        artifact = wandb.Artifact(title, type="records")
        for file in tables:
            artifact.add_file(str(file), name=str(file.relative_to(folder)))
        self.logger.experiment.log_artifact(artifact)
