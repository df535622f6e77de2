"""Files of ``torch.save`` and safetensors, read without running anything that they contain."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

SCALAR: Any = np.float64(0).__reduce__()[0]  # type: ignore[operator, index]  # how NumPy restores its scalars
# Plain values that training scripts store beside the weights; none of them runs anything.
INERT: list[Any] = [
    argparse.Namespace,
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
    type(np.dtype(np.int64)),
    (SCALAR, "numpy.core.multiarray.scalar"),
    (SCALAR, "numpy._core.multiarray.scalar"),
    *(
        (kind, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")  # of Python 3.13
        for kind, name in ((PurePosixPath, "PosixPath"), (PureWindowsPath, "WindowsPath"))
    ),
]


def read_torch_file(file: str | Path) -> Any:
    """What a file holds: tensors, on the CPU, and plain values; nothing is unpickled beyond those.

    A function or class that the file only names, as an optimizer's settings may, is neither imported nor called: a
    class without content stands in its place.

    Args:
        file: of ``torch.save``, or ``.safetensors``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of neither kind, or holds other objects; the message names them.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _unpickled(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"{file}: {_reason(path, error)}") from error


@contextmanager
def nothing_unpickled(origin: str) -> Iterator[None]:
    """Meanwhile ``torch.load`` reads tensors and plain values only, whichever library calls it.

    Args:
        origin: what errors call the files that are read.

    Raises:
        ValueError: a file holds other objects.
    """
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    except pickle.UnpicklingError as error:
        raise ValueError(f"{origin}: {_refusal(_named_in(error))}") from error
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _unpickled(path: Path) -> Any:
    # Files from before torch 1.6 are no archives and cannot be mapped.
    mapped = zipfile.is_zipfile(path)
    named: dict[str, type] = {}
    while True:
        try:
            with torch.serialization.safe_globals([*INERT, *((kind, name) for name, kind in named.items())]):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except pickle.UnpicklingError as error:
            new = [name for name in _named_in(error) if name not in named]
            if not new:
                raise
            named.update((name, _placeholder(name)) for name in new)


def _placeholder(name: str) -> type:
    """Stands for what a file names; a file that calls it is refused."""

    def refuse(*_: Any) -> None:
        raise pickle.UnpicklingError(f"GLOBAL {name} was not an allowed global")

    return type(name, (), {"__new__": refuse})


def _reason(path: Path, error: Exception) -> str:
    if not zipfile.is_zipfile(path):
        refused = _named_in(error)
        return _refusal(refused) if refused else "neither weights of torch.save nor safetensors"
    with zipfile.ZipFile(path) as archive:
        if any(name.split("/")[1:2] == ["constants.pkl"] for name in archive.namelist()):
            return "a TorchScript file, not weights; name it as TorchScriptFile"
    with torch.serialization.safe_globals(INERT):
        try:
            refused = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except (ValueError, RuntimeError, pickle.UnpicklingError):
            refused = []
    if not refused:
        return f"cannot be read ({str(error).partition(chr(10))[0]})"
    return _refusal(refused)


def _named_in(error: Exception) -> list[str]:
    """The object that torch's message names, where it cannot list them all."""
    return re.findall(r"GLOBAL (\S+) was not an allowed global", str(error))[:1]


def _refusal(refused: list[str]) -> str:
    return (
        f"holds objects that would run code when loaded, which is refused: {', '.join(refused) or 'unnamed ones'}. If "
        "you trust where it is from, write its weights alone into another file, once: "
        "torch.save(torch.load(FILE, weights_only=False)['state_dict'], OTHER)"
    )
