"""A trained model as its run left it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
import yaml
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser

from dejavu_lightning.callbacks import MemorizationMonitor
from dejavu_lightning.memorization import MemorizationSets, ModuleEncoder, SplitRecord
from dejavu_lightning.memorization.references import load_checkpoint
from dejavu_lightning.utility import UtilitySets


class MeasuredData(Protocol):
    """A datamodule that offers the pictures of both kinds of measurement."""

    def memorization_sets(self) -> MemorizationSets: ...

    def utility_sets(self) -> UtilitySets: ...


class TrainedModel(NamedTuple):
    """A model as its run left it: what it was, what it was trained on, how it was measured."""

    file: Path
    checkpoint: dict[str, Any]
    encoder: ModuleEncoder
    data: MeasuredData
    monitor: MemorizationMonitor

    def sets(self) -> MemorizationSets:
        """The attacked and public sets, those of the run's own measurements."""
        sets = self.data.memorization_sets()
        self._check(sets.trained_on)
        monitor = self.monitor
        return sets.subsample(monitor.max_records, monitor.max_public, monitor.seed)

    def utility_sets(self) -> UtilitySets:
        """The pictures that probes learn from and are tested on."""
        sets = self.data.utility_sets()
        self._check(sets.trained_on)
        return sets

    def _check(self, given: SplitRecord | None) -> None:
        recorded = SplitRecord.find(self.checkpoint)
        if recorded is not None and recorded != given:
            raise ValueError(f"{self.file} was trained on {recorded}, the data of its config give {given}")

    def history(self) -> list[dict[str, float]]:
        """The curve that the run measured, as far as the checkpoint."""
        states = self.checkpoint.get("callbacks", {})
        found = [state for key, state in states.items() if key.startswith("MemorizationMonitor")]
        return list(found[0]["history"]) if found else []


def load_model(file: str, config: str | None = None, device: str = "auto") -> TrainedModel:
    """Rebuild a trained model from its checkpoint and its run's resolved config.

    Args:
        file: a checkpoint.
        config: the config; if not given, the nearest ``config.yaml`` in the folders above the checkpoint.
        device: where the model is put, as torch names it; "auto" is a GPU where there is one.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {file}")
    nearby = [folder / "config.yaml" for folder in path.resolve().parents]
    source = Path(config) if config else next((candidate for candidate in nearby if candidate.is_file()), None)
    if source is None or not source.is_file():
        raise FileNotFoundError(f"no config for {file}: {config or 'config.yaml in a folder above it'} does not exist")
    saved = yaml.safe_load(source.read_text())
    parser = LightningArgumentParser(exit_on_error=True)
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
    parser.add_lightning_class_args(MemorizationMonitor, "memorization")
    parsed = parser.parse_object({key: saved[key] for key in ("model", "data", "memorization")})
    built = parser.instantiate_classes(parsed)
    checkpoint = load_checkpoint(path)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder = ModuleEncoder(built.model.to(device), built.memorization.encode)
    encoder.load(checkpoint["state_dict"], file)
    return TrainedModel(path, checkpoint, encoder, built.data, built.memorization)
