"""Checkpoints that a reference curve can be taken from."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from dejavu_lightning.callbacks.lightning.whole_checkpoints import write_whole_checkpoints
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from dejavu_lightning.runs.checkpoints import EPOCH, LAST, UNTRAINED, epoch_checkpoint
from dejavu_lightning.runs.run_folder import RunFolder


class EpochCheckpoint(ModelCheckpoint):
    """Lightning's ``ModelCheckpoint``, kept from the untrained weights on, named by epochs completed.

    ``epoch=0000.ckpt`` holds the untrained weights, ``epoch=0040.ckpt`` those after 40 epochs, and
    ``last.ckpt`` is what a stopped run resumes from. What is resumed and compared is told by these names, so
    the folder is of this callback alone. A training that ends within an epoch, by ``max_steps`` or a timer,
    leaves that moment in ``last.ckpt`` only.

    Args:
        every_n_epochs: the cadence; give the monitor the same.
        minutes: also renew ``last.ckpt`` at the first end of an epoch after so many minutes, so that little is
            lost where the cadence is slow.
        dirpath: ``<trainer.default_root_dir>/checkpoints`` if not given.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> checkpoint = EpochCheckpoint(every_n_epochs=10)
        >>> trainer = Trainer(max_epochs=40, callbacks=[checkpoint], logger=False, accelerator="cpu")
        >>> checkpoint in trainer.checkpoint_callbacks
        True
    """

    def __init__(self, every_n_epochs: int = 50, dirpath: str | None = None, minutes: float = 10.0) -> None:
        self.cadence, self.seconds, self.given = every_n_epochs, 60 * minutes, dirpath
        self._renewed = time.monotonic()
        self._begun = self._trial = False  # whether this process has trained, and whether it only tries to
        self._kept = self._renewed_at = -1  # the steps of the newest epoch=*.ckpt and of last.ckpt
        super().__init__(
            dirpath=dirpath,
            filename=EPOCH,
            every_n_epochs=every_n_epochs,
            save_top_k=-1,
            save_last=True,
            save_on_train_epoch_end=True,
            enable_version_counter=False,  # a run that is resumed writes its later epochs again, under their names
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the files beside the run's config, whatever loggers there are; begin anew with each trainer."""
        if stage == "fit" and trainer.current_epoch == 0:
            self._renewed, self._last_global_step_saved = time.monotonic(), 0
            self.best_k_models, self.last_model_path, self.best_model_path = {}, "", ""
        self.dirpath = self.given or str(RunFolder(trainer.default_root_dir).checkpoints)
        super().setup(trainer, pl_module, stage)
        write_whole_checkpoints(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse other callbacks that save to this folder.

        Raises:
            ValueError: there is one; by now all have chosen theirs.
        """
        self._begun, self._kept, self._renewed_at = False, -1, -1
        self._trial = bool(getattr(trainer, "fast_dev_run", False))
        for other in trainer.checkpoint_callbacks:
            dirpath = getattr(other, "dirpath", None)
            if other is not self and dirpath and Path(str(dirpath)).resolve() == self._folder.resolve():
                raise ValueError(
                    f"{type(other).__name__} would save to {self._folder} (its {LAST} among them), where files of "
                    "EpochCheckpoint tell what is resumed and compared: give it a dirpath of its own, such as "
                    f"{RunFolder(self._folder.parent).user_checkpoints}"
                )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the untrained weights, aside until a batch is through."""
        super().on_train_start(trainer, pl_module)
        if trainer.global_step or self._trial:
            return
        resumed = Path(str(trainer.ckpt_path or "")).resolve() == epoch_checkpoint(self._folder, 0).resolve()
        if not resumed:
            trainer.save_checkpoint(self._folder / UNTRAINED, weights_only=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where the training ends within an epoch: from here on Lightning takes the epoch for a whole one."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if not self._begun:
            self._begun = True
            self._keep_untrained(trainer)
        if not trainer.is_last_batch and _ends(trainer) and not self._trial:
            self._renew(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Of a training that failed before its first step leave nothing that would be taken for a run."""
        super().on_exception(trainer, pl_module, exception)
        if trainer.global_step and self.dirpath:  # another callback ended it behind the first step, as a requeue does
            self._keep_untrained(trainer)
        if trainer.is_global_zero and self.dirpath:
            (self._folder / UNTRAINED).unlink(missing_ok=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save on schedule, or renew ``last.ckpt`` where the schedule is far."""
        if self._trial or not trainer.is_last_batch:
            return
        super().on_train_epoch_end(trainer, pl_module)
        completed = trainer.current_epoch + 1
        scheduled = completed % self.cadence == 0
        # The first rank's clock decides.
        overdue = trainer.strategy.broadcast(time.monotonic() - self._renewed > self.seconds)
        # When training ends, an average of weights takes the place of those that a resumed run goes on with.
        ends = completed == trainer.max_epochs or _ends(trainer, completed)
        if ends and not scheduled:
            trainer.save_checkpoint(epoch_checkpoint(self._folder, completed), weights_only=False)
        if (ends or overdue) and not scheduled:
            self._renew(trainer)
        if ends or scheduled:
            self._kept = trainer.global_step
        if scheduled:
            self._renewed = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the final weights, where the cadence did not."""
        if self._trial:
            return
        self._keep_untrained(trainer)
        if self._begun and trainer.is_last_batch and self._kept != trainer.global_step:
            trainer.save_checkpoint(epoch_checkpoint(self._folder, trainer.current_epoch), weights_only=False)
            self._renew(trainer)
        elif self._begun and not trainer.is_last_batch and self._renewed_at != trainer.global_step:
            self._renew(trainer)

    @property
    def _folder(self) -> Path:
        return Path(str(self.dirpath))

    def _keep_untrained(self, trainer: Trainer) -> None:
        """Under its name the file says that there is a run."""
        if trainer.is_global_zero and (self._folder / UNTRAINED).exists():
            os.replace(self._folder / UNTRAINED, epoch_checkpoint(self._folder, 0))

    def _renew(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self._folder / LAST, weights_only=False)
        self._renewed_at, self._renewed = trainer.global_step, time.monotonic()

    def format_checkpoint_name(
        self, metrics: dict[str, Tensor], filename: str | None = None, ver: int | None = None, prefix: str | None = None
    ) -> str:
        """Lightning counts the current epoch from 0; the name says how many are complete."""
        return super().format_checkpoint_name({**metrics, "epoch": metrics["epoch"] + 1}, filename, ver, prefix)


def _ends(trainer: Trainer, completed: int | None = None) -> bool:
    """Whether no batch follows this one, wherever in its epoch it is; ``completed`` epochs where that is the last."""
    if 0 <= trainer.max_steps <= trainer.global_step:
        return True
    epochs, steps = trainer.fit_loop.min_epochs or 0, trainer.fit_loop.min_steps or 0
    through = trainer.current_epoch if completed is None else completed
    return trainer.should_stop and through >= epochs and trainer.global_step >= steps
