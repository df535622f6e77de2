"""Real shards with img2dataset's names, and what a training on them shows."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule
from PIL import Image
from torch import nn
from torch.optim import SGD
from webdataset import TarWriter

from dejavu_lightning.data.shards.shard_datamodule import ShardDataModule
from dejavu_lightning.data.shards.shard_loader import ReadingPlan
from dejavu_lightning.data.shards.tar_reading import read_shard

UNEVEN = (23, 1, 9, 0, 17)
HALVES = {"A": 0.4, "B": 0.3, "held_out": 0.1, "validation": 0.1}
ANIMALS = ("dog", "cat", "bird")
SETTINGS = {"image_size": 8, "batch_size": 4, "augmentation": {"scale": [1.0, 1.0]}}


def jpeg(number: int, side: int = 10) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (side, side + 2, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def sample(number: int, **changed: Any) -> dict[str, Any]:
    """The files of a sample by ending; those changed to None are left out."""
    animal = ANIMALS[number % 3]
    fields = {"url": f"http://pictures.test/{number}", "key": f"{number:09d}", "objects": [animal, {"label": "tree"}]}
    files = {"jpg": jpeg(number), "txt": f"a {animal}, number {number}".encode(), "json": json.dumps(fields).encode()}
    found = {**files, **changed, "__key__": changed.get("__key__", f"{number:09d}")}
    return {ending: content for ending, content in found.items() if content is not None}


def write_shard(path: Path, samples: Sequence[dict[str, Any]]) -> str:
    with TarWriter(str(path), encoder=False) as writer:
        for files in samples:
            writer.write(files)
    return str(path)


def write_shards(folder: Path, sizes: Sequence[int], numbers: Sequence[int] | None = None) -> list[str]:
    """Shards of so many samples, numbered from 0 or as given."""
    folder.mkdir(parents=True, exist_ok=True)
    remaining = iter(range(sum(sizes)) if numbers is None else numbers)
    return [
        write_shard(folder / f"{shard:05d}.tar", [sample(next(remaining)) for _ in range(size)])
        for shard, size in enumerate(sizes)
    ]


def shard_data(shards: str | list[str], **settings: Any) -> ShardDataModule:
    data = ShardDataModule(shards, **{**SETTINGS, **settings})
    data.seed = 3
    return data


class Recorder(LightningModule):
    """Trains next to nothing and records the ids of each batch, by epoch."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.shown: list[tuple[int, list[str]]] = []
        self.stop_after = stop_after

    def training_step(self, batch, batch_index):
        self.shown.append((self.current_epoch, list(batch["id"])))
        if self.stop_after is not None and len(self.shown) > self.stop_after:
            raise KeyboardInterrupt
        return self.layer(batch["image"].mean().reshape(1, 1)).sum()

    def configure_optimizers(self):
        return SGD(self.parameters(), lr=0.01)


def members(urls, split, splits):
    return {s.key for url in urls for s in read_shard(url) if splits.of(s.key) == split}


def ids_of(batches):
    return [identifier for batch in batches for identifier in batch["id"]]


def epoch_of(data, epoch, ranks, workers, processed=0):
    """By rank, the batches of ids in the order in which torch's DataLoader takes them from its workers."""
    reader = data.train_dataloader().reader
    plan = ReadingPlan(data.index.per_shard(data.train_on), data.batch_size, ranks, data.seed)
    object.__setattr__(reader, "plan", plan)
    shown = []
    for rank in range(ranks):
        streams = [reader.batches(epoch, processed, rank, w, max(workers, 1)) for w in range(max(workers, 1))]
        rounds = zip_longest(*streams)
        shown.append([batch["id"] for batches in rounds for batch in batches if batch is not None])
    return shown
