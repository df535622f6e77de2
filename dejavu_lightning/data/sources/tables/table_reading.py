"""The columns of a CSV, TSV or parquet file, as a source needs them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

SEPARATORS = {".csv": ",", ".tsv": "\t"}
OTHER_SEPARATORS = (";", "\t", "|", ",")
# A line inside of a value that names a picture, and has as many fields as a row, is a row that a quote swallowed.
NAMES_A_PICTURE = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?)\b", re.IGNORECASE)


class Form(NamedTuple):
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


def read_columns(form: Form, chosen: Mapping[str, str]) -> tuple[dict[str, pa.ChunkedArray], list[int]]:
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


def text_column(form: Form, name: str) -> list[str | None]:
    """A column of text or numbers as text, a row each.

    Raises:
        ValueError: there is no such column, or it holds something else.
    """
    columns, _ = read_columns(form, {"column": name})
    try:
        found: list[str | None] = columns["column"].cast(pa.string()).to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        kind = columns["column"].type
        raise ValueError(f"table={form.table!r}: column {name!r} must hold text or numbers, it holds {kind}") from error
    return found


def _longer(form: Form, rows: int, names: Sequence[str]) -> list[int]:
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


def caption_lists(columns: Mapping[str, pa.ChunkedArray], places: Sequence[str], table: str) -> list[list[str | None]]:
    """The captions of each row, in the order of the columns; one of lists gives several.

    Raises:
        ValueError: a column holds neither text nor lists of text.
    """
    parts: list[list[list[str | None]]] = []
    for place in places:
        kind = columns[place].type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            if not (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
                raise ValueError(f"table={table!r}: the column of {place} must hold lists of text, it holds {kind}")
            parts.append([list(listed or ()) for listed in columns[place].to_pylist()])
        else:
            parts.append([[text] for text in texts(columns, place, table)])
    return [[text for part in row for text in part] for row in zip(*parts, strict=True)]


def texts(columns: Mapping[str, pa.ChunkedArray], argument: str, table: str) -> list[str | None]:
    """A column as text.

    Raises:
        ValueError: it holds something else.
    """
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
