"""What embeddings depend on, so that kept ones are taken for the same model and data only."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch

from dejavu_lightning.cli.evaluation.trained import MeasuredModel
from dejavu_lightning.embedding.kept import KeptEmbeddings, tensors_hash
from dejavu_lightning.memorization import MemorizationSets


def keep_embeddings(
    kept: KeptEmbeddings, models: Iterable[MeasuredModel], target: MeasuredModel, sets: MemorizationSets
) -> None:
    """Have the encoders of these models keep what they embed of the target's sets."""
    data, split = settings_hash(target.data_settings), sets.trained_on and sets.trained_on.state()
    for model in models:
        preprocessing = model.preprocessing or target.preprocessing
        model.encoder.kept = kept.with_provenance(
            weights=tensors_hash(model.encoder.module.state_dict()),
            model=settings_hash(model.model_settings),
            device=_computing_on(model.encoder.device),
            data=data,
            split=split,
            preprocessing=preprocessing and asdict(preprocessing),
        )


def settings_hash(settings: Any) -> str:
    """sha256 of settings as JSON, and of the content of all files that they name."""
    found = hashlib.sha256(json.dumps(settings, default=str).encode())
    for name in sorted(set(_texts(settings))):
        if os.path.isfile(name):
            with open(name, "rb") as file:
                found.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _computing_on(device: torch.device) -> str:
    """What decides how numbers are rounded."""
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    return f"{device.type}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def _texts(settings: Any) -> Iterator[str]:
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, Mapping | list | tuple):
        for part in settings.values() if isinstance(settings, Mapping) else settings:
            yield from _texts(part)
