"""The same W&B run after a restart, with no step told twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dejavu_lightning.callbacks.publish import is_wandb
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from dejavu_lightning.core.whole_file import write_json


class ResumableWandbLogger(WandbLogger):
    """Lightning's ``WandbLogger``, which remembers beside the run's files what it told W&B.

    A run that was killed had told W&B of steps after its last checkpoint. Resumed with the same ``id``, it trains
    them again; what of them was told is not told again, and W&B's own counter of steps goes on where it was,
    offline too. ``fit`` finds the id in the checkpoint by itself; in code of your own, add ``WandbRunId()`` to the
    callbacks and pass ``id=wandb_run_id(load_checkpoint(file))``. Arguments are those of ``WandbLogger``.

    Example:
        .. code-block:: python

            logger = ResumableWandbLogger(project="memorization", offline=True)
            trainer = Trainer(logger=logger, callbacks=[WandbRunId(), MemorizationMonitor(data)])
    """

    _before: dict[str, Any] | None = None  # what was told when this process began
    _told: dict[str, int]

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log what was not logged before the restart."""
        if self._before is None:
            file = self._file()
            self._before = json.loads(file.read_text()) if file.is_file() else {"steps": {}, "next": 0}
            self._told = dict(self._before["steps"])
            if self._before["next"] > self.experiment.step:  # offline nobody tells a resumed run where it was
                self.experiment.log({}, step=self._before["next"])
        earlier = self._before["steps"]
        fresh = {key: value for key, value in metrics.items() if step is None or earlier.get(key, -1) < step}
        if not fresh:
            return
        super().log_metrics(fresh, step)
        if step is not None:
            self._told |= dict.fromkeys(fresh, step)
            write_json(self._file(), {"steps": self._told, "next": self.experiment.step})

    def _file(self) -> Path:
        return Path(self.save_dir or ".") / "wandb" / f"told-{self.experiment.id}.json"


class WandbRunId(Callback):
    """Keep the id of the W&B run in each checkpoint.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> checkpoint = {}
        >>> trainer = Trainer(logger=False, accelerator="cpu")
        >>> WandbRunId().on_save_checkpoint(trainer, None, checkpoint)  # without W&B there is nothing to keep
        >>> wandb_run_id(checkpoint) is None
        True
    """

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Of the first W&B logger, if there is one."""
        for logger in filter(is_wandb, trainer.loggers):
            checkpoint.setdefault("wandb_run_id", logger.version)


def wandb_run_id(checkpoint: Mapping[str, Any]) -> str | None:
    """Find the W&B run that a checkpoint is of; None if it is of none.

    Args:
        checkpoint: as ``load_checkpoint`` reads it.

    Example:
        >>> wandb_run_id({"wandb_run_id": "1a2b3c4d", "epoch": 40})
        '1a2b3c4d'
    """
    found = checkpoint.get("wandb_run_id")
    return None if found is None else str(found)
