"""What of a host's data would go wrong only after hours, or in silence: its transform, and classes without pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dejavu_lightning.core.preprocessing import Preprocessing, Shown
from dejavu_lightning.core.random_stream import random_stream
from dejavu_lightning.core.samples import Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.data.image_datamodule import ImageDataModule
from dejavu_lightning.embedding.host_samples import describe

WANTED = "expected a float tensor (3, H, W), as by torchvision's ToTensor, or ToImage and ToDtype(float32, scale=True)"


def check_transform(sets: MemorizationSets, shown: Shown | None) -> None:
    """Show some pictures of the sets by a host's transform, and refuse what no encoder could take.

    Raises:
        TypeError, ValueError: it fails, gives no tensor or tensors of several shapes, or draws anew each time.
    """
    if shown is None or isinstance(shown, Preprocessing):
        return
    first: tuple[str, Tensor] | None = None
    with random_stream(0):
        for role, samples in (("attacked", sets.attack), ("public", sets.public)):
            for position in sorted({0, len(samples) // 2, len(samples) - 1}) if len(samples) else ():
                where = f"{role} picture {position}"
                image = _made(samples, position, where)
                if first is None:
                    _check_repeats(samples, position, image)
                    first = where, image
                elif image.shape != first[1].shape:
                    raise ValueError(
                        f"transform gives {tuple(first[1].shape)} for {first[0]} and {tuple(image.shape)} for {where}; "
                        "all need one shape, crops too: Resize((S, S)), or Resize(S) and CenterCrop(S)"
                    )


def _made(samples: Samples, position: int, where: str) -> Tensor:
    try:
        image: Any = samples[position]["image"]
    except TypeError as error:
        if str(error).startswith("sample "):  # of the data set, which names it
            raise
        raise TypeError(
            f"transform cannot be applied to {where}: {error}; it is given a PIL picture. Of a function that makes the "
            "transform give what it returns, in YAML by class_path"
        ) from error
    if not isinstance(image, Tensor) or image.ndim != 3 or not image.is_floating_point():
        raise TypeError(f"transform gives {describe(image)} for {where}; {WANTED}")
    return image


def _check_repeats(samples: Samples, position: int, image: Tensor) -> None:
    if not torch.equal(samples[position]["image"], image):
        raise ValueError(
            "transform gives another tensor for one picture each time, as of random crops; give your evaluation "
            "transform, the same for every measurement"
        )


def check_classes(data: ImageDataModule) -> None:
    """Refuse a split, of a manifest of others, that has fewer pictures than there are classes.

    Raises:
        ValueError: naming it.
    """
    classes = len(data.source.class_names)
    for split in (data.train_on, data.other_split, "public"):
        count = len(data.manifest.members.get(split, ()))
        if count < classes:
            raise ValueError(
                f"split {split!r} has {count} pictures for {classes} classes, such as "
                f"{data.source.class_names[0]!r}: at least one of each is needed, to be attacked and found as a "
                "neighbour; give a manifest with more, or leave the classes out"
            )
