"""Public pictures beside their embeddings: what a diffusion model is trained on."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import Dataset

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.progress.long_work import tracked
from dejavu_lightning.core.samples import Samples, subsample
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.data.batches import EpochLoader, EqualBatches
from dejavu_lightning.embedding.embed import check_not_collapsed, embed, labelled_image
from dejavu_lightning.embedding.encoders import preserve_state
from dejavu_lightning.reconstruction.encoder_run import read_encoder_run

EMBED_BATCH = 250  # as the tests embed


class MadeFor(NamedTuple):
    """What a diffusion model turns into pictures.

    Attributes:
        encoder: file of the encoder whose embeddings these are, for messages.
        fingerprint: of its weights.
        width: of an embedding.
        image_size: side of the pictures in pixels.

    Example:
        >>> MadeFor("encoder.ckpt", "0123456789abcdef", width=256, image_size=32).width
        256
    """

    encoder: str
    fingerprint: str
    width: int
    image_size: int


class Pictures(NamedTuple):
    """Whole pictures as people see them.

    Attributes:
        pixels: (N, 3, S, S) uint8.
        labels: (N,).

    Example:
        >>> import torch
        >>> Pictures(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 1])).pixels.shape
        torch.Size([2, 3, 32, 32])
    """

    pixels: Tensor
    labels: Tensor


def as_pictures(sets: MemorizationSets, image_size: int) -> MemorizationSets:
    """The same sets in pictures of one side, their pixels in [-1, 1].

    Raises:
        ValueError: they cannot be made anew.
    """
    half = (0.5, 0.5, 0.5)
    return sets.shown_to("the diffusion model", Preprocessing(image_size, half, half))


def read_pictures(samples: Samples, role: str) -> Pictures:
    """Read all pictures of a set of :func:`as_pictures`; ``role`` is what errors call it.

    Raises:
        TypeError: samples have no label, as those of captions.
    """
    readings = [
        labelled_image(samples[row], row, role)
        for row in tracked(range(len(samples)), f"reading the {role} pictures", "picture")
    ]
    return Pictures(
        to_pixels(torch.stack([reading.input for reading in readings])),
        torch.tensor([reading.facts for reading in readings]),
    )


def to_pixels(values: Tensor) -> Tensor:
    """Values in [-1, 1], others cut, -> uint8."""
    return ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_pixels(pixels: Tensor) -> Tensor:
    """The reverse of :func:`to_pixels`."""
    return pixels.float() / 127.5 - 1


class _PicturesByEpoch(Dataset[dict[str, Tensor]]):
    """Items by (position, epoch), as batches hold them."""

    def __init__(self, pixels: Tensor, embeddings: Tensor) -> None:
        self.pixels, self.embeddings = pixels, embeddings

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        return {"pixels": self.pixels[key[0]], "embedding": self.embeddings[key[0]]}


class PublicPictures(LightningDataModule):
    """Trains on the public pictures of an encoder's run, each beside its embedding.

    The encoder stays as it is, and no picture that it or the other model was trained on is shown. Pictures and
    embeddings are held in memory.

    Args:
        encoder: a checkpoint of ``fit`` or ``pair``; the ``config.yaml`` above it says which pictures are public.
        image_size: side in pixels of the pictures that are made; what the encoder takes if not given.
        max_public: train on at most so many, a class-balanced random part.
        batch_size: pictures per step and device.
        seed: of that part.

    Raises:
        ValueError: a number is below 1.

    Example:
        >>> PublicPictures("runs/quickstart/target/checkpoints/last.ckpt", batch_size=50).batch_size
        50
    """

    def __init__(
        self,
        encoder: str,
        image_size: int | None = None,
        max_public: int | None = None,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in {"image_size": image_size, "max_public": max_public, "batch_size": batch_size}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.encoder, self.image_size, self.max_public = encoder, image_size, max_public
        self.batch_size, self.seed = batch_size, seed
        self.order_seed = torch.initial_seed() % 2**31
        self.made_for: MadeFor | None = None
        self.embeddings = torch.empty(0, 0)

    def setup(self, stage: str) -> None:
        """Embed the public pictures, once.

        Raises:
            FileNotFoundError, ValueError: the encoder's run cannot be read, or its embeddings are all the same.
        """
        if self.made_for is not None:
            return
        run = read_encoder_run(self.encoder)
        own = run.sets.preprocessing
        size = self.image_size or (own.image_size if own else None)
        if size is None:
            raise ValueError("data.image_size must be given: the encoder's data do not say how large pictures are")
        public = subsample(run.sets.public, "public", self.max_public, self.seed)
        shown = subsample(as_pictures(run.sets, size).public, "public", self.max_public, self.seed)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        run.encoder.module.to(device)
        with preserve_state(run.encoder.module):
            found = embed(type(run.encoder)(run.encoder.module, run.encoder.encode), public, "public", EMBED_BATCH, 0)
        check_not_collapsed(found, "public")
        self.embeddings = found.gather()
        self.pixels = read_pictures(shown, "public").pixels
        self.made_for = MadeFor(self.encoder, run.fingerprint, self.embeddings.shape[1], size)

    def train_dataloader(self) -> EpochLoader:
        """Shuffled batches of all pictures; the incomplete last one is dropped.

        Raises:
            ValueError: there are fewer pictures than a batch.
        """
        trainer: Any = self.trainer
        ranks, rank = trainer.world_size, trainer.global_rank
        if len(self.pixels) < self.batch_size * ranks:
            raise ValueError(
                f"batch_size={self.batch_size} on {ranks} devices exceeds the {len(self.pixels)} public pictures"
            )
        return EpochLoader(
            _PicturesByEpoch(self.pixels, self.embeddings),
            EqualBatches(len(self.pixels), self.batch_size, ranks, rank, self.order_seed),
            epoch=lambda: trainer.current_epoch,
            processed=lambda: int(trainer.fit_loop.epoch_loop.batch_progress.current.processed),
        )
