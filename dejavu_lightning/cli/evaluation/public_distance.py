"""How far the picture of each attacked record is from the nearest public one, by the pixels alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from dejavu_lightning.core.progress.long_work import long_work
from dejavu_lightning.core.progress.progress_display import patient_bar
from dejavu_lightning.data.caption_dataset import CaptionDataset
from dejavu_lightning.data.image_dataset import ImageDataset
from dejavu_lightning.data.sources.scan_images import CHUNK, THREADS
from dejavu_lightning.embedding.nearest.neighbors import nearest_neighbors

SIDE = 16  # of a thumbnail: its layout and colours, without the noise of single pixels


def public_distances(attack: ImageDataset | CaptionDataset, public: ImageDataset | CaptionDataset) -> list[float]:
    """The distance of each record's whole picture to the nearest public one: (N,).

    It is the root mean square difference of thumbnails of 16 x 16 pixels, in [0, 1]. No model has a part in it: the
    embeddings of a reference would tell what the reference answers, which is subtracted.
    """
    asked, bank = (_thumbnails(one, what) for one, what in ((attack, "attacked"), (public, "public")))
    squared, _ = nearest_neighbors(asked, bank, 1)
    found: list[float] = (squared[:, 0] / asked.shape[1]).sqrt().tolist()
    return found


def _thumbnails(pictures: ImageDataset | CaptionDataset, what: str) -> Tensor:
    """(N, 768) in [0, 1], whatever the pictures' sizes and shapes."""
    indices = list(pictures.indices)

    def chunk(some: Sequence[int]) -> Tensor:
        with torch.inference_mode():
            return torch.stack([_thumbnail(pictures.source.image(index)) for index in some])

    parts = []
    with (
        ThreadPoolExecutor(THREADS) as threads,
        long_work(f"reading {what} pictures", len(indices), "picture", unasked=patient_bar) as advance,
    ):
        for part in threads.map(chunk, [indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK)]):
            parts.append(part)
            advance(len(part))
    return torch.cat(parts)


def _thumbnail(image: Tensor) -> Tensor:
    small: Tensor = resize(image.float(), [SIDE, SIDE], antialias=True)
    return small.flatten() / 255
