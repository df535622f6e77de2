"""The encoder whose embeddings are made into pictures again, and the data of its run, from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser

from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.encoders import EncodeSpec, ModuleEncoder
from dejavu_lightning.embedding.kept import tensors_hash
from dejavu_lightning.runs.checkpoints import load_checkpoint
from dejavu_lightning.runs.run_folder import CONFIG, config_above

SECTIONS = ("model", "data")


class EncoderRun(NamedTuple):
    """What a run of ``fit`` left.

    Attributes:
        encoder: the trained model, encoding as its run was measured.
        sets: of its memorization measurements.
        fingerprint: tells its weights from others.
    """

    encoder: ModuleEncoder
    sets: MemorizationSets
    fingerprint: str


def weights_fingerprint(checkpoint: dict[str, Any]) -> str:
    """Tell the weights of a checkpoint from others, whatever its file is called."""
    return tensors_hash(checkpoint["state_dict"])[:16]


def read_encoder_run(file: str) -> EncoderRun:
    """Build the model and the data that a checkpoint's run had, by the config above it.

    Raises:
        FileNotFoundError: there is no such checkpoint, or no config above it.
        ValueError: the config has no model or no data, the weights do not fit, or the data offer no sets.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(
            f"data.encoder={file}: there is no such checkpoint; train one, as by pair --config "
            "configs/quickstart.yaml, or name that of another run"
        )
    config = config_above(path)
    if config is None:
        raise FileNotFoundError(f"data.encoder={file}: no {CONFIG} in a folder above it says how it was trained")
    checkpoint = load_checkpoint(path, intact=True)
    saved = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    lacking = [section for section in SECTIONS if section not in saved]
    if lacking:
        raise ValueError(f"{config} has no section {', '.join(lacking)}; it has {', '.join(saved)}")
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
    parser.add_argument("--encode", type=EncodeSpec, default=None)
    given = {section: saved[section] for section in SECTIONS}
    given["encode"] = (saved.get("memorization") or {}).get("encode")
    built = parser.instantiate_classes(parser.parse_object(given))
    if not hasattr(built.data, "memorization_sets"):
        raise ValueError(f"{config}: {type(built.data).__name__} has no memorization_sets() to take public pictures of")
    encoder = ModuleEncoder(built.model, built.encode)
    encoder.load(checkpoint["state_dict"], file)
    return EncoderRun(encoder, built.data.memorization_sets(), weights_fingerprint(checkpoint))
