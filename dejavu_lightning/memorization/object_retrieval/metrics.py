"""PPG, PRG and AUCG of object retrieval (Jayaraman et al. 2024, arXiv 2402.02103, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import Floats, bounded_mean, difference, paired_gap, wilson
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.simultaneous.joint_intervals import of_many
from dejavu_lightning.memorization import statistics
from dejavu_lightning.memorization.object_retrieval.sample_level import TOP, sample_gaps
from dejavu_lightning.memorization.protocols import Comparison
from dejavu_lightning.memorization.statistics import Terms
from dejavu_lightning.metrics.functional import Overlap

GAPS = {"ppg": "precision", "prg": "recall"}


class Gap(NamedTuple):
    """One gap of both models' (N,) values: by the sign of the difference, or by its size."""

    name: str
    target: Floats
    reference: Floats
    by_sign: bool


def compare_objects(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
    """Compute PPG, PRG and AUCG of every k and top n; mean precision, recall and F of both models.

    Of unpaired records there is no PPG and no PRG, which compare two models on one record. ``unpaired_ppg`` and
    ``unpaired_prg`` compare every target record with every reference record: P(target > reference) -
    P(target < reference) of records drawn at random, other quantities of another size.
    """
    means = {
        f"{role}_{measure}": bounded_mean(records.column(measure).numpy())
        for role, records in (("target", target), ("reference", reference))
        for measure in Overlap._fields
    }
    gaps = list(_gaps(target, reference))
    if not paired:
        found = {_unpaired_name(gap): _unpaired(gap, target, reference) for gap in gaps}
        estimates = {name: estimate for name, (estimate, _) in found.items()} | means
        return Comparison(estimates, None, {name: terms for name, (_, terms) in found.items()}, target.settings)
    outcomes = {gap.name: _outcomes(gap) for gap in gaps}
    estimates = {name: paired_gap(outcome) for name, outcome in outcomes.items()} | means
    ids = target.ids
    for gap in gaps[:3]:
        mean, spread = statistics.subsample_spread(partial(_mean_of, outcomes[gap.name]), len(target), seed)
        estimates |= {f"{gap.name}_subsample_mean": Estimate(mean), f"{gap.name}_subsample_std": Estimate(spread)}
    return Comparison(
        estimates,
        _joined(target, reference),
        {name: (Terms(ids, outcome),) for name, outcome in outcomes.items()},
        target.settings,
        # Of a group among many nobody is shown the top records, whose null takes longer than all else.
        None if of_many() else sample_gaps(target, reference, target.settings.get("top", TOP), seed=seed),
    )


def _gaps(target: Records, reference: Records) -> Iterator[Gap]:
    """The plain names first."""
    suffixes = [name.removeprefix("recall") for name in target.table.column_names if name.startswith("recall")]
    for suffix in sorted(suffixes, key=len):
        for name, measure in (*GAPS.items(), ("aucg", "recall")):
            own, other = (records.column(measure + suffix).numpy() for records in (target, reference))
            yield Gap(name + suffix, own, other, by_sign=name in GAPS)


def _outcomes(gap: Gap) -> Floats:
    """(N,) what each record adds to a paired gap."""
    difference = gap.target - gap.reference
    return np.asarray(np.sign(difference) if gap.by_sign else difference)


def _mean_of(outcome: Floats, rows: NDArray[np.int64]) -> float:
    return float(outcome[rows].mean())


def _unpaired_name(gap: Gap) -> str:
    return f"unpaired_{gap.name}" if gap.by_sign else gap.name


def _unpaired(gap: Gap, target: Records, reference: Records) -> tuple[Estimate, tuple[Terms, ...]]:
    """Of two samples: the difference of their means, or P(target > reference) - P(target < reference) of all pairs.

    The latter is 2 A - 1, A the area under the curve of Mann and Whitney's U; its variance is that of DeLong et al.
    (1988), its interval Wilson's of as many records as a share of that variance has.
    """
    if not gap.by_sign:
        terms = Terms(target.ids, gap.target), Terms(reference.ids, -gap.reference)
        return difference(bounded_mean(gap.target), bounded_mean(gap.reference)), terms
    own, other = _placements(gap.target, gap.reference), _placements(gap.reference, gap.target)
    value = float(own.mean())
    area = (value + 1) / 2
    binary = area * (1 - area)
    variance = (own.var() / len(own) + other.var() / len(other)) / 4
    least = 1 / (len(own) + 1) ** 2 + 1 / (len(other) + 1) ** 2
    records = binary / max(float(variance), binary * least) if binary else min(len(own), len(other))
    found = wilson(area, records, kind="DeLong and Wilson over records").scaled(2, -1)
    return found, (Terms(target.ids, own), Terms(reference.ids, other.mean() - other))


def _placements(values: Floats, others: Floats) -> Floats:
    """(N,) share of the others below each value minus the share above it."""
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return np.asarray((below - (len(ordered) - up_to)) / len(ordered))


def _joined(target: Records, reference: Records) -> pa.Table:
    truth = [name for name in ("objects", "scored") if name in target.table.column_names]
    columns: dict[str, Any] = {name: target.table[name] for name in ("id", *truth)}
    difference = target.column("correct") - reference.column("correct")
    columns["correct_gap"] = difference.numpy()
    names = (*Overlap._fields, "correct", "min_distance", "predicted", "neighbors")
    for role, records in (("target", target), ("reference", reference)):
        columns |= {f"{role}_{name}": records.table[name] for name in names}
    return pa.table(columns)
