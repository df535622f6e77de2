"""Lets a cluster stop a run between two batches, so that nothing is trained on twice."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dejavu_lightning.runs.checkpoints import requeue_checkpoints

REQUEUE_SIGNALS = {signal.SIGUSR1, signal.SIGUSR2}


class RequeueBetweenBatches(Callback):
    """Defer Lightning's answer to a cluster's requeue signal to the end of a batch, on all ranks at once.

    Under SLURM, Lightning answers the signal by saving a checkpoint and requeueing the job, at whatever
    instruction the signal arrives. Between batches the checkpoint is whole: the resumed run shows every
    sample as often as an uninterrupted one. Does nothing where Lightning does not listen to the signal.

    It waits for a batch that ends an optimiser step, or for the measurements behind the last batch of an epoch: ask
    for the signal early enough for a measurement (``sbatch --signal=SIGUSR1@600``). Checkpoints of earlier requeues
    go once a later one, or the end of the training, is on disk: Lightning would resume from one that is left. An
    epoch that is requeued at its start starts twice for the callbacks before this one.

    Args:
        requeue_signal: what ``sbatch --signal`` sends; the cluster environment's own if not given.
        every_n_batches: with several processes, how often they ask one another within an epoch.

    Example:
        >>> import signal
        >>> RequeueBetweenBatches(signal.SIGUSR2, every_n_batches=50).requeue_signal.name
        'SIGUSR2'
    """

    def __init__(self, requeue_signal: signal.Signals | None = None, every_n_batches: int = 10) -> None:
        self.requeue_signal, self.every_n_batches = requeue_signal, every_n_batches
        self._signal: signal.Signals = requeue_signal or signal.SIGUSR1
        self._asked = False
        self._answer: Callable[[int, FrameType | None], Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signal in place of Lightning."""
        self._asked = False
        environment = getattr(trainer.strategy, "cluster_environment", None)
        self._signal = self.requeue_signal or getattr(environment, "requeue_signal", None) or signal.SIGUSR1
        handler = signal.getsignal(self._signal)
        self._answer = handler if callable(handler) else None
        if self._answer is not None:
            signal.signal(self._signal, self._note)
        # One that came while the run was starting, see ``cli.main``, is delivered now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUEUE_SIGNALS)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """If any rank was asked, save, requeue and stop."""
        if self._answer is None or trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if trainer.world_size > 1 and batch_idx // trainer.accumulate_grad_batches % self.every_n_batches:
            return
        if trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            self._requeue(trainer, self._answer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """If any rank was asked at the end of the last epoch, which has been measured by now, likewise."""
        if self._answer is None or not trainer.current_epoch:
            return
        if trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            _as_behind_an_epoch(trainer)
            self._requeue(trainer, self._answer)

    def _requeue(self, trainer: Trainer, answer: Callable[[int, FrameType | None], Any]) -> None:
        answer(self._signal, None)
        _remove_requeued(trainer, keep=1)
        told = f"requeued after {self._signal.name}; the next start continues from here"
        raise SystemExit(f"{told}, also where you have to submit it yourself")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The end of the training is in its last checkpoint."""
        if self._answer is not None:
            # Lightning gives the signal back its default, which ends the process: what is complete needs no requeue.
            signal.pthread_sigmask(signal.SIG_BLOCK, {self._signal})
        if not getattr(trainer, "fast_dev_run", False):
            _remove_requeued(trainer, keep=0)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._asked = True


def _as_behind_an_epoch(trainer: Trainer) -> None:
    """Count as if training ended here: Lightning would leave out an epoch that is ready and not started."""
    fit_loop = trainer.fit_loop
    for progress in (fit_loop.epoch_progress.current, fit_loop.epoch_progress.total):
        progress.ready = progress.completed
    # With max_steps it goes on where the last epoch's batches ended, unless none is counted.
    epoch_loop = fit_loop.epoch_loop
    epoch_loop.batch_progress.reset_on_run()
    epoch_loop.scheduler_progress.reset_on_run()
    epoch_loop.automatic_optimization.optim_progress.reset_on_run()


def _remove_requeued(trainer: Trainer, keep: int) -> None:
    """Remove checkpoints of requeues from the run folder, all but the newest ``keep``."""
    if trainer.is_global_zero:
        files = requeue_checkpoints(Path(trainer.default_root_dir))
        for file in files[: len(files) - keep]:
            file.unlink(missing_ok=True)
