"""Checkpoints of Lightning: read without unpickling, and how many epochs they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dejavu_lightning.core.torch_file import read_torch_file


def completed_epochs(checkpoint: dict[str, Any]) -> int:
    """How many epochs had been completed when Lightning wrote the checkpoint."""
    try:
        return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except (KeyError, TypeError):
        return int(checkpoint.get("epoch", -1)) + 1


def load_checkpoint(file: Path) -> dict[str, Any]:
    """A Lightning checkpoint on the CPU, without unpickling anything but tensors and plain types."""
    checkpoint = read_torch_file(file)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"{file}: not a Lightning checkpoint, it has no 'state_dict'")
    return checkpoint
