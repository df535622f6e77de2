"""Pictures that look alike, such as one saved twice: a perceptual hash of each, and the hashes that are close."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torchvision.transforms.v2.functional import resize, rgb_to_grayscale

from dejavu_lightning.core.progress.long_work import long_work
from dejavu_lightning.core.progress.progress_display import patient_bar
from dejavu_lightning.data.sources.image_index import IntArray, write_table
from dejavu_lightning.data.sources.scan_images import CHUNK, THREADS

BITS = 64
FLAT = 4.0  # gray levels between darkest and lightest: a picture of less shows nothing that a hash could compare


@dataclass(frozen=True)
class NearDuplicates:
    """Finds pictures that differ in size, compression or slightly in colour, by the 64 bits of their pHash.

    Whatever is close to a common picture counts as one group. Every picture is decoded once.

    Args:
        distance: two pictures are the same where at most so many of the bits differ, 0 to 15; more finds more, also
            pictures that are merely alike, so look at the examples that are named.
        file: a parquet file that keeps the hashes, so that the next start need not decode the pictures. One of other
            ids is refused; a picture that was replaced under its id goes unnoticed.

    Raises:
        ValueError: ``distance`` is not in [0, 15].

    Example:
        >>> import numpy as np
        >>> from dejavu_lightning.data import Scenes
        >>> NearDuplicates(distance=4).join(Scenes(4), np.arange(4))  # no two of the scenes look alike
        array([0, 1, 2, 3])
    """

    distance: int = 4
    file: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.distance <= 15:
            raise ValueError(f"distance must lie in [0, 15], of the {BITS} bits of a hash, got {self.distance}")

    def join(self, source: Any, same_as: IntArray) -> IntArray:
        """(N,) ``same_as`` with near duplicates joined: the position of the first picture that is the same."""
        pairs = close_pairs(self.hashes(source), self.distance)
        edges = np.concatenate([pairs, np.stack([np.arange(len(same_as)), same_as], axis=1)])
        count = len(same_as)
        graph = coo_array((np.ones(len(edges), dtype=bool), edges.T), shape=(count, count))
        _, group = connected_components(graph, directed=False)
        _, first, which = np.unique(group, return_index=True, return_inverse=True)
        return np.asarray(first[which], dtype=np.int64)

    def hashes(self, source: Any) -> NDArray[np.uint64]:
        """(N,) of the pictures of a source, read from the file or made."""
        if self.file is None:
            return _hash_all(source)
        path = Path(self.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # of several processes one decodes, the others wait for it
            if path.exists():
                table = pq.read_table(path, partitioning=None)
                if table["id"].to_pylist() != list(source.ids):
                    raise ValueError(
                        f"near_duplicates: file={self.file!r} is about other pictures; delete it to have it made anew, "
                        "or name another"
                    )
                return np.asarray(table["hash"].to_numpy(), dtype=np.uint64)
            found = _hash_all(source)
            write_table(pa.table({"id": pa.array(list(source.ids), pa.string()), "hash": found}), path)
            return found


def perceptual_hash(image: Tensor) -> int:
    """The pHash of a picture, uint8 (3, H, W): signs of its lowest 8 x 8 frequencies about their median.

    0 is that of a picture of one colour.
    """
    small = resize(rgb_to_grayscale(image).float(), [32, 32], antialias=True)[0].numpy()
    if small.max() - small.min() < FLAT:
        return 0
    low = dctn(small)[:8, :8].ravel()
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes())


def close_pairs(hashes: NDArray[np.uint64], distance: int) -> IntArray:
    """(M, 2) positions of pictures whose hashes differ in at most ``distance`` bits, enough to connect all such.

    Of ``distance + 1`` bands of the bits, two such hashes share one: only hashes with a band in common are compared.
    """
    values, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    found = [np.stack([first[which], np.arange(len(hashes))], axis=1)[hashes != 0]]
    shown = np.flatnonzero(values != 0)
    ends = np.linspace(0, BITS, distance + 2).astype(int)
    for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        band = (values[shown] >> np.uint64(start)) & np.uint64(2 ** (stop - start) - 1)
        order = shown[np.argsort(band, kind="stable")]
        band = np.sort(band)
        left = np.arange(len(order) - 1)
        step = 1
        while len(left := left[left + step < len(order)]):
            left = left[band[left] == band[left + step]]
            one, other = order[left], order[left + step]
            close = np.bitwise_count(values[one] ^ values[other]) <= distance
            found.append(np.stack([first[one[close]], first[other[close]]], axis=1))
            step += 1
    return np.concatenate(found).astype(np.int64)


def _hash_all(source: Any) -> NDArray[np.uint64]:
    count = len(source.ids)

    def chunk(start: int) -> list[int]:
        with torch.inference_mode():
            return [perceptual_hash(source.image(i)) for i in range(start, min(start + CHUNK, count))]

    found: list[int] = []
    with (
        ThreadPoolExecutor(THREADS) as threads,
        long_work("hashing pictures for near duplicates", count, "picture", unasked=patient_bar) as advance,
    ):
        for part in threads.map(chunk, range(0, count, CHUNK)):
            found += part
            advance(len(part))
    return np.array(found, dtype=np.uint64)
