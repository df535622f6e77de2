"""What is known of picture files before any is decoded, and a parquet file that keeps it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dejavu_lightning.core.whole_file import whole_file
from dejavu_lightning.data.account import Account
from dejavu_lightning.data.decode import decode, decode_identified

METADATA_KEY = b"dejavu_lightning.index"
VERSION = 3
IntArray = NDArray[np.int64]


class Boxes(Sequence[IntArray]):
    """The boxes of N pictures in one array, cut apart when asked: a million arrays would be slow to make.

    Args:
        corners: (M, 4) int64, the boxes of all pictures, one picture's after the other's.
        offsets: (N + 1,) int64; picture i has ``corners[offsets[i]:offsets[i + 1]]``.
    """

    def __init__(self, corners: IntArray, offsets: IntArray) -> None:
        self.corners, self.offsets = corners, offsets

    @classmethod
    def of(cls, boxes: Iterable[NDArray[Any]]) -> Boxes:
        """Join one (n, 4) array for each picture."""
        parts = list(boxes)
        corners = np.concatenate([np.zeros((0, 4), np.int64), *parts]).astype(np.int64)
        return cls(corners, np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> IntArray: ...

    @overload
    def __getitem__(self, index: slice) -> list[IntArray]: ...

    def __getitem__(self, index: int | slice) -> IntArray | list[IntArray]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        index %= len(self)
        return self.corners[self.offsets[index] : self.offsets[index + 1]]


def clip_boxes(corners: NDArray[Any], size: ArrayLike) -> tuple[IntArray, NDArray[np.bool_], Counter[str]]:
    """Boxes that may be wrong, as boxes that can be trusted.

    Args:
        corners: (n, 4) finite numbers x0, y0, x1, y1, ends exclusive.
        size: (2,) or (n, 2) width and height in pixels, of one picture or of each box's own.

    Returns:
        (m, 4) whole pixels, rounded outward so that an object stays inside its box; (n,) which boxes these
        are, the others being degenerate or wholly outside; and the counts ``boxes_clipped``, ``boxes_dropped``.
    """
    sizes = np.broadcast_to(np.asarray(size), (len(corners), 2))
    start, end = corners[:, :2], corners[:, 2:]
    kept: NDArray[np.bool_] = np.all((start < end) & (end > 0) & (start < sizes), axis=1)
    whole = np.concatenate([np.floor(start[kept]), np.ceil(end[kept])], axis=1)
    clipped = np.clip(whole, 0, np.tile(sizes[kept], 2))
    counts = Counter(
        boxes_clipped=int((clipped != whole).any(axis=1).sum()),
        boxes_dropped=int((~kept).sum()),
    )
    return clipped.astype(np.int64), kept, counts


class FileContents(NamedTuple):
    """What tells N files apart.

    Attributes:
        sizes: (N,) int64 bytes; -1 where there is no such file.
        same_as: (N,) int64, the position of the first file with the same bytes, its own where none comes before.
    """

    sizes: IntArray
    same_as: IntArray

    @property
    def duplicates(self) -> int:
        """How many files hold what a file before them does."""
        return int((self.same_as != np.arange(len(self.same_as))).sum())


@dataclass(frozen=True)
class Index:
    """N picture files.

    Attributes:
        ids: (N,) unique.
        files: (N,) strings, paths relative to the folder of the pictures.
        labels: (N,) int64, positions in ``class_names``.
        class_names: one per class.
        boxes: for each picture (n, 4).
        sizes: (N, 2) int64, width and height.
        annotated: (N,) whether an annotation lies beside the picture, be it usable or not.
        contents: what tells the files apart.
        account: what the files turned out to be, and which are left out.
    """

    ids: Sequence[str]
    files: pa.Array
    labels: IntArray
    class_names: Sequence[str]
    boxes: Boxes
    sizes: IntArray
    annotated: NDArray[np.bool_]
    contents: FileContents
    account: Account

    def save(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write a parquet file with one row per picture; it appears at once and whole, or not at all.

        Args:
            about: what the index was made from, as JSON can hold it.
        """
        offsets = pa.array(self.boxes.offsets * 4, pa.int32())
        table = pa.table(
            {
                "id": pa.array(self.ids, pa.string()),
                "file": self.files,
                "label": pa.array(self.labels, pa.int32()),
                "width": pa.array(self.sizes[:, 0], pa.int32()),
                "height": pa.array(self.sizes[:, 1], pa.int32()),
                "annotated": pa.array(self.annotated),
                "bytes": pa.array(self.contents.sizes, pa.int64()),
                "same_as": pa.array(self.contents.same_as, pa.int32()),
                "boxes": pa.ListArray.from_arrays(offsets, pa.array(self.boxes.corners.reshape(-1), pa.int32())),
            }
        )
        stored = {"version": VERSION, "class_names": list(self.class_names), "account": self.account.stored(), **about}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(stored)}), path)

    @classmethod
    def load(cls, path: Path) -> tuple[Index, dict[str, Any]]:
        """Read what :meth:`save` wrote: the index, and ``about``.

        Raises:
            ValueError: the file is damaged, or not such an index; the message names it.
        """
        try:
            with pq.ParquetFile(path) as file:
                table = file.read()
            ids = table["id"].to_pylist() if "id" in table.column_names else []
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            raise ValueError(f"index={str(path)!r} cannot be read as a parquet file: {error}") from error
        try:
            about: dict[str, Any] = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
        except ValueError:
            about = {}
        if about.pop("version", None) != VERSION:
            raise ValueError(
                f"index={str(path)!r} is not an index that this version writes; name another file, or delete it if "
                "it is an older one"
            )
        try:
            boxes = table["boxes"].combine_chunks()
            index = cls(
                ids=ids,
                files=table["file"].combine_chunks(),
                labels=table["label"].to_numpy().astype(np.int64),
                class_names=about.pop("class_names"),
                boxes=Boxes(
                    boxes.values.to_numpy().astype(np.int64).reshape(-1, 4),
                    boxes.offsets.to_numpy().astype(np.int64) // 4,
                ),
                sizes=np.stack([table[side].to_numpy() for side in ("width", "height")], axis=1).astype(np.int64),
                annotated=table["annotated"].to_numpy(),
                contents=FileContents(table["bytes"].to_numpy(), table["same_as"].to_numpy().astype(np.int64)),
                account=Account.of(about.pop("account")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"index={str(path)!r} is damaged, it has no {error}; delete it to have it made anew"
            ) from error
        return index, about


def write_table(table: pa.Table, path: Path) -> None:
    """Write parquet at once or not at all: ranks may make the same file at the same time, and be killed."""
    with whole_file(path, shared=True) as partial:
        pq.write_table(table, partial, compression="zstd")


class ImageFiles:
    """A source over files: what an index knows of them, and their pixels when asked.

    Args:
        folder: what the index's files are relative to.
        index: the pictures.
        upright: whether ``index.sizes`` and boxes are about pictures turned upright. If not, a picture is
            given as stored where that has the size in the index.
        known_from: what errors call the origin of the sizes.
        remedy: what they advise about a file that cannot be decoded.
    """

    def __init__(
        self,
        folder: Path,
        index: Index,
        upright: bool = True,
        known_from: str = "the index",
        remedy: str = (
            "Repair it; or verify=true with broken='skip' finds such files when the source is made and leaves them out"
        ),
    ) -> None:
        self.folder, self.upright, self.known_from, self.remedy = folder, upright, known_from, remedy
        self.ids, self.class_names, self.sizes = index.ids, index.class_names, index.sizes
        self.boxes: Sequence[NDArray[Any]] = index.boxes
        self.labels: Tensor = torch.from_numpy(index.labels)
        self.account, self.counts, self.contents = index.account, index.account.counts, index.contents
        self._files = index.files

    def __len__(self) -> int:
        return len(self.ids)

    def path(self, index: int) -> Path:
        """Where picture ``index`` lies."""
        return self.folder / str(self._files[index])

    def image(self, index: int) -> Tensor:
        """Decode picture ``index`` to uint8 RGB (3, H, W).

        Raises:
            FileNotFoundError: the file is gone.
            ValueError: the file cannot be decoded, or its size is not the one in the index.
        """
        size = tuple(self.sizes[index].tolist())
        return decode_sized(self.path(index), self.ids[index], size, self.upright, self.known_from, self.remedy)


def decode_sized(
    path: Path, identifier: str, size: tuple[int, ...], upright: bool, known_from: str, remedy: str
) -> Tensor:
    """Decode a picture whose width and height are known; the other arguments are those of :class:`ImageFiles`.

    Raises:
        FileNotFoundError: the file is gone.
        ValueError: it cannot be decoded, or has another size.
    """
    image = decode_identified(path, identifier, upright, remedy)
    if not upright and (image.shape[2], image.shape[1]) != size:
        image = decode(path)
    height, width = image.shape[1:]
    if (width, height) != size:
        raise ValueError(
            f"{path} (id {identifier!r}) is {width} x {height} pixels, {known_from} says {size[0]} x {size[1]}: "
            f"{known_from} is stale and cannot be trusted"
        )
    return image
