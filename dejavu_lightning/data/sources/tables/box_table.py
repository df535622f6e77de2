"""Boxes in a table, a row each, of pictures in class folders."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dejavu_lightning.data.sources.scan_images import BEYOND, Annotation

ENDINGS = (".csv", ".tsv")
SEPARATORS = (",", "\t", ";")
FILES = ("file", "filename", "file_name", "image", "path")
CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"))
SIZE = ("width", "height")
WANTED = f"one of {', '.join(FILES)}, and {', or '.join(', '.join(names) for names in CORNERS)}"


class BoxTable:
    """The boxes of pictures in class folders.

    A file is named by its path, of which the last folder counts, with or without its ending; the folder may be left out
    where no two classes have a picture of that name. Corners are pixels from 0 on, the last ones exclusive; ``width``
    and ``height`` of the picture may stand beside them, to tell boxes of another size.

    Args:
        table: a CSV or TSV file with a header, in UTF-8: a column ``file``, and ``xmin``, ``ymin``, ``xmax``, ``ymax``;
            :data:`FILES` and :data:`CORNERS` are other names of these.
        class_names: the class folders.

    Attributes:
        boxes: by ``<class>/<name>``, or by name alone where the table names no class folder.

    Raises:
        ValueError: naming the file, the row and the column.
    """

    def __init__(self, table: str, class_names: Collection[str]) -> None:
        self.table, self.boxes = table, _read(table, class_names)

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with any box."""
        told = sorted((key, found.boxes.tolist(), found.size) for key, found in self.boxes.items())
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    def annotated(self, class_name: str) -> set[str]:
        """Names without ending, of a class; those without a class folder are of any."""
        parts = [key.partition("/") for key in self.boxes]
        return {name or folder for folder, _, name in parts if folder == class_name or not name}

    def of(self, files: Sequence[str], unused: list[str]) -> dict[int, Annotation]:
        """The boxes by position of a file; names of none are put among ``unused``.

        Raises:
            ValueError: a name stands for pictures of two classes.
        """
        position: dict[str, list[int]] = {}
        for number, file in enumerate(files):
            path = PurePosixPath(file)
            for key in (f"{path.parent}/{path.stem}", path.stem):
                position.setdefault(key, []).append(number)
        found: dict[int, Annotation] = {}
        for key, annotation in self.boxes.items():
            own = position.get(key, [])
            if len(own) > 1:
                raise ValueError(
                    f"annotations={self.table!r} has boxes of {key!r}, which may be {files[own[0]]!r} or "
                    f"{files[own[1]]!r}: write class folders before the names"
                )
            unused += [] if own else [key]
            found |= dict.fromkeys(own, annotation)
        return found


def check_ending(annotations: str) -> None:
    """Refuse what can hold no boxes, before pictures are looked for.

    Raises:
        FileNotFoundError, ValueError: naming what can.
    """
    wanted = "boxes are a folder with one folder for each class, or a table that ends in .csv or .tsv"
    if not Path(annotations).exists():
        raise FileNotFoundError(f"annotations={annotations!r} is not there; {wanted}")
    ending = Path(annotations).suffix.lower()
    if ending not in ENDINGS:
        coco = ". COCO's JSON is read by CocoInstances, MemorizationData.from_coco" if ending == ".json" else ""
        raise ValueError(f"annotations={annotations!r} ends in {ending!r}; {wanted}{coco}")


def _read(table: str, class_names: Collection[str]) -> dict[str, Annotation]:
    try:
        text = Path(table).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"annotations={table!r} is not UTF-8 ({error}); save it as that") from error
    header = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=max(SEPARATORS, key=header.count))
    names = {str(name).strip().lower(): str(name) for name in reader.fieldnames or ()}
    file = next((names[name] for name in FILES if name in names), None)
    corners = next(([names[name] for name in four] for four in CORNERS if names.keys() >= set(four)), None)
    if file is None or corners is None:
        raise ValueError(f"annotations={table!r} has the columns {list(names)}; expected {WANTED}")
    sizes = [names[name] for name in SIZE] if names.keys() >= set(SIZE) else []
    found: dict[str, list[Sequence[float]]] = {}
    size_of: dict[str, tuple[int, int]] = {}
    for number, row in enumerate(reader, 1):
        where = f"annotations={table!r}, row {number}"
        key = _key(row[file] or "", class_names)
        box = [_number(row, column, where) for column in corners]
        if 0 <= min(box) and max(box) <= 1 and any(side % 1 for side in box):
            raise ValueError(f"{where}: {box} are shares of the picture's sides; expected pixels")
        found.setdefault(key, []).append(box)
        if sizes:
            width, height = (int(_number(row, column, where)) for column in sizes)
            size_of[key] = width, height
    return {key: _annotation(boxes, size_of.get(key)) for key, boxes in found.items()}


def _key(file: str, class_names: Collection[str]) -> str:
    path = PurePosixPath(file.strip().replace("\\", "/"))
    named = path.suffix.lower() in (".jpeg", ".jpg", ".png", ".webp")
    stem = path.stem if named else path.name
    return f"{path.parent.name}/{stem}" if path.parent.name in class_names else stem


def _annotation(boxes: Sequence[Sequence[float]], size: tuple[int, int] | None) -> Annotation:
    corners = np.array(boxes)
    pairs = np.sort(corners.reshape(-1, 2, 2), axis=1)
    whole = np.concatenate([np.floor(pairs[:, 0]), np.ceil(pairs[:, 1])], axis=1).astype(np.int64)
    exchanged = int((corners[:, :2] > corners[:, 2:]).any(axis=1).sum())
    return Annotation([""] * len(boxes), whole, size, exchanged)


def _number(row: Mapping[str, Any], column: str, where: str) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = math.nan
    if not abs(value) < BEYOND:
        raise ValueError(f"{where} has {column} {row[column]!r}, expected a number of pixels")
    return value
