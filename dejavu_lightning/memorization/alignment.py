"""What the two tests of alignment share: how much of each record, its mean over records, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import difference, unbounded_mean
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization import statistics
from dejavu_lightning.memorization.display import Answers, Display, Spread, TableRow, gap_rows
from dejavu_lightning.memorization.protocols import Comparison
from dejavu_lightning.memorization.statistics import Terms


def compare_alignment(
    target: Records, reference: Records, paired: bool, seed: int, *, column: str, metric: str, sign: int
) -> Comparison:
    """Compute the mean over records of how much better the target aligns them.

    With a(x) a model's alignment of record x, m(x) = a_target(x) - a_reference(x), positive where the target aligns a
    record better than a model that was not trained on it.

    Args:
        paired: both models were asked about the same records; otherwise means of two samples are compared.
        column: of the records: the alignment, or a distance; those of single layers are ``<column>/<layer>``.
        metric: what the mean of m is called; ``<metric>_scaled`` is that of m divided by its range over the records,
            as the papers report it, its interval that of the mean divided likewise.
        sign: 1 for an alignment, -1 for a distance.

    Returns:
        ``<metric>``, ``<metric>_scaled``, ``<metric>/<layer>``, ``target_<column>``, ``reference_<column>``; the table
        has ``memorization``, m(x), and both models' columns.
    """
    measured = [name for name in target.table.column_names if name == column or name.startswith(f"{column}/")]
    suffixes = [name.removeprefix(column) for name in measured]
    own = np.stack([target.column(column + suffix).double().numpy() for suffix in suffixes], axis=1)
    other = np.stack([reference.column(column + suffix).double().numpy() for suffix in suffixes], axis=1)

    estimates: dict[str, Estimate] = {}
    gaps: dict[str, tuple[Terms, ...]] = {}
    ids = target.ids
    for place, suffix in enumerate(suffixes):
        means = unbounded_mean(own[:, place]), unbounded_mean(other[:, place])
        estimates |= {f"target_{column}{suffix}": means[0], f"reference_{column}{suffix}": means[1]}
        if paired:
            each = sign * (own[:, place] - other[:, place])
            gaps[metric + suffix] = (Terms(ids, each),)
            estimates[metric + suffix] = unbounded_mean(each)
        else:
            terms = Terms(ids, sign * own[:, place]), Terms(reference.ids, -sign * other[:, place])
            gaps[metric + suffix] = terms
            estimates[metric + suffix] = difference(*(means if sign > 0 else means[::-1]))
    if not paired:
        return Comparison(estimates, None, gaps, target.settings)
    each = gaps[metric][0].values
    spread = float(each.max() - each.min())
    estimates[f"{metric}_scaled"] = estimates[metric].scaled(1 / spread if spread > 0 else 0.0)
    mean, deviation = statistics.subsample_spread(lambda rows: float(each[rows].mean()), len(each), seed)
    estimates |= {f"{metric}_subsample_mean": Estimate(mean), f"{metric}_subsample_std": Estimate(deviation)}
    kept = [name for name in target.table.column_names if name not in measured]
    columns: dict[str, Any] = {name: target.table[name] for name in kept}
    columns["memorization"] = each
    for role, records in (("target", target), ("reference", reference)):
        columns |= {f"{role}_{column}{suffix}": records.table[column + suffix] for suffix in suffixes}
    return Comparison(estimates, pa.table(columns), gaps, target.settings)


@dataclass(frozen=True)
class AlignmentDisplay(Display):
    """Of records with one number each."""

    def note(self, row: Mapping[str, Any]) -> str:
        """How much the record is memorized."""
        return f"{row['memorization']:+.3f}"

    def ranking(self, table: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
        """List every record, the most memorized first, with the names of its class where it has one."""
        rows = super().ranking(table, names)
        for row in rows:
            if names and row.get("label", -1) >= 0:
                row["label"] = names[row["label"]]
        return rows


def alignment_display(metric: str, paper: str, column: str, label: str, title: str) -> AlignmentDisplay:
    """Describe how a test of alignment is shown.

    Args:
        metric, column: as in :func:`compare_alignment`.
        paper: what the paper calls the metric.
        label: of ``column``.
        title: of the gallery.
    """
    return AlignmentDisplay(
        rows=(
            *gap_rows(metric, paper),
            TableRow(f"{paper} divided by its range, as published", f"{metric}_scaled", True),
            TableRow(f"target {label}", f"target_{column}"),
            TableRow(f"reference {label}", f"reference_{column}"),
        ),
        answers=Answers(column, label),
        gaps={metric: paper},
        spread=Spread(
            key=metric,
            file=metric,
            column="memorization",
            title=f"{paper} of each record",
            axis=f"{paper}: to the right the target aligns the record better",
            caption=f"{paper} of each record: how much better the target aligns it than the reference. Two models "
            "differ in this also where nothing is memorized: see the control. All records and seeds; no intervals.",
        ),
        most_memorized_title=title,
    )
