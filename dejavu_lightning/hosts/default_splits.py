"""How a host's data are cut where nothing is said: numbers of each split, and what of a picture is attacked."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from dejavu_lightning.data.caption_datamodule import CaptionDataModule
from dejavu_lightning.data.crops import Corner
from dejavu_lightning.data.image_datamodule import ImageDataModule
from dejavu_lightning.data.partition.duplicates import DuplicatePolicy
from dejavu_lightning.data.partition.near_duplicates import NearDuplicates
from dejavu_lightning.data.sources.caption_source import CaptionSource
from dejavu_lightning.data.sources.image_source import Source

A_SHARE, HELD_OUT_SHARE = 0.3, 0.1  # of the pictures of the smallest class; as much as A remains public
SIDE = 100  # pixels, of background crops, where pictures are large enough; Meehan et al., section 3.2
SHOWN = 224  # pixels, where no transform is given
CORNER: Corner = "top_left"
Split = Literal["A", "B"]


def image_data(
    source: Source,
    train_on: Split = "A",
    per_class: int | None = None,
    held_out_per_class: int | None = None,
    corner: Corner | None = None,
    min_crop_side: float | None = None,
    image_size: int = SHOWN,
    **settings: Any,
) -> ImageDataModule:
    """Cut labelled pictures into splits, and choose what of them is attacked.

    Args:
        source: the labelled pictures.
        train_on: "A", or "B" for a reference model.
        per_class: pictures of each class in A, and as many in B; 3 in 10 of the smallest class if not given.
        held_out_per_class: for the control and the net values; 1 in 10 of the smallest class if not given.
        corner: attack this corner of each picture; of pictures without any boxes the top left one.
        min_crop_side: background crops must be wider and higher, in pixels; 100, or a quarter of the pictures'
            median side where that is less, if not given.
        image_size: side in pixels of what the encoder takes, where no transform is given.
        settings: more arguments of :class:`~dejavu_lightning.data.image_datamodule.ImageDataModule`, such as
            ``split_seed``, ``manifest`` or ``duplicates``.

    Raises:
        ValueError: a class has too few pictures; it is named.
    """
    boxed = np.array([len(boxes) > 0 for boxes in source.boxes])
    if corner is None and not boxed.any():
        corner = CORNER
    attackable = source.labels.numpy()[boxed] if corner is None else source.labels.numpy()
    smallest = int(np.bincount(attackable, minlength=len(source.class_names)).min())
    side = crop_side(source, np.flatnonzero(boxed)) if min_crop_side is None and corner is None else min_crop_side
    return ImageDataModule(
        source,
        train_on=train_on,
        per_class=max(1, int(A_SHARE * smallest)) if per_class is None else per_class,
        held_out_per_class=int(HELD_OUT_SHARE * smallest) if held_out_per_class is None else held_out_per_class,
        corner=corner,
        min_crop_side=SIDE if side is None else side,
        image_size=image_size,
        **settings,
    )


def caption_data(
    source: CaptionSource,
    train_on: Split = "A",
    per_split: int | None = None,
    held_out: int | None = None,
    split_seed: int = 0,
    manifest: str | None = None,
    duplicates: DuplicatePolicy = "keep",
    near_duplicates: NearDuplicates | None = None,
) -> CaptionDataModule:
    """Cut captioned pictures into splits.

    Args:
        source: the captioned pictures.
        train_on: "A", or "B" for a reference model.
        per_split: samples of A, and of B; 3 in 10 if not given.
        held_out: samples for the control and the net values; 1 in 10 if not given.
        split_seed, manifest, duplicates, near_duplicates: as in
            :class:`~dejavu_lightning.data.caption_datamodule.CaptionDataModule`.
    """
    return CaptionDataModule(
        source,
        train_on,
        per_split=int(A_SHARE * len(source)) if per_split is None else per_split,
        held_out=int(HELD_OUT_SHARE * len(source)) if held_out is None else held_out,
        split_seed=split_seed,
        manifest=manifest,
        duplicates=duplicates,
        near_duplicates=near_duplicates,
    )


def crop_side(source: Source, boxed: Any) -> float:
    """100 pixels, or a quarter of the median side of some pictures where that is less.

    Args:
        boxed: positions of pictures with boxes.
    """
    some = np.asarray(boxed)[:: max(1, len(boxed) // 100)]
    return float(min(SIDE, np.median(source.sizes[some.tolist()].min(axis=1)) / 4))
