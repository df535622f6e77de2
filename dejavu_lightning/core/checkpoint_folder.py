"""Tell what a folder is that stands where a file of weights is expected, and how to make one file of it."""

from __future__ import annotations

import shlex
from pathlib import Path


def is_sharded(folder: Path) -> bool:
    """Whether a folder is one checkpoint: FSDP and DeepSpeed write each process's share into a file of its own."""
    return (folder / ".metadata").is_file() or _is_deepspeed(folder)


def explain_folder(folder: Path) -> str:
    """Say what the folder is, and the command that makes of it a file that can be read."""
    name, target = shlex.quote(str(folder)), shlex.quote(f"{folder}.consolidated")
    if (folder / ".metadata").is_file():
        # Its index is a pickle, which this package does not read.
        command = (
            f"python -m lightning.pytorch.utilities.consolidate_checkpoint {name} --output_file {target}"
            if (folder / "meta.pt").is_file()
            else f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {name} {target}"
        )
        return (
            f"{folder} is a folder, the sharded checkpoint that FSDP or torch.distributed.checkpoint writes. If you "
            f"trust where it is from, make one file of it and name that:\n  {command}"
        )
    if _is_deepspeed(folder):
        convert = "from lightning.pytorch.utilities.deepspeed import convert_zero_checkpoint_to_fp32_state_dict as c"
        command = (
            "python -c " + shlex.quote(f"{convert}; c({str(folder)!r}, {str(folder) + '.consolidated'!r})")
            if (folder / "checkpoint").is_dir()
            else f"python {shlex.quote(str(folder / 'zero_to_fp32.py'))} {name} {target}"
        )
        return (
            f"{folder} is a folder, the sharded checkpoint that DeepSpeed writes. If you trust where it is from, make "
            f"one file of it where DeepSpeed is installed, and name that:\n  {command}"
        )
    held = sorted(file.name for file in folder.iterdir())
    if "config.json" in held:
        return f"{folder} is a folder with a config.json, as transformers and open_clip keep models, not a checkpoint"
    listed = ", ".join(held[:5]) + (", ..." if len(held) > 5 else "") if held else "nothing"
    return f"{folder} is a folder, not a file; it holds {listed}; name one file"


def _is_deepspeed(folder: Path) -> bool:
    return (folder / "zero_to_fp32.py").is_file() or any(folder.glob("*/*mp_rank_*_model_states.pt"))
