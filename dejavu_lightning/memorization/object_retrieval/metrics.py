"""PPG, PRG and AUCG of object retrieval (Jayaraman et al. 2024, arXiv 2402.02103, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization import statistics
from dejavu_lightning.memorization.object_retrieval.sample_level import sample_gaps
from dejavu_lightning.memorization.protocols import Comparison
from dejavu_lightning.memorization.statistics import Counts, Floats
from dejavu_lightning.metrics.functional import Overlap, auc_gap, population_gap

GAPS = {"ppg": "precision", "prg": "recall"}


class Gap(NamedTuple):
    """One gap of both models' (N,) values: by the sign of the difference, or by its size."""

    name: str
    target: Floats
    reference: Floats
    by_sign: bool


def compare_objects(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
    """Compute PPG, PRG and AUCG of every k and top n; mean precision, recall and F of both models.

    Of unpaired records PPG and PRG compare every target record with every reference record.
    """
    gaps = list(_gaps(target, reference))
    values = {gap.name: _value(gap, paired) for gap in gaps}
    means = {
        f"{role}_{measure}": records.column(measure).numpy()
        for role, records in (("target", target), ("reference", reference))
        for measure in Overlap._fields
    }
    values |= {name: float(column.mean()) for name, column in means.items()}
    replicates = _replicates(gaps, means, paired, seed)
    if not paired:
        return Comparison(statistics.with_intervals(values, replicates), None, replicates, target.settings)
    for gap in gaps[:3]:
        outcome = _outcomes(gap)
        mean, spread = statistics.subsample_spread(partial(_mean_of, outcome), len(target), seed)
        values |= {f"{gap.name}_subsample_mean": mean, f"{gap.name}_subsample_std": spread}
    return Comparison(
        statistics.with_intervals(values, replicates),
        _joined(target, reference),
        replicates,
        target.settings,
        sample_gaps(target, reference, seed=seed),
    )


def _gaps(target: Records, reference: Records) -> Iterator[Gap]:
    """The plain names first."""
    suffixes = [name.removeprefix("recall") for name in target.table.column_names if name.startswith("recall")]
    for suffix in sorted(suffixes, key=len):
        for name, measure in (*GAPS.items(), ("aucg", "recall")):
            own, other = (records.column(measure + suffix).numpy() for records in (target, reference))
            yield Gap(name + suffix, own, other, by_sign=name in GAPS)


def _value(gap: Gap, paired: bool) -> float:
    target, reference = torch.from_numpy(gap.target), torch.from_numpy(gap.reference)
    if paired:
        return float((population_gap if gap.by_sign else auc_gap)(target, reference))
    if gap.by_sign:
        every = np.ones((1, len(gap.target))), np.ones((1, len(gap.reference)))
        return float(_sign_of_pairs(gap, *every)[0])
    return float(gap.target.mean() - gap.reference.mean())


def _outcomes(gap: Gap) -> Floats:
    """(N,) what each record adds to a paired gap."""
    difference = gap.target - gap.reference
    return np.asarray(np.sign(difference) if gap.by_sign else difference)


def _mean_of(outcome: Floats, rows: NDArray[np.int64]) -> float:
    return float(outcome[rows].mean())


def _replicates(gaps: list[Gap], means: dict[str, Floats], paired: bool, seed: int) -> dict[str, Floats]:
    own = np.stack([column for name, column in means.items() if name.startswith("target")], axis=1)
    other = np.stack([column for name, column in means.items() if name.startswith("reference")], axis=1)
    outcomes = np.stack([_outcomes(gap) for gap in gaps], axis=1) if paired else None

    def every(counts: Counts, others: Counts) -> Floats:
        averages = [counts @ own / len(own), others @ other / len(other)]
        if outcomes is not None:
            return np.concatenate([counts @ outcomes / len(outcomes), *averages], axis=1)
        columns = [
            _sign_of_pairs(gap, counts, others)
            if gap.by_sign
            else counts @ gap.target / len(gap.target) - others @ gap.reference / len(gap.reference)
            for gap in gaps
        ]
        return np.concatenate([np.stack(columns, axis=1), *averages], axis=1)

    names = [gap.name for gap in gaps] + list(means)
    records, others = len(own), None if paired else len(other)
    return dict(zip(names, statistics.bootstrap(every, records, others, seed).T, strict=True))


def _sign_of_pairs(gap: Gap, counts: Any, others: Any) -> Floats:
    """P(target > reference) - P(target < reference) over all pairs of drawn records: (r, N), (r, M) -> (r,)."""
    grid = np.unique(np.concatenate([gap.target, gap.reference]))
    own = _histogram(gap.target, grid, counts)
    other = _histogram(gap.reference, grid, others)
    below = np.cumsum(other, axis=1) - other
    above = 1 - below - other
    return np.asarray((own * (below - above)).sum(axis=1))


def _histogram(values: Floats, grid: Floats, counts: Any) -> Floats:
    """Shares of the drawn records at each value of the grid: (r, N) -> (r, G)."""
    at = (values[:, None] == grid).astype(np.float64)  # the values are few fractions: G is small
    return np.asarray(counts @ at / len(values))


def _joined(target: Records, reference: Records) -> pa.Table:
    columns: dict[str, Any] = {"id": target.table["id"], "objects": target.table["objects"]}
    difference = target.column("correct") - reference.column("correct")
    columns["correct_gap"] = difference.numpy()
    names = (*Overlap._fields, "correct", "min_distance", "predicted", "neighbors")
    for role, records in (("target", target), ("reference", reference)):
        columns |= {f"{role}_{name}": records.table[name] for name in names}
    return pa.table(columns)
