"""Which checkpoints a trainer will have kept, and those it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from dejavu_lightning.runs.checkpoints import kept_checkpoints


def cadences(trainer: Trainer) -> dict[str, int]:
    """By class, every how many epochs its checkpoint callbacks save one that they never delete."""
    return {type(saver).__name__: saver.every_n_epochs for saver in _savers(trainer)}


def kept_checkpoint(trainer: Trainer, epoch: int) -> Path | None:
    """The newest checkpoint after so many epochs that stays, None if there is none."""
    found = [file for saver in _savers(trainer) for file in kept_checkpoints(Path(str(saver.dirpath)), epoch)]
    return max(found, key=lambda file: file.stat().st_mtime_ns, default=None)


def _savers(trainer: Trainer) -> list[Any]:
    return [
        saver
        for saver in trainer.checkpoint_callbacks
        if getattr(saver, "save_top_k", None) == -1 and getattr(saver, "every_n_epochs", 0) >= 1
    ]
