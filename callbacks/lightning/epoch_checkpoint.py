"""Checkpoints that a reference curve can be taken from."""

from __future__ import annotations

import time
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from dejavu_lightning.runs.checkpoints import EPOCH, LAST, epoch_checkpoint
from dejavu_lightning.runs.run_folder import RunFolder


class EpochCheckpoint(ModelCheckpoint):
    """Lightning's ``ModelCheckpoint``, kept from the untrained weights on, named by epochs completed.

    ``epoch=0000.ckpt`` holds the untrained weights, ``epoch=0040.ckpt`` those after 40 epochs, and
    ``last.ckpt`` is what a stopped run resumes from.

    Args:
        every_n_epochs: the cadence; give the monitor the same.
        minutes: also renew ``last.ckpt`` at the first end of an epoch after so many minutes, so that little is
            lost where the cadence is slow.
        dirpath: ``<trainer.default_root_dir>/checkpoints`` if not given.
    """

    def __init__(self, every_n_epochs: int = 50, dirpath: str | None = None, minutes: float = 10.0) -> None:
        self.cadence, self.seconds, self.given = every_n_epochs, 60 * minutes, dirpath
        self._renewed = 0.0
        super().__init__(
            dirpath=dirpath,
            filename=EPOCH,
            every_n_epochs=every_n_epochs,
            save_top_k=-1,
            save_last=True,
            save_on_train_epoch_end=True,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the files beside the run's config, whatever loggers there are; begin anew with each trainer."""
        if stage == "fit" and trainer.current_epoch == 0:
            self._renewed, self._last_global_step_saved = time.monotonic(), 0
            self.best_k_models, self.last_model_path, self.best_model_path = {}, "", ""
        self.dirpath = self.given or str(RunFolder(trainer.default_root_dir).checkpoints)
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the untrained weights."""
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0 and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(epoch_checkpoint(Path(str(self.dirpath)), 0))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Of a training that failed before its first step leave nothing that would be taken for a run."""
        super().on_exception(trainer, pl_module, exception)
        if trainer.is_global_zero and trainer.global_step == 0 and trainer.ckpt_path is None and self.dirpath:
            epoch_checkpoint(Path(str(self.dirpath)), 0).unlink(missing_ok=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save on schedule, or renew ``last.ckpt`` where the schedule is far."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning would write last.ckpt
            return
        super().on_train_epoch_end(trainer, pl_module)
        completed = trainer.current_epoch + 1
        scheduled = completed % self.cadence == 0
        # The first rank's clock decides.
        overdue = trainer.strategy.broadcast(time.monotonic() - self._renewed > self.seconds)
        # When training ends, an average of weights takes the place of those that a resumed run goes on with.
        ends = trainer.should_stop or completed == trainer.max_epochs or trainer.global_step == trainer.max_steps
        if ends and not scheduled:
            trainer.save_checkpoint(epoch_checkpoint(Path(str(self.dirpath)), completed))
        if (ends or overdue) and not scheduled:
            trainer.save_checkpoint(Path(str(self.dirpath)) / LAST)
        if scheduled or overdue:
            self._renewed = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the final weights, where the cadence did not."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        super().on_train_end(trainer, pl_module)
        final = epoch_checkpoint(Path(str(self.dirpath)), trainer.current_epoch)
        if not trainer.strategy.broadcast(final.exists()):
            trainer.save_checkpoint(final)
            trainer.save_checkpoint(final.with_name(LAST))

    def format_checkpoint_name(
        self, metrics: dict[str, Tensor], filename: str | None = None, ver: int | None = None, prefix: str | None = None
    ) -> str:
        """Lightning counts the current epoch from 0; the name says how many are complete."""
        return super().format_checkpoint_name({**metrics, "epoch": metrics["epoch"] + 1}, filename, ver, prefix)
