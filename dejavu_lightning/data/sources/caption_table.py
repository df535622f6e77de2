"""Captioned pictures listed in a CSV, TSV or parquet file."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.core.object_file import labels_of
from dejavu_lightning.data.account import EXAMPLES, Account
from dejavu_lightning.data.decode import decode_identified
from dejavu_lightning.data.sources.caption_source import CaptionScan, all_named, image_problems
from dejavu_lightning.data.sources.file_contents import file_contents
from dejavu_lightning.data.sources.image_index import FileContents
from dejavu_lightning.data.sources.vocabulary import in_vocabulary, objects_of

SEPARATORS = {".csv": ",", ".tsv": "\t"}
OTHER_SEPARATORS = (";", "\t", "|", ",")
# A line inside of a value that names a picture, and has as many fields as a row, is a row that a quote swallowed.
NAMES_A_PICTURE = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?)\b", re.IGNORECASE)
QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
LIST_OF_NAMES = re.compile(rf"[\[(]\s*(?:{QUOTED}(?:\s*,\s*{QUOTED})*\s*,?\s*)?[\])]")
LOOKS_LISTED = re.compile(r"[\[({]\s*['\"]|^\[.*\]$")


class CaptionTable:
    """A table with one row for each picture: where it lies, and its caption.

    Rows are numbered from 1, the header not counted. Pictures are turned upright as their EXIF orientation says.

    Attributes:
        counts: ``pictures``, what :class:`~dejavu_lightning.data.sources.caption_source.CaptionScan` counts,
            ``pictures_without_objects``, ``objects_outside_the_vocabulary``, and ``rows_of_several_lines`` of the file.
        account: rows found are pictures used and those left out, by reason.

    Args:
        table: a ``.parquet`` file, or a ``.csv`` or ``.tsv`` file with a header, in UTF-8.
        root: what paths are relative to; the table's folder if not given. Absolute paths are taken as they are.
        image: the column of paths.
        caption: the column of captions.
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
        caption: str = "caption",
        id: str | None = None,
        objects: str | None = None,
        objects_column: str | None = None,
        object_names: list[str] | None = None,
        separator: str | None = None,
        quoted: bool = True,
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
        if separator is not None and len(separator) != 1:
            raise ValueError(f"separator must be one character, got {separator!r}")
        form = _Form(table, separator or SEPARATORS.get(Path(table).suffix.lower(), ","), quoted)
        columns, longer = _read(form, {argument: name for argument, name in chosen.items() if name is not None})
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
            where = f"table={table!r}: column {objects_column!r}, row"
            labels = [_listed(value, f"{where} {row + 1}") for row, value in zip(kept, values, strict=True)]
        else:
            labels = [[]] * len(kept)
        vocabulary = in_vocabulary(labels, object_names)
        self.object_names: Sequence[str] = vocabulary.names
        self.objects: Sequence[NDArray[Any]] = vocabulary.positions
        self.named: Sequence[NDArray[Any]] = all_named(self.captions, self.objects, self.object_names)
        self.counts = {**scan.counts, "pictures": len(kept), **vocabulary.counts}
        if longer:
            self.counts["rows_of_several_lines"] = len(longer)
        examples = {**scan.examples, "rows_of_several_lines": [f"row {row + 1}" for row in longer[:EXAMPLES]]}
        self.account = Account("rows", len(files), self.counts, CaptionScan.UNUSABLE, examples)
        self.contents: FileContents | None = None
        if check_files or verify:
            self.contents = file_contents([self.folder / file for file in self._files])

    def __len__(self) -> int:
        return len(self.ids)

    def path(self, index: int) -> Path:
        """Where picture ``index`` lies."""
        return self.folder / self._files[index]

    def image(self, index: int) -> Tensor:
        """Decode picture ``index`` to uint8 RGB (3, H, W).

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: it cannot be decoded; the message names file and id.
        """
        return decode_identified(self.path(index), self.ids[index])


