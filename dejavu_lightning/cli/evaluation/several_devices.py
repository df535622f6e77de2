"""Measure on several devices, or machines, each of which embeds a share."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch.distributed as dist
from lightning.fabric import Fabric

from dejavu_lightning.cli.evaluation.trained import chosen_device

TORCHRUN = {"devices": "LOCAL_WORLD_SIZE", "num_nodes": "GROUP_WORLD_SIZE"}


def add_several_devices(parser: Any) -> None:
    """Add the options ``--device``, ``--devices`` and ``--num_nodes``."""
    parser.add_argument("--device", type=str, default="auto", help="such as cpu or cuda:1; auto takes a GPU if any")
    parser.add_argument(
        "--devices",
        type=int,
        default=1,
        help="processes on each machine, each with a device and a share",
    )
    parser.add_argument("--num_nodes", type=int, default=1, help="machines, under SLURM; torchrun says so by itself")


@contextmanager
def several_devices(device: str, devices: int = 1, num_nodes: int = 1) -> Iterator[str]:
    """Run the block in a process for each device, and give it the device of its process.

    Lightning Fabric starts the processes, or finds those that torchrun or SLURM started. The numbers are those of one
    device. Only the first process prints.

    Args:
        device: as :func:`~dejavu_lightning.cli.evaluation.trained.chosen_device` takes it; of several "auto", "cpu" or
            "cuda".
        devices: processes on each machine.
        num_nodes: machines.

    Raises:
        ValueError: there are no such devices, or ``device`` names one of them.
    """
    found = {"devices": devices, "num_nodes": num_nodes}
    if "TORCHELASTIC_RUN_ID" in os.environ:
        found = {name: int(os.environ.get(variable, found[name])) for name, variable in TORCHRUN.items()}
    for name, count in found.items():
        if count < 1:
            raise ValueError(f"--{name} must be at least 1, got {count}")
    if found == {"devices": 1, "num_nodes": 1}:
        yield chosen_device(device)
        return
    kind = chosen_device(device)
    if ":" in device:
        raise ValueError(
            f"--device {device} is a single one, and --devices {devices} are asked for; say auto, cpu or cuda"
        )
    try:
        fabric = Fabric(
            accelerator="cpu" if kind == "cpu" else "gpu",
            strategy="ddp",
            devices=found["devices"],
            num_nodes=found["num_nodes"],
        )
        fabric.launch()
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"--devices {found['devices']} --num_nodes {found['num_nodes']} cannot be used: {reason}"
        ) from error
    try:
        if fabric.is_global_zero:
            yield str(fabric.device)
        else:
            with redirect_stdout(io.StringIO()):
                yield str(fabric.device)
        dist.barrier()  # what gloo still holds of earlier calls could keep the group from being destroyed (torch 2.6)
    finally:
        dist.destroy_process_group()
