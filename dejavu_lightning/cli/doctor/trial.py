"""A short training of a model that is thrown away, timed, and a small measurement of it."""

from __future__ import annotations

import math
import time
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor

from dejavu_lightning.cli.doctor.data_checks import largest_k
from dejavu_lightning.core.progress.long_work import long_work
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.encoders import ModuleEncoder
from dejavu_lightning.memorization import HeldOut
from dejavu_lightning.memorization.measure import measure
from dejavu_lightning.memorization.protocols import MemorizationTest

WARM, STEPS = 2, 30  # steps before the clock starts, and at most so many behind it
RECORDS, PUBLIC = 32, 64  # of the small measurement, at least


@dataclass
class Timing:
    """What the trial found; NaN and 0 where it did not get so far.

    Attributes:
        samples: a second, as the loader alone gives them.
        batch: seconds of training on a batch, with its loading.
        batches: of a whole epoch, on one device.
        checkpoint: bytes.
    """

    samples: float = math.nan
    batch: float = math.nan
    batches: float = math.nan
    checkpoint: int = 0


class TimedSteps(Callback):
    """Times the loader, then a few steps, and ends the training.

    Args:
        seconds: for each of the two.
        folder: where a checkpoint is written and measured.
    """

    def __init__(self, seconds: float, folder: Path) -> None:
        self.seconds, self.folder = seconds, folder
        self.timing = Timing()
        self._times: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read batches for some seconds, behind the first, for which workers start."""
        loader = trainer.train_dataloader
        self.timing.batches = len(loader) if isinstance(loader, Sized) else math.inf
        samples, begun = 0, 0.0
        with long_work("reading batches", None, "sample") as advance:
            for number, batch in enumerate(loader or ()):
                if not number:
                    begun = time.monotonic()
                    continue
                samples += _samples(batch)
                advance(_samples(batch))
                if time.monotonic() - begun > self.seconds:
                    break
        if samples:
            self.timing.samples = samples / (time.monotonic() - begun)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the time, and stop when there are enough."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self._times.append(time.monotonic())
        timed = self._times[WARM - 1 :]
        trainer.should_stop = len(timed) > STEPS or (len(timed) > 1 and timed[-1] - timed[0] > self.seconds)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a checkpoint, as the run would."""
        timed = self._times[WARM - 1 :] if len(self._times) > WARM else self._times
        if len(timed) > 1:
            self.timing.batch = (timed[-1] - timed[0]) / (len(timed) - 1)
        file = self.folder / "trial.ckpt"
        trainer.save_checkpoint(file, weights_only=False)
        self.timing.checkpoint = file.stat().st_size
        file.unlink()


def time_training(
    settings: dict[str, Any], model: LightningModule, data: LightningDataModule, seconds: float, folder: Path
) -> Timing:
    """Train for some seconds, on pictures where features would be cached: computing all of them takes long.

    Args:
        settings: of the trainer, which decide how long a step takes.
        seconds: for the loader and for the steps, each.
        folder: whatever is written is written there.
    """
    timed = TimedSteps(seconds, folder)
    trainer = Trainer(
        **settings,
        default_root_dir=str(folder),
        callbacks=[timed],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    cached = getattr(data, "cached_views", 0)
    data.cached_views = 0  # type: ignore[attr-defined]
    try:
        trainer.fit(model, datamodule=data)
    finally:
        data.cached_views = cached  # type: ignore[attr-defined]
    return timed.timing


def time_measurement(
    model: LightningModule, encode: Any, test: MemorizationTest, sets: MemorizationSets, models: int
) -> float:
    """Estimate the seconds of a whole measurement from a small one.

    Args:
        encode: as in ``MemorizationMonitor``.
        models: how many are attacked, the target among them.
    """
    public = max(PUBLIC, largest_k(test), sets.num_classes if hasattr(sets.public, "labels") else 0)
    small = sets.subsample(RECORDS, public)
    begun = time.monotonic()
    with long_work("a small measurement", None, "sample"):
        measure(ModuleEncoder(model, encode), test, HeldOut(), small)
    return (time.monotonic() - begun) / _size(small) * _size(sets) * models


def _size(sets: MemorizationSets) -> int:
    parts: tuple[Sized | None, ...] = (sets.attack, sets.public, sets.other_split, sets.neither_split)
    return sum(len(part) for part in parts if part is not None)


def _samples(batch: Any) -> int:
    """How many samples a batch holds: the length of the first tensor, or list of texts, in it."""
    if isinstance(batch, dict) and batch:
        return _samples(next(iter(batch.values())))
    if isinstance(batch, list | tuple) and batch and isinstance(batch[0], Tensor | dict | list | tuple):
        return _samples(batch[0])
    return len(batch) if isinstance(batch, Sized) else 1
