"""Captioned pictures listed in a CSV or parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.core.object_file import labels_of
from dejavu_lightning.data.decode import decode_identified
from dejavu_lightning.data.sources.caption_source import CaptionScan, all_named, image_problems
from dejavu_lightning.data.sources.file_contents import file_contents
from dejavu_lightning.data.sources.image_index import FileContents
from dejavu_lightning.data.sources.vocabulary import in_vocabulary, objects_of

CSV = pa_csv.ParseOptions(newlines_in_values=True)


class CaptionTable:
    """A table with one row for each picture: where it lies, and its caption.

    Rows are numbered from 1, the header not counted. Pictures are turned upright as their EXIF orientation says.

    Attributes:
        counts: ``pictures``, what :class:`~dejavu_lightning.data.sources.caption_source.CaptionScan` counts,
            ``pictures_without_objects``, ``objects_outside_the_vocabulary``.

    Args:
        table: a ``.parquet`` file, or a ``.csv`` file with a header, in UTF-8.
        root: what paths are relative to; the table's folder if not given. Absolute paths are taken as they are.
        image: the column of paths.
        caption: the column of captions.
        id: the column of ids, strings or whole numbers. If not given, an id is the path as the table has it,
            without ending; make it relative for ids that are the same on every machine.
        objects: a JSON Lines file with the objects by id.
        objects_column: instead, a column with a list of names, or with text that has ";" between them.
        object_names: the vocabulary, others are left out and counted; all labels met, sorted, if not given.
        max_unusable: share of the rows, in [0, 1], that may lack a caption or their file.
        verify: decode every picture now, so that undecodable ones are left out and counted too.
        check_files: look whether every file is there, and which are the same. If not, one that is missing is an error
            once it is decoded, and copies of one picture go unnoticed; one that cannot be decoded is always an error.

    Raises:
        FileNotFoundError: there is no such table or root.
        ValueError: it has no such column or cannot be read, an id is missing or repeated, or too many rows are
            unusable.
    """

    labels: Tensor | None = None

    def __init__(
        self,
        table: str,
        root: str | None = None,
        image: str = "image",
        caption: str = "caption",
        id: str | None = None,
        objects: str | None = None,
        objects_column: str | None = None,
        object_names: list[str] | None = None,
        max_unusable: float = 0.1,
        check_files: bool = True,
        verify: bool = False,
    ) -> None:
        if not Path(table).is_file():
            raise FileNotFoundError(f"table={table!r} is not a file")
        if root is not None and not Path(root).is_dir():
            raise FileNotFoundError(f"root={root!r} is not a folder")
        if objects is not None and objects_column is not None:
            raise ValueError(
                f"objects={objects!r} and objects_column={objects_column!r} both give the objects: give one of them"
            )
        self.folder = Path(table).parent if root is None else Path(root)
        scan = CaptionScan(f"table={table!r} with root={str(self.folder)!r}", max_unusable)
        chosen = {"image": image, "caption": caption, "id": id, "objects_column": objects_column}
        columns = _read(table, {argument: name for argument, name in chosen.items() if name is not None})
        files = _texts(columns, "image", table)
        captions = _texts(columns, "caption", table)
        ids = _ids(files, _texts(columns, "id", table) if id is not None else None, table)
        problems: list[str | None] = [None if file else "missing_images" for file in files]
        if check_files or verify:
            problems = image_problems(self.folder, files, verify)
        kept = [
            row
            for row, (text, problem) in enumerate(zip(captions, problems, strict=True))
            if scan.usable(ids[row], text, problem)
        ]
        scan.check()
        self.ids: Sequence[str] = [ids[row] for row in kept]
        self.captions: Sequence[str] = [(captions[row] or "").strip() for row in kept]
        self._files = [files[row] or "" for row in kept]
        if objects is not None:
            labels = objects_of(self.ids, objects)
        elif objects_column is not None:
            values = columns["objects_column"].take(kept).to_pylist()
            labels = [_listed(value, f"{table}, row {row + 1}") for row, value in zip(kept, values, strict=True)]
        else:
            labels = [[]] * len(kept)
        vocabulary = in_vocabulary(labels, object_names)
        self.object_names: Sequence[str] = vocabulary.names
        self.objects: Sequence[NDArray[Any]] = vocabulary.positions
        self.named: Sequence[NDArray[Any]] = all_named(self.captions, self.objects, self.object_names)
        self.counts = {**scan.counts, "pictures": len(kept), **vocabulary.counts}
        self.contents: FileContents | None = None
        if check_files or verify:
            self.contents = file_contents([self.folder / file for file in self._files])

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, index: int) -> Tensor:
        """Decode picture ``index`` to uint8 RGB (3, H, W).

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: it cannot be decoded; the message names file and id.
        """
        return decode_identified(self.folder / self._files[index], self.ids[index])


def _read(table: str, chosen: Mapping[str, str]) -> dict[str, pa.ChunkedArray]:
    """The chosen columns, by argument."""
    ending = Path(table).suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise ValueError(f"table={table!r} must end in .csv or .parquet")
    try:
        if ending == ".csv":
            with pa_csv.open_csv(table, parse_options=CSV) as reader:
                _check(table, reader.schema.names, chosen)
            wanted = list(dict.fromkeys(chosen.values()))
            options = pa_csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()))
            content = pa_csv.read_csv(table, parse_options=CSV, convert_options=options)
        else:
            with pq.ParquetFile(table) as file:
                _check(table, file.schema_arrow.names, chosen)
                content = file.read(columns=list(chosen.values()))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"table={table!r} cannot be read as a {ending} file: {error}") from error
    return {argument: content[name] for argument, name in chosen.items()}


def _check(table: str, names: Sequence[str], chosen: Mapping[str, str]) -> None:
    for argument, name in chosen.items():
        if names.count(name) != 1:
            many = "no column" if name not in names else "several columns"
            raise ValueError(f"table={table!r} has {many} {argument}={name!r}; its columns are {list(names)}")


def _texts(columns: Mapping[str, pa.ChunkedArray], argument: str, table: str) -> list[str | None]:
    column = columns[argument]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    if not text and not (argument == "id" and pa.types.is_integer(kind)):
        raise ValueError(f"table={table!r}: the column of {argument} must hold text, it holds {column.type}")
    found: list[str | None] = column.cast(pa.string()).to_pylist()
    return found


def _ids(files: Iterable[str | None], given: Sequence[str | None] | None, table: str) -> list[str]:
    ids: list[str] = []
    first: dict[str, int] = {}
    for row, file in enumerate(files):
        if given is not None:
            identifier = given[row]
            if not identifier:
                raise ValueError(f"table={table!r}: row {row + 1} has no id")
        elif file:
            identifier = os.path.splitext(PurePosixPath(file).as_posix())[0]
        else:
            identifier = f"row {row + 1}"
        other = first.setdefault(identifier, row)
        if other != row:
            raise ValueError(
                f"table={table!r}: rows {other + 1} and {row + 1} share the id {identifier!r}; a picture has one "
                "caption, keep one row of it"
            )
        ids.append(identifier)
    return ids


def _listed(value: Any, where: str) -> list[str]:
    if isinstance(value, str):
        value = [name.strip() for name in value.split(";") if name.strip()]
    return labels_of(value or [], where)
