"""Embeddings kept on disk under the fingerprint of all they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_warn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

VERSION = "1"


class Kept(NamedTuple):
    """``embeddings`` (N, D) float32; ``ids`` and ``facts`` (N,) as :class:`Embedded` has them."""

    embeddings: Tensor
    ids: list[str]
    facts: list[Any]


class EmbeddingCache:
    """A folder of embeddings, one safetensors file for each model and dataset; any file may be deleted.

    Attributes:
        asked, found: how many sets were looked for, and how many were there.

    Args:
        folder: is made where there is none.

    Raises:
        ValueError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.asked, self.found = Path(folder), 0, 0
        self._told: set[str] = set()
        probe = self.folder / f".{uuid.uuid4().hex}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ValueError(f"cache={str(folder)!r} is no folder that can be written: {error}") from error

    def __str__(self) -> str:
        return f"embeddings: {self.found} of {self.asked} sets from {self.folder}"

    def load(self, key: str, count: int) -> Kept | None:
        """What was saved under this key, on the CPU; None if there is nothing, or nothing whole, which is told.

        Args:
            count: N that there must be.
        """
        self.asked += 1
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                told = file.metadata() or {}
                embeddings, samples = file.get_tensor("embeddings"), file.get_tensor("samples")
            if told != _description(key, embeddings, samples):
                raise ValueError("its content is not what was written")
            facts = json.loads(bytes(samples.numpy()))
            kept = Kept(embeddings, facts["ids"], facts["facts"])
            if not len(kept.embeddings) == len(kept.ids) == len(kept.facts) == count:
                raise ValueError(f"it holds {len(kept.embeddings)} samples, not {count}")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            self.tell(f"{path} is damaged and is made anew: {error}")
            return None
        self.found += 1
        return kept

    def save(self, key: str, kept: Kept) -> None:
        """Write at once or not at all. Facts that JSON changes, or a full disk, are told and nothing is kept."""
        told = {"ids": kept.ids, "facts": kept.facts}
        try:
            content = json.dumps(told)
        except (TypeError, ValueError):
            content = "null"
        if json.loads(content) != told:
            self.tell("embeddings are not kept: what is known of the samples is not what JSON can hold")
            return
        embeddings = kept.embeddings.cpu().contiguous()
        samples = torch.frombuffer(bytearray(content.encode()), dtype=torch.uint8)
        path, part = self._path(key), self.folder / f".{key}.{uuid.uuid4().hex}"
        try:
            description = _description(key, embeddings, samples)
            save_file({"embeddings": embeddings, "samples": samples}, part, description)
            os.replace(part, path)
        except (SafetensorError, OSError) as error:
            self.tell(f"embeddings are not kept in {self.folder}: {error}")
        finally:
            part.unlink(missing_ok=True)

    def passed_over(self, reason: Exception) -> None:
        """A set is embedded without looking, because what it depends on cannot be told."""
        self.asked += 1
        self.tell(f"embeddings are not kept: {reason}")

    def tell(self, warning: str) -> None:
        """Warn, once."""
        if warning not in self._told:
            self._told.add(warning)
            rank_zero_warn(warning)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _description(key: str, embeddings: Tensor, samples: Tensor) -> dict[str, str]:
    content = hashlib.sha256(f"{embeddings.dtype} {tuple(embeddings.shape)}".encode())
    for tensor in (embeddings, samples):
        content.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return {"version": VERSION, "key": key, "sha256": content.hexdigest()}
