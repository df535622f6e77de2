"""What several benchmarks need: the speed of a training, and JPEG files to train on."""

import os
import time
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback
from PIL import Image

from dejavu_lightning.data import Scenes


class Clock(Callback):
    """Seconds between the end of a warm-up and the last step."""

    def __init__(self, warmup, steps):
        self.warmup, self.steps, self.marks = warmup, steps, {}

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step in (self.warmup, self.steps):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.marks[trainer.global_step] = time.perf_counter()

    def per_second(self, batch):
        return (self.steps - self.warmup) * batch / (self.marks[self.steps] - self.marks[self.warmup])


def write_pictures(root: Path, count: int, side: int, painted: int | None = None) -> None:
    """Write ``count`` JPEG files, ``side`` pixels wide, in a folder a class; after ``painted`` they are links."""
    painted = min(painted or count, count)
    scenes = Scenes(painted, image_size=64)
    for index in range(count):
        first = index % painted
        folder = root / f"{int(scenes.labels[first]):02d}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{index}.jpg"
        if index != first:
            os.link(folder / f"{first}.jpg", file)
            continue
        pixels = scenes.image(index).permute(1, 2, 0).numpy().astype(np.uint8)
        Image.fromarray(pixels).resize((side, side * 3 // 4)).save(file, quality=90)
