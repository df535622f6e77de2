"""Captioned pictures listed in a CSV, TSV or parquet file."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.core.object_file import labels_of
from dejavu_lightning.data.account import EXAMPLES, Account
from dejavu_lightning.data.decode import decode_identified
from dejavu_lightning.data.sources.caption_source import CaptionScan, all_named, image_problems, own_caption, worded
from dejavu_lightning.data.sources.file_contents import file_contents
from dejavu_lightning.data.sources.image_index import FileContents
from dejavu_lightning.data.sources.tables.table_reading import (
    SEPARATORS,
    Form,
    caption_lists,
    read_columns,
    text_column,
    texts,
)
from dejavu_lightning.data.sources.vocabulary import in_vocabulary, objects_of

QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
LIST_OF_NAMES = re.compile(rf"[\[(]\s*(?:{QUOTED}(?:\s*,\s*{QUOTED})*\s*,?\s*)?[\])]")
LOOKS_LISTED = re.compile(r"[\[({]\s*['\"]|^\[.*\]$")


class CaptionTable:
    """A table with one row for each picture: where it lies, and its caption, or several.

    Of several captions the first that has text is the picture's own, which the tests ask with; the others are trained
    on where ``data.caption_sampling`` says so. Rows are numbered from 1, the header not counted. Pictures are turned
    upright as their EXIF orientation says.

    Attributes:
        counts: ``pictures``, what :class:`~dejavu_lightning.data.sources.caption_source.CaptionScan` counts,
            ``pictures_without_objects``, ``objects_outside_the_vocabulary``, ``rows_of_several_lines`` of the file, and
            ``rows_of_further_captions``.
        account: rows found are pictures used and those left out, by reason.

    Args:
        table: a ``.parquet`` file, or a ``.csv`` or ``.tsv`` file with a header, in UTF-8.
        root: what paths are relative to; the table's folder if not given. Absolute paths are taken as they are.
        image: the column of paths.
        caption: the column of captions, of text or of lists of text; or several columns.
        several_rows: take rows with the same id for captions of one picture. If not, they are an error.
        id: the column of ids, strings or whole numbers. If not given, an id is the path as the table has it,
            without ending; make it relative for ids that are the same on every machine.
        objects: a JSON Lines file with the objects by id.
        objects_column: instead, a column with a list of names, or with text that has ";" between them, or that is a
            list as Python or JSON writes it, "['cat', 'dog']".
        object_names: the vocabulary, others are left out and counted; all labels met, sorted, if not given.
        separator: what is between the fields of a text; "," of a .csv and a tab of a .tsv if not given.
        quoted: whether quotes enclose fields that have separators or line breaks in them, as most programs write them.
            If not, quotes are text like any other.
        max_unusable: share of the rows, in [0, 1], that may lack a caption or their file.
        verify: decode every picture now, so that undecodable ones are left out and counted too.
        check_files: look whether every file is there, and which are the same. If not, one that is missing is an error
            once it is decoded, and copies of one picture go unnoticed; one that cannot be decoded is always an error.

    Raises:
        FileNotFoundError: there is no such table or root.
        ValueError: it has no such column or cannot be read, a quote swallows rows, an id is missing or repeated, or too
            many rows are unusable.

    Example:
        >>> table = CaptionTable("pairs.csv", objects_column="objects")  # columns image, caption, objects: two rows
        >>> table.ids[0], table.captions[0], [table.object_names[o] for o in table.objects[0]]
        ('imagenet/train/ants/ants_00', 'an ant at work', ['ant', 'leaf'])
    """

    labels: Tensor | None = None

    def __init__(
        self,
        table: str,
        root: str | None = None,
        image: str = "image",
        caption: str | list[str] = "caption",
        id: str | None = None,
        objects: str | None = None,
        objects_column: str | None = None,
        object_names: list[str] | None = None,
        separator: str | None = None,
        quoted: bool = True,
        several_rows: bool = False,
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
        names = [caption] if isinstance(caption, str) else list(caption)
        if not names:
            raise ValueError("caption=[] names no column; give one, or several")
        places = ["caption", *(f"caption {number}" for number in range(2, len(names) + 1))]
        chosen = {"image": image, "id": id, "objects_column": objects_column, **dict(zip(places, names, strict=True))}
        if separator is not None and len(separator) != 1:
            raise ValueError(f"separator must be one character, got {separator!r}")
        form = Form(table, separator or SEPARATORS.get(Path(table).suffix.lower(), ","), quoted)
        columns, longer = read_columns(form, {argument: name for argument, name in chosen.items() if name is not None})
        files = texts(columns, "image", table)
        captions = caption_lists(columns, places, table)
        ids = _ids(files, texts(columns, "id", table) if id is not None else None, table)
        pictures = _pictures(ids, files, several_rows, table)
        said = [[text for row in rows for text in captions[row]] for rows in pictures]
        firsts = [rows[0] for rows in pictures]
        problems: list[str | None] = [None if files[row] else "missing_images" for row in firsts]
        if check_files or verify:
            problems = image_problems(self.folder, [files[row] for row in firsts], verify)
        kept = [
            number
            for number, (row, problem) in enumerate(zip(firsts, problems, strict=True))
            if scan.usable(ids[row], own_caption(said[number]), problem)
        ]
        scan.check()
        self.ids: Sequence[str] = [ids[firsts[number]] for number in kept]
        self.all_captions = [worded(said[number]) for number in kept]
        self.captions: Sequence[str] = [every[0] for every in self.all_captions]
        self._files = [files[firsts[number]] or "" for number in kept]
        self._form, self._columns = form, dict[str, list[str | None]]()
        self._picture_of_row = np.full(len(files), -1)
        for picture, number in enumerate(kept):
            self._picture_of_row[pictures[number]] = picture
        if objects is not None:
            labels = objects_of(self.ids, objects)
        elif objects_column is not None:
            values = columns["objects_column"].to_pylist()
            where = f"table={table!r}: column {objects_column!r}, row"
            labels = [
                list(dict.fromkeys(o for row in pictures[number] for o in _listed(values[row], f"{where} {row + 1}")))
                for number in kept
            ]
        else:
            labels = [[]] * len(kept)
        vocabulary = in_vocabulary(labels, object_names)
        self.object_names: Sequence[str] = vocabulary.names
        self.objects: Sequence[NDArray[Any]] = vocabulary.positions
        self.named: Sequence[NDArray[Any]] = all_named(self.captions, self.objects, self.object_names)
        self.counts = {**scan.counts, "pictures": len(kept), **vocabulary.counts}
        if longer:
            self.counts["rows_of_several_lines"] = len(longer)
        if len(files) > len(pictures):
            self.counts["rows_of_further_captions"] = len(files) - len(pictures)
        examples = {**scan.examples, "rows_of_several_lines": [f"row {row + 1}" for row in longer[:EXAMPLES]]}
        reasons = (*CaptionScan.UNUSABLE, "rows_of_further_captions")
        self.account = Account("rows", len(files), self.counts, reasons, examples)
        self.contents: FileContents | None = None
        if check_files or verify:
            self.contents = file_contents([self.folder / file for file in self._files])

    def __len__(self) -> int:
        return len(self.ids)

    def path(self, index: int) -> Path:
        """Where picture ``index`` lies."""
        return self.folder / self._files[index]

    def column(self, name: str) -> list[str | None]:
        """(N,) what a column of the table says of each picture, as text.

        Raises:
            ValueError: there is no such column, it holds neither text nor numbers, or rows of one picture differ in it.
        """
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def _read_column(self, name: str) -> list[str | None]:
        values, table = text_column(self._form, name), self._form.table
        if len(values) != len(self._picture_of_row):
            raise ValueError(
                f"table={table!r} has {len(values)} rows now, it had {len(self._picture_of_row)}: it was changed; "
                "start again"
            )
        first: dict[int, int] = {}
        for row, picture in enumerate(self._picture_of_row.tolist()):
            if picture >= 0 and values[row] != values[first.setdefault(picture, row)]:
                raise ValueError(
                    f"table={table!r}: rows {first[picture] + 1} and {row + 1} of picture {self.ids[picture]!r} differ "
                    f"in column {name!r}, {values[first[picture]]!r} and {values[row]!r}"
                )
        return [values[first[picture]] for picture in range(len(self))]

    def image(self, index: int) -> Tensor:
        """Decode picture ``index`` to uint8 RGB (3, H, W).

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: it cannot be decoded; the message names file and id.
        """
        return decode_identified(self.path(index), self.ids[index])


def _ids(files: Iterable[str | None], given: Sequence[str | None] | None, table: str) -> list[str]:
    ids: list[str] = []
    for row, file in enumerate(files):
        if given is not None and not given[row]:
            raise ValueError(f"table={table!r}: row {row + 1} has no id")
        stem = os.path.splitext(PurePosixPath(file).as_posix())[0] if file else f"row {row + 1}"
        ids.append(stem if given is None else str(given[row]))
    return ids


def _pictures(ids: Sequence[str], files: Sequence[str | None], several_rows: bool, table: str) -> list[list[int]]:
    """The rows of each picture, in the order of the table."""
    rows_of: dict[str, list[int]] = {}
    for row, identifier in enumerate(ids):
        rows = rows_of.setdefault(identifier, [])
        if rows and not several_rows:
            raise ValueError(
                f"table={table!r}: rows {rows[0] + 1} and {row + 1} share the id {identifier!r}; a picture has one "
                "caption: keep one row of it, or set several_rows=true if they are captions of one picture"
            )
        if rows and files[rows[0]] != files[row]:
            raise ValueError(
                f"table={table!r}: rows {rows[0] + 1} and {row + 1} share the id {identifier!r} and name two pictures, "
                f"{files[rows[0]]!r} and {files[row]!r}; give ids that differ"
            )
        rows.append(row)
    return list(rows_of.values())


def _listed(value: Any, where: str) -> list[str]:
    if isinstance(value, str):
        text = value.strip()
        if LIST_OF_NAMES.fullmatch(text):
            value = list(ast.literal_eval(text))
        elif LOOKS_LISTED.search(text):
            raise ValueError(
                f"{where} has a list written as text that cannot be read, {text[:100]!r}; expected names with ';' "
                "between them, or ['cat', 'dog']"
            )
        else:
            value = [name.strip() for name in text.split(";") if name.strip()]
    return labels_of(value or [], where)
