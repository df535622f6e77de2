"""Target records against reference records: what is left is memorization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization import statistics
from dejavu_lightning.memorization.label_inference.metrics import label_findings
from dejavu_lightning.memorization.object_retrieval.metrics import object_findings
from dejavu_lightning.memorization.statistics import Floats

FINDINGS = {"label_inference": label_findings, "object_retrieval": object_findings}


@dataclass(frozen=True)
class Comparison:
    """The outcome of :func:`compare`.

    ``metrics`` maps each name of the table in docs/metrics.md to its value, and ``<name>_low``,
    ``<name>_high`` to the ends of its 95% interval. ``table`` has a row per record with both models'
    answers and what came of it; None where the two models were attacked on different records.
    ``replicates`` holds the bootstrap values (R,) behind the intervals. ``sample_gaps``: see
    :func:`~dejavu_lightning.memorization.object_retrieval.sample_gaps.sample_gaps`; None where there are none.
    """

    metrics: dict[str, float]
    table: pa.Table | None
    replicates: dict[str, Floats]
    settings: dict[str, Any]
    sample_gaps: pa.Table | None = None


def compare(target: Records, reference: Records, *, paired: bool = True, seed: int = 0) -> Comparison:
    """Join the two tables on id and measure what only the target gets right.

    Args:
        target: the target model's records.
        reference: the reference's records; of the same ids if ``paired``.
        paired: True where both were attacked on the same records. False, as with ``HeldOut``, compares
            two independent samples: there is no outcome per record, and intervals are two-sample.
        seed: of the bootstrap and the subsamples.

    Raises:
        ValueError: the ids differ although paired, or the tables were made with other settings.
    """
    differing = {
        key for key in target.settings | reference.settings if target.settings.get(key) != reference.settings.get(key)
    }
    if differing:
        listed = ", ".join(
            f"{k}: {target.settings.get(k)} against {reference.settings.get(k)}" for k in sorted(differing)
        )
        raise ValueError(f"target and reference records cannot be compared, they were made differently ({listed})")
    if paired and target.ids != reference.ids:
        lost, extra = sorted(set(target.ids) - set(reference.ids)), sorted(set(reference.ids) - set(target.ids))
        raise ValueError(
            f"target and reference were attacked on different records: {len(lost)} ids only in the target's "
            f"(such as {lost[:2]}), {len(extra)} only in the reference's (such as {extra[:2]})"
        )
    found = FINDINGS[str(target.settings.get("test", "label_inference"))](target, reference, paired, seed)
    metrics = dict(found.values)
    for name, replicate in found.replicates.items():
        metrics[f"{name}_low"], metrics[f"{name}_high"] = statistics.interval(replicate)
    metrics["records"] = float(len(target))
    return Comparison(metrics, found.table, found.replicates, target.settings, found.sample_gaps)


def symmetric_average(first: Comparison, second: Comparison) -> dict[str, float]:
    """Mean of two comparisons with exchanged roles: (target A, reference B) and (target B, reference A).

    The attacked records are disjoint, so the intervals come from averaged independent replicates.
    """
    average: dict[str, float] = {}
    for name, replicate in first.replicates.items():
        average[name] = (first.metrics[name] + second.metrics[name]) / 2
        low, high = statistics.interval((replicate + second.replicates[name]) / 2)
        average |= {f"{name}_low": low, f"{name}_high": high}
    return average
