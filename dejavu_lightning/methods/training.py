"""Log the loss and build the optimiser and its schedule, linear warm-up and cosine, for every method."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

LOOK_EVERY = 50


def log_loss(module: LightningModule, loss: Tensor, batch_size: int, over_ranks: bool = False) -> Tensor:
    """Log the training loss, averaged over ranks where it differs between them, and hand it back.

    Raises:
        FloatingPointError: the loss is NaN or infinite, so every later step would be wasted. On an
            accelerator only every 50 steps, because looking waits for the device.
    """
    looks = loss.device.type == "cpu" or module.global_step % LOOK_EVERY == 0
    if looks and not torch.isfinite(loss):
        raise FloatingPointError(
            f"the training loss is {loss.item()} at epoch {module.current_epoch}, step {module.global_step}: training "
            "has diverged. Lower the optimizer's learning rate or lengthen its warm-up; with 16-bit precision, try bf16"
        )
    module.log(
        "train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=batch_size, sync_dist=over_ranks
    )
    return loss


def create_optimizer(module: LightningModule, name: str, **options: Any) -> torch.optim.Optimizer:
    """Build timm's optimiser of what is trained of a module; 1-D tensors and scalars get no weight decay."""
    created: torch.optim.Optimizer = create_optimizer_v2(module, opt=name, **options)
    return created


def is_trial(module: LightningModule) -> bool:
    """Tell whether Lightning only tries a batch or two, ``fast_dev_run``, for which no warm-up is short enough."""
    return bool(getattr(module.trainer, "fast_dev_run", False))


def planned_steps(module: LightningModule) -> int:
    """Count the optimiser steps of the whole training.

    Raises:
        ValueError: nobody has said when training ends.
    """
    trainer = module.trainer
    if trainer.train_dataloader is None:  # Lightning has not needed it yet where max_steps is given
        trainer.fit_loop.setup_data()
    planned = trainer.estimated_stepping_batches
    if not math.isfinite(planned):
        raise ValueError("the schedule needs to know when training ends: set trainer.max_epochs or trainer.max_steps")
    return int(planned)


def warmup_cosine(
    optimizer: torch.optim.Optimizer, warmup: int, steps: int, final_lr: float, asked: str
) -> dict[str, Any]:
    """Describe to Lightning an optimiser whose learning rate follows linear warm-up, then cosine, by step.

    Args:
        optimizer: its learning rate is the peak.
        warmup: steps of linear warm-up from 1/1000 of the peak.
        steps: of the whole training; the rest is a cosine.
        final_lr: where the cosine ends.
        asked: the setting that errors about the warm-up name.

    Raises:
        ValueError: the warm-up leaves nothing for the cosine.
    """
    if not 0 <= warmup < max(steps, 1):
        raise ValueError(
            f"{asked} takes {warmup} of the {steps} training steps: nothing is left for the schedule; lower it, or "
            "train longer"
        )
    cosine = CosineAnnealingLR(optimizer, max(steps - warmup, 1), eta_min=final_lr)
    schedule = (
        SequentialLR(optimizer, [LinearLR(optimizer, 1e-3, total_iters=warmup), cosine], milestones=[warmup])
        if warmup
        else cosine
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
