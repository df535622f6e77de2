"""How many batches and steps a training has on the devices that a config asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from dejavu_lightning.cli.doctor.machine_checks import GPUS


def batches_of_epoch(batches: float, devices: int, limit: float | None) -> float:
    """What one device trains on in an epoch; ``limit`` as Lightning takes it, a share or for each device a number."""
    each = batches if math.isinf(batches) else math.ceil(batches / devices)
    if isinstance(limit, int):
        return min(each, limit)
    return each if limit is None or math.isinf(each) else int(each * limit)


def steps_and_batches(each: int, epochs: int, together: int, max_steps: int | None) -> tuple[int, int]:
    """Steps of the optimiser, the last of an epoch of fewer batches than ``together``, and their batches."""
    steps = math.ceil(each / together)
    total = epochs * steps
    if max_steps is not None and 0 <= max_steps < total:
        whole, rest = divmod(max_steps, steps)
        return max_steps, whole * each + rest * together
    return total, epochs * each


def count_devices(trainer: Mapping[str, Any]) -> int:
    """How many devices Lightning takes here: a number, a list, "0,1", or "auto" and -1 for all GPUs."""
    devices = trainer.get("devices")
    if isinstance(devices, list):
        return len(devices)
    told = str(devices)
    if "," in told:
        return len([one for one in told.split(",") if one.strip()])
    if told.isdecimal():
        return max(int(told), 1)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return max(gpus, 1) if str(trainer.get("accelerator")) in (*GPUS, "auto") else 1
