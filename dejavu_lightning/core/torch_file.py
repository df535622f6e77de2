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
from safetensors.torch import load_file

from dejavu_lightning.core.checkpoint_folder import explain_folder

SCALAR: Any = np.float64(0).__reduce__()[0]  # how NumPy restores its scalars
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
# How a file begins that was never one of weights, or is not all there.
LFS, ARCHIVE = b"version https://git-lfs", b"PK"


def read_torch_file(file: str | Path) -> Any:
    """What a file holds: tensors, on the CPU, and plain values; nothing is unpickled beyond those.

    A function or class that the file only names, as an optimizer's settings may, is neither imported nor called: a
    class without content stands in its place. Objects of other classes, such as a module among the hyper-parameters of
    a Lightning checkpoint, are not made either, but instances of it. A file that calls anything is refused.

    Args:
        file: of ``torch.save``, or ``.safetensors``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, the file is of neither kind, is cut off, or calls functions; the message names them.
    """
    path = Path(file)
    if path.is_dir():
        raise ValueError(explain_folder(path))
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _unpickled(path)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever the parsers trip over in a damaged file
        raise ValueError(f"{file}: {_reason(path, error)}") from error


def check_intact(file: str | Path) -> None:
    """Compare what a file of ``torch.save`` holds with its checksums, which ``torch.load`` passes over.

    The file is read from end to end. Files without checksums, as of before torch 1.6 or written with
    ``torch.serialization.set_crc32_options(False)``, pass.

    Raises:
        ValueError: a part differs.
    """
    if not _is_archive(Path(file)):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as member:
                    while entry.CRC and member.read(1 << 20):
                        pass
    except Exception as error:  # whatever the parser trips over in a damaged file
        raise ValueError(
            f"{file} is damaged, it is not what was written: {error}. Get it again, or take another checkpoint; a disk "
            "that did this once may do it again"
        ) from error


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
    mapped = _is_archive(path)
    if mapped:
        _check_stored(path)
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


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # of a damaged end
        return False


def _check_stored(path: Path) -> None:
    """Refuse what would unpack to more than it is: a few kilobytes can become all memory."""
    with zipfile.ZipFile(path) as archive:
        packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise ValueError(f"{packed[0]!r} in it is packed, which torch.save does not do")


class _StandIn:
    """Of an object that a file holds nothing is kept."""

    def __new__(cls, *_: Any) -> _StandIn:
        """Whatever the object was made of."""
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Whatever it held."""


class _Uncallable(type):
    """Of the classes that stand for what a file names: instances are made by unpickling only, never by a call."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise pickle.UnpicklingError(f"GLOBAL {cls.__name__} was not an allowed global")


def _placeholder(name: str) -> type:
    """Stands for what a file names, and its instances for objects of that class."""
    return _Uncallable(name, (_StandIn,), {})


def _reason(path: Path, error: Exception) -> str:
    if not _is_archive(path):
        refused = _named_in(error)
        if "persistent_load" in str(error):  # the format from before torch 1.6 keeps a module's source with it
            refused = ["a whole module"]
        return _refusal(refused) if refused else _not_weights(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/")[1:2] for name in archive.namelist()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return "is a damaged archive; get it again"
    if ["constants.pkl"] in names:
        return "a TorchScript file, not weights; name it as TorchScriptFile"
    if ["data.pkl"] not in names:
        return "an archive, but not one that torch.save writes"
    with torch.serialization.safe_globals(INERT):
        try:
            refused = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except Exception:  # it unpickles in its own way, and trips over what is damaged
            refused = []
    if not refused:
        return f"cannot be read ({str(error).partition(chr(10))[0]})"
    return _refusal(refused)


def _not_weights(path: Path) -> str:
    """Of a file that is no archive: what it may be instead."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(LFS))
    if not size:
        return "is empty: it was not written to its end, or not copied; get it again"
    if start == LFS:
        return "is a pointer of Git LFS, not the weights themselves; run git lfs pull where it is from"
    if start.lstrip()[:1] == b"<":
        return "is a web page, not weights: the download was refused or moved; get it again"
    if start.startswith(ARCHIVE) or path.suffix == ".safetensors":
        return f"is cut off or damaged: after its {size:,} bytes the end is missing; get it again"
    return "neither weights of torch.save nor safetensors, or damaged"


def _named_in(error: Exception) -> list[str]:
    """The object that torch's message names, where it cannot list them all."""
    return re.findall(r"GLOBAL (\S+) (?:was not an allowed global|whose module \S+ is blocked)", str(error))[:1]


def _refusal(refused: list[str]) -> str:
    return (
        f"holds objects that would run code when loaded, which is refused: {', '.join(refused) or 'unnamed ones'}. If "
        "you trust where it is from, write its weights alone into another file, once; of a Lightning checkpoint:\n"
        "  import torch; torch.save({k: v for k, v in torch.load(FILE, weights_only=False).items() if k in "
        "('state_dict', 'loops', 'dejavu_lightning')}, OTHER)"
    )
