"""Pictures from disk: how fast they reach the device as views, and what that makes of a training."""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from typing import Any

import torch
from shared import write_pictures
from torch import Tensor

from dejavu_lightning.data import ImageDataModule, ImageFolder, RandomViews
from dejavu_lightning.data.decode import decode
from gpu.checks import Section, Setting, Skip, in_turns

CHECKS = Section()
END_TO_END_GOAL = 1.3  # of our pictures a second over lightly's


def disk(setting: Setting) -> tuple[Any, int, int]:
    """JPEG files, 500 px wide, and how many processes may decode them."""
    count, painted, side = setting.pick((8000, 300, 500), (400, 100, 64))
    root = setting.scratch / "pictures"
    if not root.exists():
        write_pictures(root, count, side, painted)
    return root, count, setting.pick(max(1, min(14, (os.cpu_count() or 2) - 2)), 1)


@CHECKS.check(seconds=40)
def input_from_disk(setting: Setting, found: dict[str, Any]) -> None:
    """JPEG files, 500 px wide, to views of 224 px on the device: per second, per core, decoded by the GPU."""
    root, count, workers = disk(setting)
    files = sorted(root.rglob("*.jpg"))[: setting.pick(300, 50)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = time.perf_counter()
    for file in files:
        decode(file)
    found["decoded a second by one core"] = len(files) / (time.perf_counter() - start)
    torch.set_num_threads(threads)
    size, batch_size = setting.pick((224, 128), (32, 16))
    data = ImageDataModule(
        ImageFolder(str(root)),
        corner="top_left",
        image_size=size,
        storage_size=size * 8 // 7,
        per_class=count // 20 - 5,
        batch_size=batch_size,
        views=RandomViews(size, blur=0.5, solarize=0.1),
        num_workers=workers,
        pin_memory=setting.on_gpu,
    )
    loader = data.train_dataloader()
    rate = 0.0
    for _ in range(2):  # the first epoch starts the workers
        seen, start = 0, time.perf_counter()
        for batch in loader:
            moved = {
                key: value.to(setting.device) if isinstance(value, Tensor) else value for key, value in batch.items()
            }
            seen += len(data.on_after_batch_transfer(moved, 0)["views"][0])
        setting.synchronize()
        rate = seen / (time.perf_counter() - start)
    found |= {"processes": workers, "to views, pictures/s": rate, "to views, pictures/s a process": rate / workers}
    encoded = [torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8) for file in files]
    if not setting.on_gpu:
        found["decoded by the GPU"] = "there is no GPU"
        return
    from torchvision.io import decode_jpeg

    try:
        decode_jpeg(encoded[:64], device=setting.device)
        setting.synchronize()
        start = time.perf_counter()
        for first in range(0, len(encoded), 64):
            decode_jpeg(encoded[first : first + 64], device=setting.device)
        setting.synchronize()
        found["decoded by the GPU, pictures/s"] = len(encoded) / (time.perf_counter() - start)
    except RuntimeError as error:
        found["decoded by the GPU"] = f"not here: {error}"[:200]


@CHECKS.check(seconds=70)
def end_to_end(setting: Setting, found: dict[str, Any]) -> None:
    """VICReg with ResNet-50 from JPEG files to steps, against lightly's transform and loss, as training.py does."""
    if importlib.util.find_spec("lightly") is None:
        raise Skip("lightly is not installed")
    import training

    root, count, workers = disk(setting)
    options = argparse.Namespace(
        backbone=setting.pick("torchvision/resnet50", "small_resnet"),
        size=setting.pick(224, 32),
        pictures=count,
        batch=setting.pick(128, 16),
        workers=workers,
        steps=setting.pick(40, 2),  # longer than what the workers can have decoded ahead
        warmup=setting.pick(12, 2),
        precision="bf16-mixed",
        compile=False,
        scratch=setting.scratch / "end-to-end",
    )
    own = training.build("vicreg", options)
    plain = training.Plain("vicreg", training.build("vicreg", options))
    sides = {
        "ours": lambda: training.rate(own, options, datamodule=training.our_data("vicreg", root, options)),
        "lightly": lambda: training.rate(
            plain, options, train_dataloaders=training.their_data("vicreg", root, options)
        ),
    }
    rates = in_turns(sides, setting.pick(2, 1))
    found |= {"processes": workers, **{f"{name}, pictures/s": rate for name, rate in rates.items()}}
    ratio = rates["ours"] / rates["lightly"]
    found["ours / lightly"] = ratio
    found["goal"] = f"at least {END_TO_END_GOAL}: {'met' if ratio >= END_TO_END_GOAL else 'missed'}"
