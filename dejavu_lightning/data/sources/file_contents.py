"""Which of many files hold the same bytes, found without reading most of them whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.core.progress.long_work import long_work
from dejavu_lightning.core.progress.progress_display import patient_bar
from dejavu_lightning.data.sources.image_index import FileContents, IntArray
from dejavu_lightning.data.sources.scan_images import CHUNK, THREADS

BLOCK = 4096  # bytes from the middle, where compressed pixels are: headers are alike in many pictures


def file_contents(paths: Sequence[Path]) -> FileContents:
    """Compare files by their sizes, those of one size by a block of their middle, those of one block by all bytes.

    A file that cannot be read is like no other; whoever decodes it says so.
    """
    sizes = np.array(_each(paths, _size, "looking for duplicates, by size"), dtype=np.int64)
    alike = _repeated(sizes)
    for read, how in ((_middle, "by content"), (_whole, "byte by byte")):
        doing = f"looking for duplicates, {how}"
        alike = alike[sizes[alike] >= 0]
        digests = np.array(_each([paths[i] for i in alike.tolist()], read, doing), dtype=np.uint64)
        again = _repeated(digests)
        alike, digests = alike[again], digests[again]
    same_as = np.arange(len(paths), dtype=np.int64)
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    same_as[alike] = alike[first[which]]
    return FileContents(sizes, same_as)


def digest(*parts: bytes) -> int:
    """64 bits of a hash of bytes."""
    state = blake2b(digest_size=8)
    for part in parts:
        state.update(part)
    return int.from_bytes(state.digest())


def _each(paths: Sequence[Path], read: Callable[[Path], int], doing: str) -> list[int]:
    def chunk(start: int) -> list[int]:
        return [read(path) for path in paths[start : start + CHUNK]]

    found: list[int] = []
    with (
        ThreadPoolExecutor(THREADS) as threads,
        long_work(doing, len(paths), "file", unasked=patient_bar) as advance,
    ):
        for part in threads.map(chunk, range(0, len(paths), CHUNK)):
            found += part
            advance(len(part))
    return found


def _repeated(values: NDArray[np.int64] | NDArray[np.uint64]) -> IntArray:
    """Positions of the values that occur more than once, ascending."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[which] > 1)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _middle(path: Path) -> int:
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - BLOCK) // 2)
            return digest(b"%d " % size, file.read(BLOCK))
    except OSError:
        return digest(os.fsencode(path))


def _whole(path: Path) -> int:
    try:
        return digest(path.read_bytes())
    except OSError:
        return digest(os.fsencode(path))
