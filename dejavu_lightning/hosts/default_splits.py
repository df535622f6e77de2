"""How a host's data are cut where nothing is said: numbers of each split, and what of a picture is attacked."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from dejavu_lightning.data.caption_datamodule import CaptionDataModule
from dejavu_lightning.data.crops import Corner
from dejavu_lightning.data.image_datamodule import ImageDataModule
from dejavu_lightning.data.partition.duplicates import DuplicatePolicy
from dejavu_lightning.data.partition.near_duplicates import NearDuplicates
from dejavu_lightning.data.sources.caption_source import CaptionSource
from dejavu_lightning.data.sources.image_source import Source

UNEVEN = 3  # times smaller than the median: classes that are worth a word
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
    min_per_class: int = 0,
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
        min_per_class: leave out classes with fewer pictures to attack.
        corner: attack this corner of each picture; of pictures without any boxes the top left one.
        min_crop_side: background crops must be wider and higher, in pixels; 100, or a quarter of the pictures'
            median side where that is less, if not given.
        image_size: side in pixels of what the encoder takes, where no transform is given.
        settings: more arguments of :class:`~dejavu_lightning.data.image_datamodule.ImageDataModule`, such as
            ``split_seed``, ``manifest`` or ``duplicates``.

    Raises:
        TypeError: there is no such setting.
        ValueError: a class has too few pictures; it is named.
    """
    _check_settings(settings)
    boxed = np.array([len(boxes) > 0 for boxes in source.boxes])
    if corner is None and not boxed.any():
        corner = CORNER
    attackable = source.labels.numpy()[boxed] if corner is None else source.labels.numpy()
    sizes = np.bincount(attackable, minlength=len(source.class_names))
    smallest = int(min(sizes[sizes >= min_per_class], default=0))
    if per_class is None and not settings.get("manifest"):
        _tell_small_classes(source.class_names, sizes, smallest)
    side = crop_side(source, np.flatnonzero(boxed)) if min_crop_side is None and corner is None else min_crop_side
    return ImageDataModule(
        source,
        train_on=train_on,
        per_class=max(1, int(A_SHARE * smallest)) if per_class is None else per_class,
        held_out_per_class=int(HELD_OUT_SHARE * smallest) if held_out_per_class is None else held_out_per_class,
        min_per_class=min_per_class,
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


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Name a misspelt setting beside what may have been meant."""
    known = [*inspect.signature(image_data).parameters, *inspect.signature(ImageDataModule).parameters]
    for name in settings:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3)
            told = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(sorted(set(known)))}"
            raise TypeError(f"MemorizationData has no setting {name}={settings[name]!r}; {told}")


def _tell_small_classes(class_names: Sequence[str], sizes: NDArray[np.int64], smallest: int) -> None:
    """Say where one small class makes the splits of all classes small."""
    usual = int(np.median(sizes))
    if 0 < smallest * UNEVEN <= usual:
        small = np.flatnonzero(sizes * UNEVEN <= usual).tolist()
        named = ", ".join(f"{class_names[one]!r} ({sizes[one]})" for one in small[:3])
        rank_zero_info(
            f"MemorizationData: as many pictures are taken of every class as the smallest allows, {smallest} of which "
            f"can be attacked, where half of the classes have {usual} or more. min_per_class="
            f"{usual // UNEVEN + 1} leaves out {named}{', ...' if len(small) > 3 else ''}"
        )


def crop_side(source: Source, boxed: Any) -> float:
    """100 pixels, or a quarter of the median side of some pictures where that is less.

    Args:
        boxed: positions of pictures with boxes.
    """
    some = np.asarray(boxed)[:: max(1, len(boxed) // 100)]
    return float(min(SIDE, np.median(source.sizes[some.tolist()].min(axis=1)) / 4))
