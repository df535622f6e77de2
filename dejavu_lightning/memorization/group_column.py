"""A column that says which group each record belongs to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from dejavu_lightning.core.samples import Samples, has_columns
from dejavu_lightning.core.sets import MemorizationSets

EXAMPLES = 3


def _text_table(path: Path, delimiter: str) -> pa.Table:
    """All cells as text: "007" is an id, not 7."""
    parsing = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with pyarrow.csv.open_csv(path, parse_options=parsing) as reader:
        types = dict.fromkeys(reader.schema.names, pa.string())
    conversion = pyarrow.csv.ConvertOptions(column_types=types)
    return pyarrow.csv.read_csv(path, parse_options=parsing, convert_options=conversion)


def _json_lines(path: Path) -> pa.Table:
    """A row for each line; what is no text as JSON writes it."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [_told(row.get(name)) for row in rows] for name in names})


def _told(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


READERS: Mapping[str, Callable[[Path], pa.Table]] = {
    ".csv": lambda file: _text_table(file, ","),
    ".tsv": lambda file: _text_table(file, "\t"),
    ".jsonl": _json_lines,
    ".parquet": pyarrow.parquet.read_table,
}


@dataclass(frozen=True)
class GroupColumn:
    r"""A column that says which group each record belongs to, such as a licence or a donor.

    Args:
        column: of the groups, text or numbers; empty cells are records without a group.
        file: a ``.csv``, ``.tsv``, ``.parquet`` or ``.jsonl`` table with a row for each record, of both splits where
            both are attacked; it may have more. None for a column of the source itself: of the table of a
            ``CaptionTable``, a field of the pictures in COCO's JSON or of the samples' JSON in shards, or ``class``,
            the label, of any labelled source. A data set of one's own offers ``ids`` and ``column(name)``, (N,) values.
        id: the column of the file with the records' ids.
        min_records: a group of fewer records of either kind that a comparison needs is counted and named, without
            estimates.

    Raises:
        ValueError: ``min_records`` is below 2.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("licences.csv").write_text("id,licence\na,open\nb,\nc,closed\n")
        >>> GroupColumn("licence", "licences.csv").read()
        {'a': 'open', 'c': 'closed'}
    """

    column: str
    file: str | None = None
    id: str = "id"
    min_records: int = 10

    def __post_init__(self) -> None:
        if self.min_records < 2:
            raise ValueError(f"groups: min_records must be at least 2, got {self.min_records}")

    @property
    def where(self) -> str:
        """What errors call the place of the groups."""
        return f"column {self.column!r} of {self.file or 'the data'}"

    def read(self) -> dict[str, str]:
        """Read the group of each id from the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it cannot be read, lacks a column, or has an id in two groups.
        """
        path = Path(self.file or "")
        if not path.is_file():
            raise FileNotFoundError(f"groups: file={self.file!r} is not a file")
        if path.suffix not in READERS:
            raise ValueError(f"groups: file={self.file!r} must end in {', '.join(READERS)}")
        try:
            table = READERS[path.suffix](path)
        except (pa.ArrowException, ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"groups: {self.file} cannot be read as {path.suffix[1:]}: {error}") from error
        lacking = [name for name in (self.id, self.column) if name not in table.column_names]
        if lacking:
            raise ValueError(
                f"groups: {self.file} has no column {lacking[0]!r}; it has {', '.join(table.column_names[:20])}; name "
                "the groups' by column, the ids' by id"
            )
        found: dict[str, str] = {}
        ids, groups = (self._texts(table, name) for name in (self.id, self.column))
        for identifier, group in zip(ids, groups, strict=True):
            if not group or not identifier:
                continue
            if found.setdefault(identifier, group) != group:
                raise ValueError(f"groups: {self.file} has {identifier!r} in {found[identifier]!r} and in {group!r}")
        return found

    def of_samples(self, samples: Samples) -> dict[str, str]:
        """Ask samples for the group of each id, in a column of their own.

        Raises:
            ValueError: they have no such column, or none at all, no ids, or more or fewer values than ids.
        """
        known: Any = samples
        if not has_columns(samples) or not hasattr(samples, "ids"):
            raise ValueError(
                f"groups: the attacked records have no columns, such as {self.column!r}, for which a data set needs "
                "'ids' and a method column(name); give file, a table of their ids and groups"
            )
        try:
            values = known.column(self.column)
        except ValueError as error:
            raise ValueError(f"groups: {error}") from error
        if len(values) != len(known.ids):
            raise ValueError(
                f"groups: column({self.column!r}) of a {type(samples).__name__} gives {len(values)} values for "
                f"{len(known.ids)} records"
            )
        return {one: str(group) for one, group in zip(known.ids, values, strict=True) if group not in (None, "")}

    def _texts(self, table: pa.Table, name: str) -> list[str | None]:
        if table.column_names.count(name) > 1:
            raise ValueError(f"groups: {self.file} has more than one column {name!r}; leave one")
        try:
            texts: list[str | None] = pc.cast(table[name], pa.string()).to_pylist()
        except pa.ArrowException as error:
            raise ValueError(
                f"groups: {self.file}: column {name!r} must hold text or numbers, not {table[name].type}"
            ) from error
        return texts


def read_groups_of(column: GroupColumn, sets: MemorizationSets) -> dict[str, str]:
    """Read the group of each id, and check those of the attacked samples where their ids are known beforehand.

    Raises:
        FileNotFoundError, ValueError: as :class:`GroupColumn` and :func:`check_groups`.
    """
    if column.file is not None:
        found = column.read()
    else:
        found = column.of_samples(sets.attack)
        for part in (sets.other_split, sets.neither_split):
            if part is not None and has_columns(part):
                found |= column.of_samples(part)
    if (ids := getattr(sets.attack, "ids", None)) is not None:
        check_groups(column, found, ids)
    return found


def check_groups(column: GroupColumn, of: Mapping[str, str], ids: Sequence[str]) -> None:
    """Raise where the attacked records are of fewer than two groups.

    Raises:
        ValueError: the message has ids of both sides where none is known.
    """
    met = {of[identifier] for identifier in ids if identifier in of}
    if not met and column.file is None:
        raise ValueError(f"groups: {column.where} is empty for all {len(ids)} attacked records")
    if not met:
        raise ValueError(
            f"groups: none of the {len(ids)} attacked records is in {column.file}: they are called "
            f"{list(ids)[:EXAMPLES]}, those of its column {column.id!r} {list(of)[:EXAMPLES]}"
        )
    if len(met) < 2:
        raise ValueError(
            f"groups: all attacked records that {column.where} knows are of one group, {met.pop()!r}; groups are "
            "compared, so at least two are needed"
        )
