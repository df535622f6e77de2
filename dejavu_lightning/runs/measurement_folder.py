"""The folder of one measurement: record tables, what they add up to, and figures.

::

    target.parquet        the target's records                    reference.parquet  likewise
    comparison.parquet    both models' answers record by record, of paired records; further tables by name
    terms.parquet         what each record adds to the gaps and their net values
    agreement.csv         of several references, how far they agree
    groups.csv            the estimates of each group of records    group_differences.csv  who differ most clearly
    ranking.csv           records by memorization confidence
    classes.json          what labels, or objects, are called
    metrics.json          of ``evaluate.py memorization``; a folder that has it is complete
    curve.png             and partition.png, gallery.png, gallery_<outcome>.png, confidence.png,
                          by_layer.png, by_neighbors.png
    <reference>/          the tables of a further reference

A monitor keeps the tables of each measurement in ``epoch=0040/`` and the figures above it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.core.whole_file import whole_file, write_json, write_text
from dejavu_lightning.runs.checkpoints import epoch_name
from dejavu_lightning.runs.files import read_json, read_rows, write_rows
from dejavu_lightning.runs.history import HISTORY

if TYPE_CHECKING:
    from dejavu_lightning.core.records import Records

METRICS = "metrics.json"
TERMS = "terms"
CLASSES = "classes.json"
GROUPS, GROUP_DIFFERENCES = "groups.csv", "group_differences.csv"
RANKING = "ranking.csv"
RECORD_TABLE = "record_table.csv"  # the final records, for loggers that show tables


def epoch_folder(folder: Path, epoch: int) -> Path:
    """Where a monitor keeps the tables of the model after so many epochs."""
    return folder / epoch_name(epoch)


def table_file(folder: Path, name: str) -> Path:
    """Where the table of this name lies: "target", "reference", "comparison" or another."""
    return folder / f"{name}.parquet"


def figure_file(folder: Path, name: str) -> Path:
    """Where the figure of this name lies: "curve", "partition", "gallery", "confidence", "by_layer" or another."""
    return folder / f"{name}.png"


def table_files(folder: Path) -> list[Path]:
    """The tables of all epochs that a monitor measured."""
    return sorted(folder.glob("epoch=*/**/*.parquet"))


def plain_files(folder: Path) -> list[Path]:
    """Besides tables, what a monitor keeps that other programs read: the curve, the ranking, the names of classes."""
    return [folder / name for name in (HISTORY, RANKING, CLASSES) if (folder / name).is_file()]


def write_records(folder: Path, name: str, records: Records) -> None:
    """Write what a model answered; "target" or "reference"."""
    records.save(table_file(folder, name))


def read_records(folder: Path, name: str) -> Records:
    """What :func:`write_records` wrote.

    Raises:
        ValueError: naming the file, which is damaged.
    """
    # Imported here: who only needs a file's name does not wait for torch.
    from dejavu_lightning.core.records import Records

    with _named(table_file(folder, name)) as path:
        return Records.load(path)


def extra_references(folder: Path) -> list[str]:
    """Names of the further references whose tables a measurement's folder holds."""
    return sorted(path.parent.name for path in folder.glob("*/reference.parquet"))


def write_table(folder: Path, name: str, table: pa.Table) -> None:
    """Write a table that is not one model's records, such as "comparison"."""
    with whole_file(table_file(folder, name)) as partial:
        pq.write_table(table, partial, write_page_checksum=True)


def read_table(folder: Path, name: str) -> pa.Table | None:
    """A table, None where there is none of this name.

    Raises:
        ValueError: naming the file, which is damaged.
    """
    with _named(table_file(folder, name)) as path:
        return pq.read_table(path, partitioning=None, page_checksum_verification=True) if path.is_file() else None


def left_out_part(facts: Mapping[str, Any]) -> DecisionPart | None:
    """The samples that a measurement left out, of what :func:`read_metrics` read; None for none."""
    left_out = facts.get("left_out")
    return DecisionPart(left_out["share"]) if left_out else None


@contextmanager
def _named(path: Path) -> Iterator[Path]:
    try:
        yield path
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no record table: {error}") from error