class _Form(NamedTuple):
    """A table, and how its text is cut into fields."""

    table: str
    separator: str
    quoted: bool

    @property
    def parsing(self) -> pa_csv.ParseOptions:
        quote = '"' if self.quoted else False
        return pa_csv.ParseOptions(delimiter=self.separator, quote_char=quote, newlines_in_values=self.quoted)

    def columns(self, wanted: Sequence[str]) -> pa.Table:
        types = dict.fromkeys(wanted, pa.string())
        options = pa_csv.ConvertOptions(include_columns=wanted, column_types=types)
        return pa_csv.read_csv(self.table, parse_options=self.parsing, convert_options=options)


def _read(form: _Form, chosen: Mapping[str, str]) -> tuple[dict[str, pa.ChunkedArray], list[int]]:
    """The chosen columns, by argument, and positions of the rows that are several lines of the file."""
    table, longer = form.table, list[int]()
    ending = Path(table).suffix.lower()
    if ending not in (*SEPARATORS, ".parquet"):
        raise ValueError(f"table={table!r} must end in .csv, .tsv or .parquet")
    try:
        if ending == ".parquet":
            with pq.ParquetFile(table) as file:
                _check(table, file.schema_arrow.names, chosen)
                content = file.read(columns=list(chosen.values()))
        else:
            with open(table, "rb") as start:
                if start.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                    raise ValueError(f"table={table!r} is UTF-16; save it as UTF-8")
            with pa_csv.open_csv(table, parse_options=form.parsing) as reader:
                names = reader.schema.names
            _check(table, names, chosen, form.separator)
            content = form.columns(list(dict.fromkeys(chosen.values())))
            longer = _longer(form, content.num_rows, names)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        hint = "; save it as UTF-8" if "utf" in str(error).lower() else ""
        raise ValueError(f"table={table!r} cannot be read as a {ending} file: {error}{hint}") from error
    return {argument: content[name] for argument, name in chosen.items()}, longer


def _longer(form: _Form, rows: int, names: Sequence[str]) -> list[int]:
    """Positions of the rows that are several lines of the file.

    Raises:
        ValueError: these lines are rows themselves, which a quote has swallowed.
    """
    with open(form.table, encoding="utf-8", errors="replace") as file:
        lines = sum(line != "\n" for line in file)
    if lines == rows + 1:
        return []
    longer: set[int] = set()
    for column in form.columns(list(dict.fromkeys(names))).columns:
        for row, value in enumerate(column.to_pylist()):
            if value is None or "\n" not in value.replace("\r", "\n"):
                continue
            longer.add(row)
            inside = value.splitlines()[1:]
            swallowed = [
                line for line in inside if line.count(form.separator) >= len(names) - 1 and NAMES_A_PICTURE.search(line)
            ]
            if swallowed:
                raise ValueError(
                    f"table={form.table!r}: the quote that opens a field of row {row + 1} swallows {len(swallowed)} "
                    f"rows, such as {swallowed[0][:100]!r}: {rows} rows were read of {lines} lines. Write a quote "
                    'inside a quoted field twice (""), or set quoted=false if quotes enclose no fields'
                )
    return sorted(longer)


def _check(table: str, names: Sequence[str], chosen: Mapping[str, str], separator: str | None = None) -> None:
    for argument, name in chosen.items():
        if names.count(name) != 1:
            many = "no column" if name not in names else "several columns"
            others = [sign for sign in OTHER_SEPARATORS if len(names) == 1 and sign != separator and sign in names[0]]
            hint = f"; is separator={others[0]!r} between them?" if separator and others else ""
            raise ValueError(f"table={table!r} has {many} {argument}={name!r}; its columns are {list(names)}{hint}")


def _texts(columns: Mapping[str, pa.ChunkedArray], argument: str, table: str) -> list[str | None]:
    column = columns[argument]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    if not text and not (argument == "id" and pa.types.is_integer(kind)):
        raise ValueError(f"table={table!r}: the column of {argument} must hold text, it holds {column.type}")
    try:
        found: list[str | None] = column.cast(pa.string()).to_pylist()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"table={table!r}: the column of {argument} is not UTF-8 ({error}); save it as that"
        ) from error
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
