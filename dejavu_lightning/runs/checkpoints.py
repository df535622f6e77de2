"""Checkpoints of a run: their names, and those that a folder holds of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LAST = "last.ckpt"  # what a stopped run resumes from; overwritten as it trains
UNTRAINED = "untrained.part"  # the weights before the first batch, until that is through
BEST = "best.ckpt"  # what ``MemorizationEarlyStopping`` restored, in its own folder
REQUEUED = "hpc_ckpt_*.ckpt"  # what Lightning saves when SLURM requeues a job
EPOCH = "{epoch:04d}"  # Lightning puts "epoch=" before it


def epoch_name(epoch: int) -> str:
    """As files and folders of a model are called after so many epochs: ``epoch=0040``."""
    return f"epoch={EPOCH.format(epoch=epoch)}"


def epoch_checkpoint(folder: Path, epoch: int) -> Path:
    """Where the checkpoint after so many epochs lies: ``epoch=0040.ckpt``."""
    return folder / f"{epoch_name(epoch)}.ckpt"


def checkpoint_names(folder: Path) -> list[str]:
    """File names of the checkpoints of a folder, in order; empty where there is none."""
    return sorted(file.name for file in folder.glob("*.ckpt"))


def checkpoints_by_epoch(folder: Path) -> dict[int, Path]:
    """A checkpoint of each epoch that the files themselves tell; of several of an epoch ``EpochCheckpoint``'s own.

    Of several of other savers the first by name is taken. Files that were saved within an epoch are of none.
    """
    found: dict[int, Path] = {}
    for file in sorted(folder.glob("*.ckpt")):
        epoch = completed_epochs(load_checkpoint(file))
        if epoch is not None and (epoch not in found or file == epoch_checkpoint(folder, epoch)):
            found[epoch] = file
    return found


def kept_checkpoints(folder: Path, epoch: int) -> list[Path]:
    """Those that themselves tell this epoch, without ``last.ckpt``, which does not stay what it is."""
    return [
        file
        for file in folder.glob("*.ckpt")
        if not file.name.startswith(Path(LAST).stem) and completed_epochs(load_checkpoint(file)) == epoch
    ]


def requeue_checkpoints(folder: Path) -> list[Path]:
    """What Lightning saved in a run folder when SLURM requeued its job, the newest last."""
    numbered = {file: file.stem.rpartition("hpc_ckpt_")[2] for file in folder.glob(REQUEUED)}
    return sorted((file for file, number in numbered.items() if number.isdigit()), key=lambda file: int(numbered[file]))


def completed_epochs(checkpoint: Mapping[str, Any]) -> int | None:
    """How many epochs the model had been trained for; None within an epoch, or where the checkpoint does not tell."""
    epochs, batches = _progress(checkpoint)
    return None if batches else epochs


def training_progress(checkpoint: Mapping[str, Any]) -> str | None:
    """The same in words, such as "8 epochs" or "8 epochs and 3 batches"; None where the checkpoint does not tell."""
    epochs, batches = _progress(checkpoint)
    if epochs is None:
        return None
    return f"{epochs} epochs" + (f" and {batches} batches" if batches else "")


def _progress(checkpoint: Mapping[str, Any]) -> tuple[int | None, int]:
    """Whole epochs, None if unknown, and batches of the one begun since.

    Lightning calls an epoch "processed" after its validation, and one too that ``max_steps`` or a timer cut short:
    only the batches tell whether it is whole.
    """
    try:
        loop = checkpoint["loops"]["fit_loop"]
        epochs = loop["epoch_progress"]["current"]
        processed = int(epochs["processed"])
    except (KeyError, TypeError):
        epoch = checkpoint.get("epoch")
        return (None if epoch is None else int(epoch) + 1), 0
    progress = loop.get("epoch_loop.batch_progress") or {}
    batches = progress.get("current") or {}
    shown = int(batches.get("processed", 0))
    if not shown:  # none since an epoch began
        return processed, 0
    begun = int(epochs.get("ready", processed))
    whole = progress.get("is_last_batch", True) and shown == batches.get("ready", shown)
    return (begun, 0) if whole else (begun - 1, shown)


def load_checkpoint(file: Path, intact: bool = False) -> dict[str, Any]:
    """A Lightning checkpoint on the CPU, without unpickling anything but tensors and plain types.

    Args:
        file: of the checkpoint.
        intact: whether to compare it with its checksums, for who uses its weights; it is read from end to end then.
    """
    # Imported here: who only needs a file's name does not wait for torch.
    from dejavu_lightning.core.torch_file import check_intact, read_torch_file

    checkpoint = read_torch_file(file)
    if intact:
        check_intact(file)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        held = f"it holds {', '.join(map(str, list(checkpoint)[:5]))}" if isinstance(checkpoint, dict) else "no mapping"
        raise ValueError(
            f"{file}: not a Lightning checkpoint, it has no 'state_dict' ({held}); weights of others are measured as "
            "--target WeightsFile --target.file, see docs/guides/models.md"
        )
    return checkpoint
