"""``samples.parquet``, what each validation sample adds to the utility that a monitor measured.

A later measurement that leaves samples out counts the others again from it, without another fit of the probes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.core.estimate import Estimate, estimates_in
from dejavu_lightning.core.intervals import Floats, bounded_mean
from dejavu_lightning.runs.history import read_history, row_after
from dejavu_lightning.runs.measurement_folder import epoch_folder, read_table, write_table

SAMPLES = "samples"


def write_utility_samples(folder: Path, epoch: int, values: Mapping[str, tuple[Sequence[str], Floats]]) -> None:
    """Write a row per sample and a column per metric, empty where a sample has no part in the metric.

    Args:
        folder: of the monitor.
        epoch: how many the model has completed.
        values: ids (N,) and values (N,) of the samples behind each metric.
    """
    ids = list(dict.fromkeys(identifier for its_ids, _ in values.values() for identifier in its_ids))
    columns: dict[str, pa.Array] = {"id": pa.array(ids, pa.string())}
    for name, (its_ids, its_values) in values.items():
        known = dict(zip(its_ids, its_values.tolist(), strict=True))
        columns[name] = pa.array([known.get(identifier) for identifier in ids], pa.float64())
    write_table(epoch_folder(folder, epoch), SAMPLES, pa.table(columns))


def read_utility(folder: Path, epoch: float | None, leave_out: DecisionPart | None = None) -> dict[str, Estimate]:
    """The utility of the model after so many epochs, empty where it was not measured.

    Args:
        folder: of the monitor.
        epoch: how many epochs; of the last measurement where that is not known.
        leave_out: the samples that decided when training stopped, which are not counted.

    Raises:
        ValueError: samples are to be left out, and what each of them adds was not kept.
    """
    row = row_after(read_history(folder), epoch)
    estimates = estimates_in({name: value for name, value in row.items() if name != "epoch"})
    if leave_out is None or not estimates:
        return estimates
    place = epoch_folder(folder, int(row["epoch"]))
    table = read_table(place, SAMPLES)
    if table is None:
        raise ValueError(
            f"{place} lacks {SAMPLES}.parquet, what each validation sample adds to the utility: those that decided "
            "when training stopped cannot be left out. Measure the checkpoint by evaluate.py utility, or train it again"
        )
    ids = np.array(table["id"].to_pylist(), dtype=object)
    found: dict[str, Estimate] = {}
    for name in estimates:
        values = table[name].to_numpy()
        measured = ~np.isnan(values)
        judges = leave_out.judges(list(ids[measured]), f"validation samples of {name}")
        found[name] = bounded_mean(values[measured][judges])
    return found