def write_terms(folder: Path, terms: Mapping[str, Sequence[tuple[Sequence[str], Iterable[float]]]]) -> None:
    """Write ``terms.parquet``: what each record adds to each estimate.

    Args:
        folder: of the measurement.
        terms: by estimate, of each of its samples, such as attacked and held-out records, ids and values.
    """
    tables = []
    for number in range(max(map(len, terms.values()), default=0)):
        added = {
            name: dict(zip(*samples[number], strict=True)) for name, samples in terms.items() if len(samples) > number
        }
        ids = list(dict.fromkeys(identifier for values in added.values() for identifier in values))
        columns = {
            name: pa.array([values.get(identifier) for identifier in ids], pa.float64())
            for name, values in added.items()
        }
        tables.append(pa.table({"sample": pa.array([number] * len(ids), pa.int8()), "id": ids, **columns}))
    if tables:
        write_table(folder, TERMS, pa.concat_tables(tables, promote_options="default"))


def read_terms(folder: Path, estimate: str) -> list[dict[str, float]]:
    """Of each sample of an estimate, what its records add, by id; empty where it was not kept.

    Raises:
        ValueError: naming the file, which is damaged.
    """
    table = read_table(folder, TERMS)
    if table is None or estimate not in table.column_names:
        return []
    kept = table.filter(pc.is_valid(table[estimate]))
    samples = [kept.filter(pc.equal(kept["sample"], number)) for number in sorted(set(kept["sample"].to_pylist()))]
    return [dict(zip(rows["id"].to_pylist(), rows[estimate].to_pylist(), strict=True)) for rows in samples]


def read_epoch_terms(folder: Path, estimate: str) -> dict[int, dict[str, float]]:
    """By epoch that a monitor measured, what the records add to an estimate of one sample, in order.

    Args:
        folder: of the monitor.
        estimate: a gap of paired records; epochs where it is none are left out.

    Raises:
        ValueError: naming the file, which is damaged.
    """
    found: dict[int, dict[str, float]] = {}
    for tables in sorted(folder.glob("epoch=*")):
        epoch = tables.name.partition("=")[2]
        samples = read_terms(tables, estimate) if epoch.isdigit() else []
        if len(samples) == 1:
            found[int(epoch)] = samples[0]
    return found


def write_agreement(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``agreement.csv``, a row for each two references."""
    write_rows(folder / "agreement.csv", rows)


def write_groups(folder: Path, rows: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]]) -> None:
    """Write ``groups.csv``, a row for each group, and ``group_differences.csv`` where groups could be compared."""
    columns = dict.fromkeys(name for row in rows for name in row)
    write_rows(folder / GROUPS, rows, list(columns))
    if differences:
        write_rows(folder / GROUP_DIFFERENCES, differences)


def read_groups(folder: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Rows of ``groups.csv`` and of ``group_differences.csv``; none where they were not kept.

    Raises:
        ValueError: naming the file, which is damaged.
    """
    return read_rows(folder / GROUPS, ("group", "records")), read_rows(
        folder / GROUP_DIFFERENCES, ("metric", "p_value")
    )


def write_ranking(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``ranking.csv``, a row for each record."""
    return write_rows(folder / RANKING, rows)


def write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Write ``classes.json``: records hold the numbers of labels, or objects."""
    write_text(folder / CLASSES, json.dumps(list(names)))


def read_class_names(folder: Path) -> list[str]:
    """What labels, or objects, are called; empty where it was not kept.

    Raises:
        ValueError: naming the file, which is damaged.
    """
    path = folder / CLASSES
    names = read_json(path) if path.is_file() else []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} is no list of names: {str(names)[:80]}")
    return names


def write_metrics(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Write ``metrics.json``, last and at once: a folder that has it is complete."""
    write_json(folder / METRICS, facts)
    return folder / METRICS


def read_metrics(folder: Path) -> dict[str, Any]:
    """What ``metrics.json`` says; among it ``metrics`` and, of a run of ours, ``epoch``.

    Raises:
        ValueError: naming the file, which is damaged.
    """
    path = folder / METRICS
    facts = read_json(path)
    if not isinstance(facts, dict) or not isinstance(facts.get("metrics"), dict):
        raise ValueError(f"{path} is no output of evaluate.py memorization: it has no metrics by name")
    for name, value in facts["metrics"].items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{path} is damaged: its metric {name[:80]!r} is no number: {str(value)[:80]!r}")
    return facts
