"""Datasets over a source of captions: augmented pictures for training, model-ready ones for the tests."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from dejavu_lightning.core.random_stream import random_stream
from dejavu_lightning.core.samples import DisplaySample
from dejavu_lightning.data.sources.caption_source import CaptionSource, captions_of
from dejavu_lightning.data.sources.tables.source_column import source_column

Sample = dict[str, Any]
Transform = Callable[[Tensor], Tensor]
Augment = Callable[[Tensor, int], Tensor]
Tokenizer = Callable[[list[str]], Tensor]
CAPTION_STREAM = 1  # keeps the draw of a caption apart from those of the transform, which stay as they are


class TrainingCaptionDataset(Dataset[Sample]):
    """Captioned pictures by (position, epoch).

    Items: ``image`` as ``transform`` gives it, ``aspect`` width / height of the original, ``caption``,
    ``id``. Whatever a transform draws at random depends on seed, epoch and id alone, and so does the caption.

    Args:
        sampling: draw one of all captions of a picture anew each epoch, instead of showing its own.
    """

    def __init__(
        self,
        source: CaptionSource,
        indices: Sequence[int],
        transform: Transform,
        seed: int,
        sampling: bool = False,
    ) -> None:
        self.source, self.indices, self.transform, self.seed = source, list(indices), transform, seed
        self.captions = captions_of(source) if sampling else None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        position, epoch = key
        about = self.about(position, epoch)
        image = self.source.image(self.indices[position])
        return training_sample(image, about["caption"], about["id"], self.transform, (self.seed, epoch))

    def about(self, position: int, epoch: int) -> Sample:
        """What is known of a sample without reading its picture."""
        index = self.indices[position]
        identifier = self.source.ids[index]
        if self.captions is None:
            return {"caption": self.source.captions[index], "id": identifier}
        return {"caption": drawn_caption(self.captions[index], identifier, (self.seed, epoch)), "id": identifier}


def drawn_caption(captions: Sequence[str], identifier: str, stream: tuple[int, int]) -> str:
    """One of a picture's captions, each as likely as the others.

    After Wang et al. (2025, arXiv 2502.07830), who mitigate memorization in the text domain.

    Args:
        captions: all that there are.
        identifier: the picture's id.
        stream: the seed and the epoch; nothing else decides.
    """
    generator = np.random.default_rng([CAPTION_STREAM, *stream, zlib.crc32(identifier.encode())])
    return captions[int(generator.integers(len(captions)))]


def training_sample(
    image: Tensor, caption: str, identifier: str, transform: Transform, stream: tuple[int, int]
) -> Sample:
    """One item of a training batch; image uint8 (3, H, W), ``stream`` the seed and the epoch."""
    aspect = torch.tensor(image.shape[2] / image.shape[1], dtype=torch.float32)
    with random_stream(*stream, zlib.crc32(identifier.encode())):
        return {"image": transform(image), "aspect": aspect, "caption": caption, "id": identifier}


def collate(samples: Sequence[Sample], tokenizer: Tokenizer | None = None) -> Sample:
    """A training batch; with a tokenizer it has ``tokens`` (B, L), made where the pictures are decoded."""
    batch: Sample = default_collate(list(samples))
    return batch if tokenizer is None else {**batch, "tokens": tokenizer(batch["caption"])}


class CaptionDataset(Dataset[Sample]):
    """Captioned pictures as the tests show them to an encoder.

    Items: ``image`` as ``transform`` gives it, ``caption``, ``id``, ``objects`` and ``named`` (int64 arrays of
    positions in the vocabulary), and ``label`` where the source has labels.

    Args:
        transform: uint8 (3, H, W) to what the encoder takes; None leaves the images out, so that none is decoded.
        augment: (picture, count) -> views of training, for :meth:`views`.
    """

    def __init__(
        self,
        source: CaptionSource,
        indices: Sequence[int],
        transform: Transform | None,
        augment: Augment | None = None,
    ) -> None:
        self.source, self.indices, self.transform, self.augment = source, list(indices), transform, augment

    @property
    def ids(self) -> list[str]:
        """(N,)."""
        return [self.source.ids[index] for index in self.indices]

    @property
    def captions(self) -> list[str]:
        """(N,)."""
        return [self.source.captions[index] for index in self.indices]

    def column(self, name: str) -> list[str | None]:
        """(N,) what the source says of each in a column of its own, as one of its table."""
        return source_column(self.source, name, self.indices)

    def without_images(self) -> CaptionDataset:
        """The same samples without images."""
        return CaptionDataset(self.source, self.indices, None)

    def views(self, position: int, count: int) -> Tensor:
        """Draw training views of sample ``position``: (count, 3, image_size, image_size) normalised."""
        if self.augment is None:
            raise ValueError("these pictures have no training views: the datamodule gave no augmentation")
        return self.augment(self.source.image(self.indices[position]), count)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Sample:
        index = self.indices[position]
        sample: Sample = {
            "caption": self.source.captions[index],
            "id": self.source.ids[index],
            "objects": self.source.objects[index],
            "named": self.source.named[index],
        }
        if self.source.labels is not None:
            sample["label"] = self.source.labels[index]
        if self.transform is not None:
            sample["image"] = self.transform(self.source.image(index))
        return sample

    def display(self, position: int) -> DisplaySample:
        """Sample ``position`` as people should see it."""
        index = self.indices[position]
        names = self.source.object_names
        return DisplaySample(
            image=self.source.image(index).permute(1, 2, 0).numpy(),
            caption=self.source.captions[index],
            objects=tuple(names[o] for o in self.source.objects[index].tolist()),
            named=tuple(names[o] for o in self.source.named[index].tolist()),
        )
