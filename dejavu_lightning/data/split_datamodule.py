"""What every datamodule of this package shares: a training split, and how an epoch is continued."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.split_record import SPLITS_FILE, SplitRecord
from dejavu_lightning.data.account import Account
from dejavu_lightning.data.batches import EpochLoader
from dejavu_lightning.data.cached_views import with_cached_features
from dejavu_lightning.data.partition.splits import SplitManifest

TRAINING_SPLITS = ("A", "B")


class SplitDataModule(LightningDataModule):
    """Trains on one split; a checkpoint says on which, and is only resumed on the same.

    Args:
        train_on: "A" for the target model, "B" for the reference model.
        batch_size: samples per step and device.
        cached_views: train on features of so many views of each sample, see :mod:`dejavu_lightning.data.cached_views`;
            0 draws views anew in every epoch.

    Attributes:
        record: what a checkpoint says of its training data; subclasses set it.
        preprocessing: of the pictures that the tests show, which a checkpoint says too; subclasses set it.
        seed: of the order of the training samples, the same on every rank.
    """

    record: SplitRecord
    preprocessing: Preprocessing

    def __init__(self, train_on: str, batch_size: int, cached_views: int = 0) -> None:
        super().__init__()
        if train_on not in TRAINING_SPLITS:
            raise ValueError(f"train_on must be one of {list(TRAINING_SPLITS)}, got {train_on!r}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if cached_views < 0:
            raise ValueError(f"cached_views must be 0 or more, got {cached_views}")
        self.train_on, self.batch_size, self.cached_views = train_on, batch_size, cached_views
        self.seed = torch.initial_seed() % 2**31

    @property
    def other_split(self) -> str:
        """The training split that this run does not train on."""
        return TRAINING_SPLITS[1 - TRAINING_SPLITS.index(self.train_on)]

    @property
    def ranks(self) -> tuple[int, int]:
        """(number of processes, which one this is)."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def cached(self, loader: EpochLoader) -> EpochLoader:
        """The loader of training, of features that are cached where ``cached_views`` says so."""
        return with_cached_features(loader, self, self.cached_views) if self.cached_views else loader

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: split and partition, the pictures' preprocessing, how an epoch is being cut up."""
        within = self.trainer is not None and 0 < self.processed_batches() < self.trainer.num_training_batches
        told = {**self.record.state(), **self.preprocessing.state()}
        return {**told, "global_batch": self._global_batch(), "within_epoch": bool(within)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to resume on other data than the checkpoint was trained on."""
        given = {key: state_dict.get(key) for key in self.record.state()}
        if given != self.record.state():
            raise ValueError(f"the checkpoint was trained on {given}, this run trains on {self.record.state()}")
        before = state_dict.get("global_batch")
        if state_dict.get("within_epoch") and before != self._global_batch():
            raise ValueError(
                f"the checkpoint was saved within an epoch with a global batch of {before}, now it is "
                f"{self._global_batch()}: which samples this epoch has shown cannot be told. Keep batch_size * devices"
            )

    def leave_partition(self, manifest: SplitManifest, source: Any, *told: str) -> None:
        """Write ``splits.parquet`` into the run folder, and say what the source is made of and ``told``."""
        if self.trainer is not None and self.trainer.is_global_zero:
            manifest.save(Path(self.trainer.default_root_dir) / SPLITS_FILE)
        counts: Mapping[str, int] = getattr(source, "counts", {})
        kind = type(getattr(source, "whole", source)).__name__
        listed = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count]
        if found := [*listed, *filter(None, told)]:
            rank_zero_info(f"{kind}: {', '.join(found)}")
        account: Account | None = getattr(source, "account", None)
        for line in account.lines() if account else ():
            rank_zero_info(f"{kind}: {line}")

    def epoch(self) -> int:
        """Which epoch the training is in, from 0."""
        return self.trainer.current_epoch if self.trainer else 0

    def processed_batches(self) -> int:
        """How many batches of the epoch the training has been through."""
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed)

    def _global_batch(self) -> int:
        return self.batch_size * self.ranks[0]
