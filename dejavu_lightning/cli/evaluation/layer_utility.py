"""The utility of a checkpoint's layers, as ``evaluate.py utility --output`` wrote it."""

from __future__ import annotations

from pathlib import Path

from dejavu_lightning.core.estimate import Estimate, estimates_in
from dejavu_lightning.runs.files import read_json


def read_layer_utility(file: str, checkpoint: str) -> dict[str, Estimate]:
    """Read the metrics that the command wrote about a checkpoint.

    Args:
        file: what it wrote.
        checkpoint: that they must be of.

    Raises:
        FileNotFoundError, ValueError: the file is not there, is of another kind or another checkpoint, or of one layer.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"--utility {file} is not a file; evaluate.py utility --output writes one")
    facts = read_json(Path(file))
    if not isinstance(facts, dict) or not isinstance(facts.get("metrics"), dict):
        raise ValueError(f"--utility {file} is no output of evaluate.py utility: it has no metrics by name")
    probed = str((facts.get("options") or {}).get("checkpoint"))
    if Path(probed).resolve() != Path(checkpoint).resolve():
        raise ValueError(f"--utility {file} is of {probed}, the target is {checkpoint}; probe that one")
    found = estimates_in(facts["metrics"])
    if not any("/" in name for name in found):
        raise ValueError(f"--utility {file} is of one layer; probe all by evaluate.py utility --encode encode_layers")
    return found
