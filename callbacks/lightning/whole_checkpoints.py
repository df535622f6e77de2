"""Checkpoints that are written whole or not at all, and read only if they still are what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer

from dejavu_lightning.core.torch_file import check_intact
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
        try:
            with whole_file(path) as partial, partial.open("wb") as file:
                stream = _Stream(file)
                torch.save(checkpoint, cast(BinaryIO, stream))
                stream.raise_failure()
        except OSError as error:
            raise OSError(
                f"the checkpoint {path} cannot be written: {error.strerror or error}. The earlier ones are whole: make "
                "room or the folder writable, and continue from last.ckpt with --ckpt_path"
            ) from error

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint to resume from; a local file is compared with its checksums first.

        Raises:
            ValueError: it is damaged.
        """
        if "://" not in str(path) and Path(path).is_file():
            check_intact(path)
        return super().load_checkpoint(path, *arguments, **options)


class _Stream:
    """What ``torch.save`` writes to: a full disk, which its own writer tells as an error of another kind, ends it.

    Nothing is kept in memory: a copy of the whole checkpoint might not fit beside it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, unless something could not be written before."""
        if self.failure is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.failure = error
        return len(data)

    def flush(self) -> None:
        """Left to the closing of the file."""

    def raise_failure(self) -> None:
        """Raise what went wrong, if something did."""
        if self.failure is not None:
            raise self.failure


def write_whole_checkpoints(trainer: Trainer) -> None:
    """Have a trainer write its checkpoints so, unless its strategy or a plugin writes them in a way of its own."""
    # By name: the class exists twice, in lightning and in pytorch_lightning.
    if type(trainer.strategy.checkpoint_io).__name__ == "TorchCheckpointIO":
        trainer.strategy.checkpoint_io = WholeCheckpointIO()
