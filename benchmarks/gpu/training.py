"""Small trainings that several sections run."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything

from dejavu_lightning.data import CaptionDataModule, ImageDataModule, ObjectScenes, RandomViews, Scenes
from dejavu_lightning.methods import (
    BYOL,
    CLIP,
    DINO,
    BarlowTwins,
    ClipOptimizerConfig,
    OptimizerConfig,
    SimCLR,
    Supervised,
    Temperature,
    VICReg,
)
from gpu.checks import Setting

PLAIN = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
NETWORK = {"backbone": "small_resnet", "backbone_options": {"widths": (16, 32)}, "image_size": 32}
METHODS: dict[str, tuple[type[LightningModule], dict[str, Any]]] = {
    "vicreg": (VICReg, {}),
    "barlow_twins": (BarlowTwins, {}),
    "simclr": (SimCLR, {}),
    "byol": (BYOL, {"predictor_widths": (32,)}),
    "dino": (DINO, {"prototypes": 64, "teacher_warmup_epochs": 0}),
    "supervised": (Supervised, {"num_classes": 10}),
}


def trainer(setting: Setting, folder: Any, **options: Any) -> Trainer:
    """A quiet trainer on the device."""
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    settings = {"default_root_dir": folder, "accelerator": setting.accelerator, "devices": 1, **quiet}
    return Trainer(**{**settings, **options})


def small_method(name: str, **options: Any) -> LightningModule:
    """A method of this package with a small network, the same weights every time."""
    torch.manual_seed(0)
    if name == "clip":
        optimizer = ClipOptimizerConfig(lr=1e-3, warmup_steps=2)
        return CLIP(model="dejavu-tiny", temperature=Temperature(initial=0.2), optimizer=optimizer, **options)
    method, own = METHODS[name]
    optimizer = OptimizerConfig("adamw", base_lr=0.01, warmup_epochs=0)
    return method(**{"projector_widths": (64, 32), "optimizer": optimizer, **NETWORK, **own, **options})


def small_data(name: str, **options: Any) -> Any:
    """Painted scenes for such a method, in the same order every time."""
    seed_everything(0, verbose=False)
    if name == "clip":
        views = RandomViews(48, num_views=1, scale=(0.4, 1.0), **PLAIN)
        sizes = {"per_split": 60, "held_out": 30, "batch_size": 20}
        return CaptionDataModule(ObjectScenes(240), image_size=48, views=views, **sizes, **PLAIN, **options)
    settings = {"per_class": 8, "held_out_per_class": 5, "validation_per_class": 5, "min_crop_side": 6}
    views = RandomViews(32, scale=(0.2, 1.0), blur=0.3, solarize=0.1, **PLAIN)
    return ImageDataModule(Scenes(400), batch_size=20, views=views, **settings, **PLAIN, **options)


def weights(module: LightningModule) -> dict[str, torch.Tensor]:
    """The state of a module, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that are not bitwise the same."""
    return [name for name in sorted(one.keys() | other.keys()) if not _same(one.get(name), other.get(name))]


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)
