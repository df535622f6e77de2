"""A folder that keeps embeddings with all they depend on, so that another k need not encode again."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dejavu_lightning.core.whole_file import whole_file

Precision = Literal["float32", "float16"]


class KeptEmbeddings:
    """Embeddings of one model and set in a folder of safetensors files, of which any may be deleted.

    On the CPU they are read where they lie, mapped into memory: only what is worked on needs to be there. In a folder
    of the network no other machine may delete a file while one reads it.

    Args:
        folder: is made where there is none.
        provenance: what the embeddings depend on, as JSON holds it: weights, settings, data, ...; ``embed`` adds what
            it knows. Anything else, such as code and the pixels of pictures, must not change while a folder is used.
        precision: ``"float16"`` halves the files and rounds the embeddings, also where they could not be kept, which
            moves near neighbours and so the numbers a little.

    Raises:
        ValueError: the folder cannot be written, or there is no such precision.
    """

    def __init__(
        self, folder: str | Path, provenance: Mapping[str, Any] | None = None, precision: Precision = "float32"
    ) -> None:
        if precision not in get_args(Precision):
            raise ValueError(f"precision={precision!r} is none of {', '.join(get_args(Precision))}")
        self.folder, self.provenance = Path(folder), dict(provenance or {})
        self.dtype: torch.dtype = getattr(torch, precision)
        if precision != "float32":
            self.provenance["precision"] = precision
        self._counts, self._told = Counter[str](), set[str]()
        probe = self.folder / f".{uuid.uuid4().hex}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(bytes(1 << 16))
            probe.unlink()
        except OSError as error:
            raise ValueError(f"{str(folder)!r} is no folder in which embeddings can be kept: {error}") from error

    def __str__(self) -> str:
        rounded = f", rounded to {self.provenance['precision']}" if "precision" in self.provenance else ""
        return f"embeddings: {self._counts['found']} of {self._counts['asked']} sets from {self.folder}{rounded}"

    def with_provenance(self, **more: Any) -> KeptEmbeddings:
        """For embeddings that depend on these as well, or instead; it counts and warns together with this one."""
        other = copy(self)
        other.provenance = json.loads(json.dumps({**self.provenance, **more}))
        return other

    @property
    def path(self) -> Path:
        """The file of this model and set."""
        role = re.sub(r"\W+", "-", str(self.provenance.get("role")))
        told = hashlib.sha256(json.dumps(self.provenance, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{role}-{told[:16]}.safetensors"

    def load(self) -> tuple[Tensor, list[str], list[Any]] | None:
        """Embeddings on the CPU, mapped, ids and facts; None if there are none, or a damaged file, of which it warns.

        Raises:
            ValueError: the file is of another model or set; the message says in what they differ.
        """
        self._counts["asked"] += 1
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in ("embeddings", "samples")}
            if metadata["sha256"] != tensors_hash(tensors, metadata["provenance"]):
                raise ValueError("its content is not what was written")
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            self.warn(f"{self.path} is damaged and is made anew: {error}")
            self.path.unlink(missing_ok=True)
            return None
        written = json.loads(metadata["provenance"])
        for name in {**self.provenance, **written}:
            if (kept := written.get(name)) != (asked := self.provenance.get(name)):
                raise ValueError(
                    f"{self.path} was renamed or copied: its embeddings are of {name}={kept!r}, and those of "
                    f"{name}={asked!r} are asked for; delete it"
                )
        self._counts["found"] += 1
        ids, facts = json.loads(bytes(tensors["samples"].numpy()))
        return tensors["embeddings"], ids, facts

    def save(self, embeddings: Tensor, ids: list[str], facts: list[Any]) -> Tensor:
        """Write (N, D) embeddings, ids and facts at once, or nothing and warn, as where the disk is full.

        Returns:
            The embeddings; of those on the CPU the mapped ones of the file, so that memory need not hold them.

        Raises:
            TypeError: JSON changes the facts, or cannot hold them.
        """
        provenance, content = json.dumps(self.provenance), json.dumps([ids, facts])
        if json.loads(content) != [ids, facts]:
            raise TypeError("embeddings cannot be kept: JSON changes what is known of the samples, as it does tuples")
        samples = torch.frombuffer(bytearray(content.encode()), dtype=torch.uint8)
        tensors = {"embeddings": embeddings.cpu().contiguous(), "samples": samples}
        told = {"provenance": provenance, "sha256": tensors_hash(tensors, provenance)}
        try:
            if not self.path.exists():  # one that another process wrote meanwhile may be mapped there
                with whole_file(self.path, shared=True) as partial:
                    save_file(tensors, partial, told)
            if embeddings.device.type == "cpu":
                with safe_open(self.path, framework="pt") as file:
                    embeddings = file.get_tensor("embeddings")
        except (SafetensorError, OSError) as error:
            self.warn(f"embeddings are not kept in {self.folder}: {error}")
        return embeddings

    def pass_over(self, reason: str) -> None:
        """Count a set that is embedded without looking, and warn."""
        self._counts["asked"] += 1
        self.warn(f"embeddings are not kept: {reason}")

    def warn(self, message: str) -> None:
        """Warn, once."""
        if message not in self._told:
            self._told.add(message)
            warnings.warn(message, stacklevel=2)


def tensors_hash(tensors: Mapping[str, Any], text: str = "") -> str:
    """sha256 of tensors with their names, types and layouts, and of a text; whatever is no tensor is passed over."""
    found = hashlib.sha256(text.encode())
    for name, value in sorted(tensors.items()):
        if isinstance(value, Tensor):
            found.update(f"{name} {value.dtype} {tuple(value.shape)} {value.stride()}\0".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def encode_name(encode: str | Callable[..., Any]) -> str | None:
    """A string as it is, of a function its module and name; None of one that is not found by them, as a lambda."""
    if isinstance(encode, str):
        return encode
    name = getattr(encode, "__qualname__", "<unnamed>")
    return None if "<" in name else f"{encode.__module__}:{name}"
