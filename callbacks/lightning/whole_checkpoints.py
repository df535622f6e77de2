"""Checkpoints that are written whole or not at all."""

from __future__ import annotations

import io
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer

from dejavu_lightning.core.whole_file import whole_file


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's own, which takes its detour over the run's folder.

    Lightning writes a checkpoint into the folder of temporary files and moves it. Where that is another disk, the move
    is a copy: a kill or a full disk in its midst leaves half a ``last.ckpt`` in place of the whole one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a local path at once; elsewhere as Lightning does."""
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        written = io.BytesIO()  # torch.save's own writer turns a full disk into an error of another kind
        torch.save(checkpoint, written)
        try:
            with whole_file(path) as partial, partial.open("wb") as file:
                file.write(written.getbuffer())
        except OSError as error:
            raise OSError(
                f"the checkpoint {path} cannot be written: {error.strerror or error}. The earlier ones are whole: make "
                "room or the folder writable, and continue from last.ckpt with --ckpt_path"
            ) from error


def write_whole_checkpoints(trainer: Trainer) -> None:
    """Have a trainer write its checkpoints so, unless its strategy or a plugin writes them in a way of its own."""
    # By name: the class exists twice, in lightning and in pytorch_lightning.
    if type(trainer.strategy.checkpoint_io).__name__ == "TorchCheckpointIO":
        trainer.strategy.checkpoint_io = WholeCheckpointIO()
