"""From a source of labelled pictures to training batches of views and the sets of the memorization tests."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from dejavu_lightning.core.preprocessing import Preprocessing, Shown, known
from dejavu_lightning.core.sets import MemorizationSets, UtilitySets
from dejavu_lightning.data.attacked_part import AttackedPart, first_per_class
from dejavu_lightning.data.batches import EpochLoader, EqualBatches
from dejavu_lightning.data.crops import Corner
from dejavu_lightning.data.image_dataset import ImageDataset, TrainingImageDataset
from dejavu_lightning.data.partition.duplicates import DuplicatePolicy, Duplicates
from dejavu_lightning.data.partition.large_classes import LargeClasses
from dejavu_lightning.data.partition.near_duplicates import NearDuplicates
from dejavu_lightning.data.partition.split_files import read_manifest
from dejavu_lightning.data.partition.splits import partition_per_class
from dejavu_lightning.data.resolutions import Resolutions
from dejavu_lightning.data.sources.image_source import Source
from dejavu_lightning.data.split_datamodule import SplitDataModule
from dejavu_lightning.data.views import CropFrom, OriginalCrops, RandomViews, StoredSquare, checked_crop_from


class ImageDataModule(SplitDataModule):
    """Trains on split A or B of a source and offers the attack, public and held-out sets.

    Training batches hold ``views``, a list of normalised (B, 3, image_size, image_size), besides what
    :class:`~dejavu_lightning.data.image_dataset.TrainingImageDataset` gives.

    Args:
        source: the labelled pictures.
        train_on: "A" for the target model, "B" for the reference model; the shared split joins both.
        train_pictures: "whole", or "background": only the background crops that the tests attack, for a
            classifier that serves as reference.
        image_size: side in pixels of what the encoder takes.
        per_class: pictures of each class to train on.
        train_per_class: train on only the first so many of these and leave the others out altogether: models trained on
            less, with the same public, held-out and validation pictures; all ``per_class`` if not given.
        attack_per_class: attack only the first so many records of each class, for the same attack set whatever
            ``train_per_class``; all if not given.
        num_classes: how many classes the source must have, so that a missing folder is noticed; any if not given.
        min_per_class: leave out classes with fewer pictures to attack; 0 for none, so that one too small is an error.
        held_out_per_class: annotated pictures of each class for the control; 0 for none.
        validation_per_class: pictures of each class for measures of utility; 0 for none.
        min_crop_side: a record's background crop must be wider and higher than this many pixels of the
            original picture; 100 suits pictures of some 400 pixels.
        corner: attack a corner of each picture instead of its background, for pictures without boxes:
            "top_left", "top_right", "bottom_left" or "bottom_right".
        corner_fraction: sides of that corner as a share of the picture's.
        batch_size: pictures per step and device.
        views: makes a batch's views on its device; of several, all make theirs, the largest first.
        resolutions: epoch -> side in pixels of the full-size views from that epoch on, as in {0: 160, 50: 192};
            ``image_size`` before the first and if not given. The tests always use ``image_size``.
        crop_from: "square": workers squeeze each picture into a square, from which its views are cropped on the
            device, fastest where views are many or workers few; "original": workers crop each view from the picture's
            own pixels, as the papers' code does: small crops keep their detail.
        storage_size: side in pixels of those squares; at least ``image_size``, more keeps detail in small crops.
            ``image_size`` if not given.
        cached_views: train on features of so many views of each picture, which a frozen backbone (``model.freeze``)
            computes once; 0 draws views anew in every epoch.
        mean, std: per channel, for the tests; the views have their own.
        split_seed: another seed, another partition. Target and reference must share it.
        manifest: a partition to follow instead of drawing one, see
            :func:`~dejavu_lightning.data.partition.split_files.read_manifest`; refused where two splits have copies
            of a picture.
        duplicates: of pictures whose files are the same, "keep" those in one split that there is room for, "drop" all
            but one, or "refuse" to start.
        near_duplicates: take pictures that look alike for the same too.
        num_workers: processes that decode pictures for training.
        pin_memory, persistent_workers: as in torch's ``DataLoader``.

    Raises:
        ValueError: arguments contradict each other, or a class has too few pictures; the message names it.

    Example:
        >>> from dejavu_lightning.data import Scenes
        >>> data = ImageDataModule(Scenes(200), per_class=4, min_crop_side=8)
        >>> {split: len(ids) for split, ids in data.manifest.members.items() if ids}
        {'A': 40, 'B': 40, 'public': 120}
    """

    def __init__(
        self,
        source: Source,
        train_on: Literal["A", "B"] = "A",
        train_pictures: Literal["whole", "background"] = "whole",
        image_size: int = 32,
        per_class: int = 30,
        train_per_class: int | None = None,
        attack_per_class: int | None = None,
        num_classes: int | None = None,
        min_per_class: int = 0,
        held_out_per_class: int = 0,
        validation_per_class: int = 0,
        min_crop_side: float = 100,
        corner: Corner | None = None,
        corner_fraction: float = 0.3,
        batch_size: int = 256,
        views: RandomViews | list[RandomViews] | None = None,
        resolutions: dict[int, int] | None = None,
        crop_from: CropFrom = "square",
        storage_size: int | None = None,
        cached_views: int = 0,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        split_seed: int = 0,
        manifest: str | None = None,
        duplicates: DuplicatePolicy = "keep",
        near_duplicates: NearDuplicates | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
        persistent_workers: bool = True,
    ) -> None:
        super().__init__(train_on, batch_size, cached_views)
        if cached_views and resolutions:
            raise ValueError(f"cached_views={cached_views} are of one size: leave resolutions={resolutions} out")
        if num_classes is not None and len(source.class_names) != num_classes:
            raise ValueError(
                f"{type(source).__name__} has {len(source.class_names)} classes, num_classes={num_classes} are asked "
                f"for; the first is {source.class_names[0]!r}, the last {source.class_names[-1]!r}"
            )
        given = views if isinstance(views, list) else [views or RandomViews(image_size, mean=mean, std=std)]
        if not given or given[0].image_size != image_size:
            raise ValueError(
                f"image_size={image_size} must be the size of the (first) views, got "
                f"{[view.image_size for view in given]}: "
                "the tests would show the encoder pictures of another size than training does"
            )
        if train_pictures not in ("whole", "background"):
            raise ValueError(f"train_pictures must be 'whole' or 'background', got {train_pictures!r}")
        trained = per_class if train_per_class is None else train_per_class
        if attack_per_class is not None and not 1 <= attack_per_class <= trained:
            raise ValueError(
                f"attack_per_class must be between 1 and the {trained} pictures of each class that are trained on, got "
                f"{attack_per_class}"
            )
        if manifest and train_per_class is not None:
            raise ValueError(
                f"train_per_class={train_per_class} is of no use beside manifest, which says who is trained on"
            )
        self.train_pictures, self.attack_per_class = train_pictures, attack_per_class
        attackable = np.array([corner is not None or len(boxes) > 0 for boxes in source.boxes])
        source = LargeClasses(source, attackable, min_per_class) if min_per_class else source
        self.views = nn.ModuleList(given)
        self.resolutions = Resolutions(image_size, resolutions or {})
        self.source, self.image_size = source, image_size
        self.min_crop_side, self.crop_from = min_crop_side, checked_crop_from(crop_from)
        self.storage_size = storage_size or image_size
        if crop_from == "square" and self.storage_size < self.resolutions.largest:
            raise ValueError(
                f"storage_size={self.storage_size} is below the {self.resolutions.largest} pixels of the largest "
                "views: they would be blown up from less"
            )
        self.corner, self.corner_fraction = corner, corner_fraction
        self.preprocessing = Preprocessing(image_size, mean, std)
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self.persistent_workers = persistent_workers and num_workers > 0
        self.duplicates = Duplicates.of(source, duplicates, near_duplicates)
        self.manifest = (
            read_manifest(manifest, source.ids)
            if manifest
            else partition_per_class(
                source.ids,
                source.labels,
                attackable,
                source.class_names,
                per_class=per_class,
                held_out_per_class=held_out_per_class,
                validation_per_class=validation_per_class,
                train_per_class=train_per_class,
                seed=split_seed,
                duplicates=self.duplicates,
            )
        )
        self.record = self.manifest.record(train_on, source.ids, getattr(source, "contents", None))
        self._indices = self.manifest.positions(source.ids)
        self.duplicates.check(self._indices, f"manifest={manifest!r}")

    def setup(self, stage: str) -> None:
        """Leave the partition in the run folder, as ``splits.parquet``, and say what the source is made of."""
        self.leave_partition(self.manifest, self.source, self.duplicates.told(self._indices))

    def train_dataloader(self) -> EpochLoader:
        """Shuffled batches of the training split and the shared split; the incomplete last one is dropped.

        The order depends on the seed and the epoch alone, so a resumed run sees what an uninterrupted one does.
        """
        indices, crops = self._indices[self.train_on], None
        if self.train_pictures == "background":
            indices, crops = self._background(self.train_on)
        else:
            indices = indices + self._indices["shared"]
        pixels = (
            StoredSquare(self.storage_size)
            if self.crop_from == "square"
            else OriginalCrops(self._makers, self.resolutions, self.seed)
        )
        pictures = TrainingImageDataset(self.source, indices, pixels, crops)
        ranks, rank = self.ranks
        if len(pictures) < self.batch_size * ranks:
            raise ValueError(
                f"batch_size={self.batch_size} on {ranks} devices exceeds the {len(pictures)} pictures of split "
                f"{self.train_on!r}: there would be no step"
            )
        loader = EpochLoader(
            pictures,
            EqualBatches(len(pictures), self.batch_size, ranks, rank, self.seed),
            epoch=self.epoch,
            processed=self.processed_batches,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            persistent_workers=self.persistent_workers,
        )
        return self.cached(loader)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Add the views, made on the device that the batch arrived on."""
        if "features" in batch:
            return {**batch, "views": list(batch["features"].unbind(1))}
        if self.crop_from == "original":
            crops: list[Tensor] = batch["crops"]
            self.views.to(crops[0].device)
            makers = [maker for maker in self._makers for _ in range(maker.num_views)]
            views = [maker.of_crops(crop) for maker, crop in zip(makers, crops, strict=True)]
            return {**{name: value for name, value in batch.items() if name != "crops"}, "views": views}
        image: Tensor = batch["image"]
        self.views.to(image.device)
        views = [
            view
            for maker in self._makers
            for view in maker(image, batch["aspect"], self.resolutions.side(maker.image_size, self.epoch()))
        ]
        return {**batch, "views": views}

    @property
    def _makers(self) -> list[RandomViews]:
        makers: Any = self.views
        return list(makers)

    def utility_sets(self, preprocessing: Shown | None = None) -> UtilitySets:
        """Whole public pictures to learn from; the validation pictures, else the held-out ones, to test on.

        Args:
            preprocessing: as in :meth:`memorization_sets`.
        """
        shown: Shown = preprocessing or self.preprocessing
        validation = "validation" if self._indices["validation"] else "held_out"
        if not self._indices[validation]:
            raise ValueError("measuring utility needs pictures to test on: set data.validation_per_class")
        return UtilitySets(
            train=self._whole("public", shown),
            validation=self._whole(validation, shown),
            num_classes=len(self.source.class_names),
            class_names=list(self.source.class_names),
            trained_on=self.record,
        )

    def memorization_sets(self, preprocessing: Shown | None = None) -> MemorizationSets:
        """Background crops of the own, the other and no training split, and whole public pictures.

        Args:
            preprocessing: of an encoder that takes other pictures than those of training, or its transform.
        """
        shown: Shown = preprocessing or self.preprocessing
        maker: Any = deepcopy(self.views[0]).cpu()  # pictures are decoded there, wherever training makes its views
        augment = partial(maker.of_one, storage_size=self.storage_size if self.crop_from == "square" else None)

        def crops(split: str, per_class: int | None = None) -> ImageDataset:
            return ImageDataset(self.source, *self._background(split, per_class), shown, augment)

        attack = crops(self.train_on, self.attack_per_class)
        return MemorizationSets(
            attack=attack,
            public=self._whole("public", shown),
            num_classes=len(self.source.class_names),
            other_split=crops(self.other_split, self.attack_per_class),
            neither_split=crops("held_out") if self._indices["held_out"] else None,
            class_names=list(self.source.class_names),
            trained_on=self.record,
            excluded=len(self._first(self.train_on, self.attack_per_class)) - len(attack),
            preprocessing=known(shown),
            in_preprocessing=self.memorization_sets,
        )

    def _whole(self, split: str, shown: Shown) -> ImageDataset:
        return ImageDataset(self.source, self._indices[split], None, shown)

    def _first(self, split: str, per_class: int | None) -> list[int]:
        return first_per_class(self._indices[split], self.source.labels, per_class)

    def _background(self, split: str, per_class: int | None = None) -> tuple[list[int], NDArray[Any]]:
        """The records of a split that leave something to attack, and where: (n,) and (n, 4) pixels."""
        where = AttackedPart(self.min_crop_side, self.corner, self.corner_fraction)
        return where.of(self.source, self._first(split, per_class), f"split {split!r}")
