"""Datasets over a source: pictures for training, model-ready ones for the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import normalize, resize, to_pil_image

from dejavu_lightning.core.preprocessing import Interpolation, Preprocessing, Shown
from dejavu_lightning.core.samples import DisplaySample
from dejavu_lightning.data.sources.image_source import Source
from dejavu_lightning.data.sources.tables.source_column import source_column

Sample = dict[str, Any]
Augment = Callable[[Tensor, int, Preprocessing], Tensor]
Pixels = Callable[[Tensor, str, int], Sample]


class TrainingImageDataset(Dataset[Sample]):
    """Pictures by (position, epoch), as batches hold them.

    Items: ``label``, ``id``, and what ``pixels`` makes of the picture.

    Args:
        pixels: (picture, id, epoch) -> items of one size, so that they batch: ``StoredSquare`` or ``OriginalCrops``.
        crops: as in :class:`ImageDataset`.
    """

    def __init__(
        self, source: Source, indices: Sequence[int], pixels: Pixels, crops: NDArray[Any] | None = None
    ) -> None:
        self.source, self.indices, self.pixels = source, list(indices), pixels
        self.crops = _whole_pixels(crops)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        position, epoch = key
        index = self.indices[position]
        image = _cut(self.source.image(index), self.crops, position)
        return {**self.pixels(image, self.source.ids[index], epoch), **self.about(position, epoch)}

    def about(self, position: int, epoch: int) -> Sample:
        """What is known of a sample without reading its picture, the same in every epoch."""
        index = self.indices[position]
        return {"label": self.source.labels[index], "id": self.source.ids[index]}


class ImageDataset(Dataset[Sample]):
    """Pictures as the tests show them to an encoder: whole, or only a crop of each.

    Items: ``image`` float32 (3, image_size, image_size), normalised; ``label``; ``id``. A crop is cut out
    before it is resized, so no pixel outside it reaches the encoder.

    Args:
        crops: (len(indices), 4) pixels as x0, y0, x1, y1; None shows whole pictures.
        preprocessing: of the encoder; everything is squeezed into its square. Or a transform of the host's own, which
            is given the picture, or its crop, as PIL has it.
        augment: (picture, count, preprocessing) -> views of training, for :meth:`views`.
    """

    def __init__(
        self,
        source: Source,
        indices: Sequence[int],
        crops: NDArray[Any] | None,
        preprocessing: Shown,
        augment: Augment | None = None,
    ) -> None:
        self.source, self.indices, self.preprocessing = source, list(indices), preprocessing
        self.crops, self.augment = _whole_pixels(crops), augment

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return self.source.labels[self.indices]

    @property
    def ids(self) -> list[str]:
        """(N,)."""
        return [self.source.ids[index] for index in self.indices]

    def column(self, name: str) -> list[str | None]:
        """(N,) what the source says of each in a column of its own, ``class`` or a column of its file."""
        return source_column(self.source, name, self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Sample:
        index = self.indices[position]
        return {
            "image": made_ready(self.shown(position), self.preprocessing),
            "label": self.source.labels[index],
            "id": self.source.ids[index],
        }

    def whole(self) -> ImageDataset:
        """The same pictures without crops."""
        return ImageDataset(self.source, self.indices, None, self.preprocessing, self.augment)

    def views(self, position: int, count: int) -> Tensor:
        """Draw training views of sample ``position``, whole: (count, 3, image_size, image_size) normalised."""
        if self.augment is None or not isinstance(self.preprocessing, Preprocessing):
            raise ValueError("these pictures have no training views: the datamodule gave no augmentation")
        return self.augment(self.source.image(self.indices[position]), count, self.preprocessing)

    def shown(self, position: int) -> Tensor:
        """What sample ``position`` shows, in its own size: uint8 (3, h, w), the picture or its crop."""
        return _cut(self.source.image(self.indices[position]), self.crops, position)

    def display(self, position: int) -> DisplaySample:
        """Sample ``position`` as people should see it."""
        index = self.indices[position]
        return DisplaySample(
            image=self.source.image(index).permute(1, 2, 0).numpy(),
            boxes=np.asarray(self.source.boxes[index]),
            crop=None if self.crops is None else self.crops[position],
            objects=(self.source.class_names[int(self.source.labels[index])],),
        )


def _whole_pixels(crops: NDArray[Any] | None) -> NDArray[np.int64] | None:
    return None if crops is None else np.round(crops).astype(np.int64)


def _cut(image: Tensor, crops: NDArray[np.int64] | None, position: int) -> Tensor:
    if crops is None:
        return image
    x0, y0, x1, y1 = crops[position]
    return image[:, y0:y1, x0:x1]


def made_ready(picture: Tensor, shown: Shown) -> Tensor:
    """What an encoder takes of a picture uint8 (3, H, W)."""
    if not isinstance(shown, Preprocessing):
        transformed: Tensor = shown(to_pil_image(picture))
        return transformed
    image = square(picture.float() / 255, shown.image_size, shown.interpolation)
    normalized: Tensor = normalize(image, list(shown.mean), list(shown.std))
    return normalized


def square(image: Tensor, size: int, interpolation: Interpolation = "bilinear") -> Tensor:
    """Squeeze a picture (3, H, W) into a square of ``size`` pixels; one of that size stays as it is."""
    if tuple(image.shape[1:]) == (size, size):
        return image
    resized: Tensor = resize(image, [size, size], InterpolationMode(interpolation), antialias=True)
    # Bicubic overshoots at edges; a picture has no such values.
    return resized.clamp(0, 1) if interpolation == "bicubic" else resized
