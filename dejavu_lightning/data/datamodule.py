"""From a source of labelled pictures to training batches of views and the sets of the memorization tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from dejavu_lightning.data.crops import background_crops
from dejavu_lightning.data.pictures import LabelledPictures, TrainingPictures
from dejavu_lightning.data.source import Source
from dejavu_lightning.data.splits import TRAINING_SPLITS, SplitManifest, partition_per_class
from dejavu_lightning.data.views import RandomViews
from dejavu_lightning.memorization.sets import MemorizationSets


class PictureData(LightningDataModule):
    """Trains on split A or B of a source and offers the attack, public and held-out sets.

    Training batches hold ``views``, a list of normalised (B, 3, image_size, image_size), besides what
    :class:`~dejavu_lightning.data.pictures.TrainingPictures` gives.

    Args:
        source: the labelled pictures.
        train_on: "A" for the target model, "B" for the reference model; the shared split joins both.
        image_size: side in pixels of what the encoder takes.
        per_class: pictures of each class to train on.
        held_out_per_class: annotated pictures of each class for the control; 0 for none.
        min_crop_side: a record's background crop must be wider and higher than this many pixels of the
            original picture; 100 suits pictures of some 400 pixels.
        batch_size: pictures per step and device.
        views: makes a batch's views on its device.
        storage_size: side in pixels of the squares that workers hand over; at least ``image_size``, more
            keeps detail in small crops. ``image_size`` if not given.
        mean, std: per channel, for the tests; the views have their own.
        split_seed: another seed, another partition. Target and reference must share it.
        manifest: a saved partition to follow instead of drawing one.
        num_workers: processes that decode pictures for training.
        pin_memory: as in torch's ``DataLoader``.
    """

    def __init__(
        self,
        source: Source,
        train_on: Literal["A", "B"] = "A",
        image_size: int = 32,
        per_class: int = 30,
        held_out_per_class: int = 0,
        min_crop_side: float = 100,
        batch_size: int = 256,
        views: RandomViews | None = None,
        storage_size: int | None = None,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        split_seed: int = 0,
        manifest: str | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        if train_on not in TRAINING_SPLITS:
            raise ValueError(f"train_on must be one of {list(TRAINING_SPLITS)}, got {train_on!r}")
        self.views = views or RandomViews(image_size, mean=mean, std=std)
        if self.views.image_size != image_size:
            raise ValueError(
                f"views.image_size={self.views.image_size} is not image_size={image_size}: "
                "the tests would show the encoder pictures of another size than training does"
            )
        self.source, self.train_on, self.image_size, self.batch_size = source, train_on, image_size, batch_size
        self.min_crop_side, self.storage_size = min_crop_side, storage_size or image_size
        self.mean, self.std, self.num_workers, self.pin_memory = mean, std, num_workers, pin_memory
        boxed = np.array([len(boxes) > 0 for boxes in source.boxes])
        self.manifest = (
            SplitManifest.load(manifest)
            if manifest
            else partition_per_class(
                source.ids,
                source.labels,
                boxed,
                source.class_names,
                per_class=per_class,
                held_out_per_class=held_out_per_class,
                seed=split_seed,
            )
        )
        self.record = self.manifest.record(train_on)
        position = {identifier: index for index, identifier in enumerate(source.ids)}
        missing = [i for ids in self.manifest.members.values() for i in ids if i not in position]
        if missing:
            raise ValueError(f"manifest {manifest}: {len(missing)} ids are not in the source, such as {missing[0]!r}")
        self._indices = {
            split: [position[identifier] for identifier in ids] for split, ids in self.manifest.members.items()
        }

    def setup(self, stage: str) -> None:
        """Leave the partition in the run folder, as ``splits.parquet``."""
        if self.trainer is not None and self.trainer.is_global_zero:
            self.manifest.save(Path(self.trainer.default_root_dir) / "splits.parquet")

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Shuffled batches of the training split and the shared split; the incomplete last one is dropped.

        The order depends on the seed and the epoch alone, so a resumed run sees what an uninterrupted one does.
        """
        pictures = TrainingPictures(
            self.source, self._indices[self.train_on] + self._indices["shared"], self.storage_size
        )
        ranks, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        if len(pictures) < self.batch_size * ranks:
            raise ValueError(
                f"batch_size={self.batch_size} on {ranks} devices exceeds the {len(pictures)} pictures of split "
                f"{self.train_on!r}: there would be no step"
            )
        seed = torch.initial_seed() % 2**31  # the same on every rank
        return DataLoader(
            pictures,
            self.batch_size,
            sampler=DistributedSampler(pictures, ranks, rank, shuffle=True, seed=seed, drop_last=True),
            generator=torch.Generator().manual_seed(seed),  # leaves the global stream to the views
            drop_last=True,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            persistent_workers=self.num_workers > 0,
        )

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Add the views, made on the device that the batch arrived on."""
        image: Tensor = batch["image"]
        return {**batch, "views": self.views.to(image.device)(image, batch["aspect"])}

    def memorization_sets(self) -> MemorizationSets:
        """Background crops of the own, the other and no training split, and whole public pictures."""
        other = TRAINING_SPLITS[1 - TRAINING_SPLITS.index(self.train_on)]
        attack, excluded = self._background(self.train_on)
        return MemorizationSets(
            attack=attack,
            public=self._labelled(self._indices["public"]),
            num_classes=len(self.source.class_names),
            unseen=self._background(other)[0],
            held_out=self._background("held_out")[0] if self._indices["held_out"] else None,
            class_names=list(self.source.class_names),
            trained_on=self.record,
            excluded=excluded,
        )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the training split and the partition's fingerprint."""
        return self.record.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to resume on other data than the checkpoint was trained on."""
        if state_dict != self.record.state():
            raise ValueError(f"the checkpoint was trained on {state_dict}, this run trains on {self.record.state()}")

    def _labelled(self, indices: Sequence[int], crops: Any = None) -> LabelledPictures:
        return LabelledPictures(self.source, indices, self.image_size, self.mean, self.std, crops)

    def _background(self, split: str) -> tuple[LabelledPictures, int]:
        indices = self._indices[split]
        crops = background_crops(
            [self.source.boxes[index] for index in indices],
            self.source.sizes[indices],
            self.min_crop_side,
            names=[self.source.ids[index] for index in indices],
        )
        kept = ~np.isnan(crops[:, 0])
        if not kept.any():
            raise ValueError(
                f"split {split!r}: none of its {len(indices)} records leaves a background crop wider and higher than "
                f"min_crop_side={self.min_crop_side} pixels; lower it, or check that the boxes are in pixels"
            )
        return self._labelled([i for i, keep in zip(indices, kept, strict=True) if keep], crops[kept]), int(
            (~kept).sum()
        )
