"""Read partitions that others wrote: tables of ids and splits, lists of ids, index files of NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from dejavu_lightning.data.partition.splits import SPLITS, SplitManifest

TABLES = (".parquet", ".csv", ".tsv")
LISTS = (".npy", ".txt")
FORMS = (
    f"A manifest is splits.parquet of a run, a table ({', '.join(TABLES)}) with columns 'id' and 'split', or a folder "
    f"with a list for each split, such as A.npy or A.txt; `dejavu-lightning split` makes one"
)


def read_manifest(path: str | Path, ids: Sequence[str]) -> SplitManifest:
    """Read a partition.

    Args:
        path: what ``SplitManifest.save`` wrote; a table, .parquet, .csv or .tsv, with columns ``id`` and ``split``; or
            a folder of lists, one a split: ``A.txt`` with an id a line, ``A.npy`` with positions or ids. Where none is
            of public, all that the others leave is.
        ids: of the source, in its order, which positions count in.

    Raises:
        FileNotFoundError, ValueError: naming the file, and what it lacks.
    """
    file = Path(path)
    where = f"manifest={str(path)!r}"
    try:
        manifest = _read(file, ids, where)
        empty = [split for split in ("A", "B", "public") if not manifest.members.get(split)]
        if empty:
            raise ValueError(
                f"nothing is in split {' and '.join(empty)}: A and B are trained on, neighbours are looked up in public"
            )
        manifest.positions(ids)
    except ValueError as error:
        told = str(error)
        raise ValueError(told if told.startswith(where) else f"{where}: {told}") from error
    return manifest


def _read(file: Path, ids: Sequence[str], where: str) -> SplitManifest:
    if file.is_dir():
        return SplitManifest(_of_folder(file, ids, where))
    if not file.exists():
        raise FileNotFoundError(f"{where}: there is no such file. {FORMS}")
    if file.suffix in LISTS:
        raise ValueError(
            f"{where} is one list, which says nothing of the other splits. Make a manifest of a list for each split: "
            "dejavu-lightning split --config CONFIG --A FILE --B FILE --output splits.parquet"
        )
    if file.suffix not in TABLES:
        raise ValueError(f"{where} ends in {file.suffix!r}. {FORMS}")
    table = _table(file, where)
    lacking = [name for name in ("id", "split") if name not in table.column_names]
    if lacking:
        raise ValueError(
            f"{where} has no column {' and '.join(lacking)}, only {', '.join(table.column_names)}. {FORMS}"
        )
    if b"fingerprint" in (table.schema.metadata or {}):
        return SplitManifest.load(file)
    members: dict[str, list[str]] = {}
    rows = zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True)
    for row, (identifier, split) in enumerate(rows, start=1):
        if identifier is None or split not in SPLITS:
            raise ValueError(f"{where}: row {row} has id {identifier!r} in split {split!r}; choose from {list(SPLITS)}")
        members.setdefault(split, []).append(str(identifier))
    return SplitManifest(members)


def read_list(file: Path, ids: Sequence[str], where: str) -> list[str]:
    """The ids of one split, from a text file with an id a line, or an array of NumPy with ids or with positions.

    Args:
        ids: of the source.
        where: what errors call the file.

    Raises:
        FileNotFoundError, ValueError: naming the file and the entry.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{where}: there is no file {file}")
    if file.suffix not in LISTS:
        raise ValueError(f"{where}: {file} ends in {file.suffix!r}; a list of a split is one of {', '.join(LISTS)}")
    if file.suffix == ".txt":
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: {file} is not UTF-8: {error}") from error
        return _known([line.strip() for line in lines if line.strip()], ids, f"{where}: {file}")
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{where}: {file} is no array of NumPy without Python objects ({error})") from error
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise ValueError(
            f"{where}: {file} holds {array.dtype} of shape {array.shape}; expected positions in the source, integers "
            "(N,), or ids"
        )
    if array.dtype.kind == "U":
        return _known(array.tolist(), ids, f"{where}: {file}")
    outside = array[(array < 0) | (array >= len(ids))]
    if len(outside):
        raise ValueError(f"{where}: {file} names position {outside[0]}, the source has {len(ids)} pictures, from 0 on")
    return [ids[position] for position in array.tolist()]


def _known(given: list[str], ids: Sequence[str], where: str) -> list[str]:
    known = set(ids)
    missing = [identifier for identifier in given if identifier not in known]
    if missing:
        raise ValueError(
            f"{where}: {len(missing)} of its {len(given)} ids are not in the source, such as {missing[0]!r}; it has "
            f"ids like {ids[0]!r}"
        )
    return given


def _of_folder(folder: Path, ids: Sequence[str], where: str) -> dict[str, list[str]]:
    files = [file for file in sorted(folder.iterdir()) if file.suffix in LISTS]
    unknown = [file.name for file in files if file.stem not in SPLITS]
    if not files or unknown:
        held = f"{unknown[0]!r}, which names no split" if files else "no list"
        raise ValueError(f"{where} is a folder with {held}; its lists are called {', '.join(SPLITS)}, .npy or .txt")
    members: dict[str, list[str]] = {}
    for file in files:
        if file.stem in members:
            raise ValueError(f"{where} holds two lists of split {file.stem!r}; remove one")
        members[file.stem] = read_list(file.resolve(), ids, where)
    if "public" not in members:
        taken = {identifier for listed in members.values() for identifier in listed}
        members["public"] = [identifier for identifier in ids if identifier not in taken]
    return members


def _table(file: Path, where: str) -> Any:
    try:
        if file.suffix == ".parquet":
            return pq.read_table(file, partitioning=None)
        text = pa.csv.ConvertOptions(column_types={"id": pa.string(), "split": pa.string()})
        parsing = pa.csv.ParseOptions(delimiter="\t" if file.suffix == ".tsv" else ",")
        return pa.csv.read_csv(file, parse_options=parsing, convert_options=text)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{where} is no table of its kind: {str(error).partition(chr(10))[0]}") from error
