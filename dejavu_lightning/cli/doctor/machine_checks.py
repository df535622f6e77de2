"""What the machine has of what a config asks for: accelerators, packages, room for checkpoints."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from dejavu_lightning.cli.doctor.check_results import CheckResult
from dejavu_lightning.cli.errors import DISTRIBUTIONS, EXTRAS
from dejavu_lightning.runs.run_folder import RunFolder

GPUS = ("gpu", "cuda")
# What classes of a config import when they are first used.
PACKAGES = {
    "WandbLogger": "wandb",
    "TensorBoardLogger": "tensorboard",
    "MLFlowLogger": "mlflow",
    "CometLogger": "comet_ml",
    "NeptuneLogger": "neptune",
    "TextEmbedder": "sentence_transformers",
    "EmbeddingDiffusion": "diffusers",
}
TIGHT = 0.8  # of the free space, above which what is to be written leaves little


def check_accelerator(trainer: Mapping[str, Any]) -> CheckResult:
    """The devices and the precision that the trainer's section asks for; settings as Lightning takes them."""
    asked, devices, precision = (str(trainer.get(name)) for name in ("accelerator", "devices", "precision"))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    told = f"accelerator {asked}, devices {devices}, precision {precision}; here: {gpus} GPUs, {os.cpu_count()} cores"
    if asked in GPUS and not gpus:
        return CheckResult("accelerator", told, "problem", "run where a GPU is, or --trainer.accelerator cpu")
    on_gpu = bool(gpus) and asked in (*GPUS, "auto")
    if on_gpu and devices.isdecimal() and int(devices) > gpus:
        return CheckResult("accelerator", told, "problem", f"--trainer.devices {gpus}, or a machine with more")
    if on_gpu and "bf16" in precision and not torch.cuda.is_bf16_supported(including_emulation=False):
        return CheckResult(
            "accelerator", told, "problem", "this GPU lacks bf16: --trainer.precision 16-mixed or 32-true"
        )
    if on_gpu and precision in ("None", "32", "32-true"):
        return CheckResult("accelerator", told, "note", "bf16-mixed is faster on most: docs/guides/gpu.md")
    if gpus and not on_gpu:
        return CheckResult("accelerator", told, "note", "a GPU is not used: --trainer.accelerator gpu")
    return CheckResult("accelerator", told)


def check_packages(config: Mapping[str, Any]) -> list[CheckResult]:
    """Packages that classes of the config need and that nobody imports before the training."""
    named = {path.rpartition(".")[2] for path in _classes(config)}
    found = []
    for name in sorted(named & PACKAGES.keys()):
        module = PACKAGES[name]
        if find_spec(module) is None:
            extra = EXTRAS.get(module)
            wanted = f'"dejavu-lightning[{extra}]"' if extra else DISTRIBUTIONS.get(module, module)
            found.append(CheckResult("packages", f"{name} needs {module}", "problem", f"pip install {wanted}"))
    return found


def check_folder(folder: str) -> CheckResult:
    """Whether a run can be written there."""
    run = RunFolder(folder)
    home = _existing(run.path)
    if run.trained:
        return CheckResult(
            "run folder", f"{run.path} holds a run", "problem", "name another: --trainer.default_root_dir"
        )
    if not os.access(home, os.W_OK):
        return CheckResult(
            "run folder", f"{home} is not writable", "problem", "name another: --trainer.default_root_dir"
        )
    return CheckResult("run folder", f"{run.path} is free")


def check_space(folder: str, size: int, checkpoints: int) -> CheckResult:
    """Whether the checkpoints fit; ``size`` in bytes of one of them."""
    free, wanted = shutil.disk_usage(_existing(Path(folder))).free, size * checkpoints
    told = f"{checkpoints} checkpoints of {_read(size)} are {_read(wanted)}; {_read(free)} are free"
    remedy = "raise memorization.every_n_epochs, or name another --trainer.default_root_dir"
    if wanted > free:
        return CheckResult("disk space", told, "problem", remedy)
    return CheckResult(
        "disk space", told, "note" if wanted > TIGHT * free else "ok", remedy if wanted > TIGHT * free else ""
    )


def _existing(path: Path) -> Path:
    """The folder, or the first above it that is there."""
    return next(one for one in (path.resolve(), *path.resolve().parents) if one.exists())


def _read(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _classes(settings: Any) -> Iterator[str]:
    if isinstance(settings, Mapping):
        if isinstance(settings.get("class_path"), str):
            yield settings["class_path"]
        for part in settings.values():
            yield from _classes(part)
    elif isinstance(settings, list | tuple):
        for part in settings:
            yield from _classes(part)
