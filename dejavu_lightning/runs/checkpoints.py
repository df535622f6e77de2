"""Checkpoints of a run: their names, and those that a folder holds of an epoch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

LAST = "last.ckpt"  # what a stopped run resumes from; overwritten as it trains
BEST = "best.ckpt"  # what ``MemorizationEarlyStopping`` restored, in its own folder
REQUEUED = "hpc_ckpt_*.ckpt"  # what Lightning saves when SLURM requeues a job
EPOCH = "{epoch:04d}"  # Lightning puts "epoch=" before it


def epoch_name(epoch: int) -> str:
    """As files and folders of a model are called after so many epochs: ``epoch=0040``."""
    return f"epoch={EPOCH.format(epoch=epoch)}"


def epoch_checkpoint(folder: Path, epoch: int) -> Path:
    """Where the checkpoint after so many epochs lies: ``epoch=0040.ckpt``."""
    return folder / f"{epoch_name(epoch)}.ckpt"


def last_epoch(folder: Path) -> int | None:
    """The highest epoch among the names of checkpoints, without reading them; None where no name has one."""
    found = [re.match(r"epoch=(\d+)", file.name) for file in folder.glob("epoch=*.ckpt")]
    return max((int(match[1]) for match in found if match), default=None)


def checkpoint_names(folder: Path) -> list[str]:
    """File names of the checkpoints of a folder, in order; empty where there is none."""
    return sorted(file.name for file in folder.glob("*.ckpt"))


def checkpoints_by_epoch(folder: Path) -> dict[int, Path]:
    """A checkpoint of each epoch that the files themselves tell; of several of an epoch the first by name."""
    return {completed_epochs(load_checkpoint(file)): file for file in sorted(folder.glob("*.ckpt"), reverse=True)}


def kept_checkpoints(folder: Path, epoch: int) -> list[Path]:
    """Those that themselves tell this epoch, without ``last.ckpt``, which does not stay what it is."""
    return [
        file
        for file in folder.glob("*.ckpt")
        if not file.name.startswith(Path(LAST).stem) and completed_epochs(load_checkpoint(file)) == epoch
    ]


def completed_epochs(checkpoint: dict[str, Any]) -> int:
    """How many epochs had been completed when Lightning wrote the checkpoint."""
    try:
        return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except (KeyError, TypeError):
        return int(checkpoint.get("epoch", -1)) + 1


def load_checkpoint(file: Path) -> dict[str, Any]:
    """A Lightning checkpoint on the CPU, without unpickling anything but tensors and plain types."""
    # Imported here: who only needs a file's name does not wait for torch.
    from dejavu_lightning.core.torch_file import read_torch_file

    checkpoint = read_torch_file(file)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        held = f"it holds {', '.join(map(str, list(checkpoint)[:5]))}" if isinstance(checkpoint, dict) else "no mapping"
        raise ValueError(
            f"{file}: not a Lightning checkpoint, it has no 'state_dict' ({held}); weights of others are measured as "
            "--target WeightsFile --target.file, see docs/models.md"
        )
    return checkpoint
