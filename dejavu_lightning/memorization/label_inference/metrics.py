"""Déjà vu score, accuracies and outcomes of label inference (Meehan et al. 2023, arXiv 2304.13850, section 4)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import share
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization import statistics
from dejavu_lightning.memorization.label_inference.score import score
from dejavu_lightning.memorization.protocols import Comparison
from dejavu_lightning.metrics.functional import partition

FRACTIONS = {"score": 1.0, "score@20": 0.2, "score@5": 0.05}
COLUMNS = ("confidence", "correct", "correct_top5")  # of each layer and number of neighbours
OUTCOMES = ("memorized", "correlated", "misrepresented", "unassociated")


def compare_labels(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
    """Compute scores, accuracies and, of paired records, outcomes; scores and accuracies of each further name, too."""
    estimates, gaps = _scores(target, reference, paired)
    for name in further_names(target):
        more, terms = _scores(_of(target, name), _of(reference, name), paired)
        estimates |= {f"{metric}/{name}": estimate for metric, estimate in more.items()}
        gaps |= {f"{metric}/{name}": values for metric, values in terms.items()}
    if paired:
        own, other = target.column("correct"), reference.column("correct")
        cells = zip(OUTCOMES, partition(own, other), strict=True)
        estimates |= {name: share(round(float(cell) * len(own)), len(own)) for name, cell in cells}
        outcome = own.double() - other.double()
        mean, spread = statistics.subsample_spread(lambda rows: float(outcome[rows].mean()), len(own), seed)
        estimates |= {"score_subsample_mean": Estimate(mean), "score_subsample_std": Estimate(spread)}
    return Comparison(estimates, _joined(target, reference) if paired else None, gaps, target.settings)


def further_names(records: Records) -> list[str]:
    """Which layers and numbers of neighbours records have columns of, besides the plain ones."""
    return [name.removeprefix("correct/") for name in records.table.column_names if name.startswith("correct/")]


def _of(records: Records, name: str) -> Records:
    """The records of a further name; of an inference that has none, such as a classifier's, they are the same."""
    suffix = f"/{name}" if f"correct/{name}" in records.table.column_names else ""
    columns = {column: records.table[f"{column}{suffix}"] for column in COLUMNS}
    return Records(pa.table({"id": records.table["id"], **columns}), records.settings)


def _scores(
    target: Records, reference: Records, paired: bool
) -> tuple[dict[str, Estimate], dict[str, tuple[statistics.Terms, ...]]]:
    """Scores and accuracies, and what the records add to the scores."""
    scores = {name: score(target, reference, fraction, paired) for name, fraction in FRACTIONS.items()}
    scores["top5_score"] = score(target, reference, 1.0, paired, column="correct_top5")
    estimates = {name: estimate for name, (estimate, _) in scores.items()}
    for role, records in (("target", target), ("reference", reference)):
        for name, column in (("accuracy", "correct"), ("top5_accuracy", "correct_top5")):
            estimates[f"{role}_{name}"] = share(int(records.column(column).sum()), len(records))
    return estimates, {name: terms for name, (_, terms) in scores.items()}


def _joined(target: Records, reference: Records) -> pa.Table:
    own, other = target.column("correct"), reference.column("correct")
    code = (~own).int() * 2 + (own == other).int()  # own only: 0, both: 1, other only: 2, neither: 3
    columns: dict[str, Any] = {
        "id": target.table["id"],
        "label": target.table["label"],
        "outcome": [OUTCOMES[index] for index in code.tolist()],
    }
    for role, records in (("target", target), ("reference", reference)):
        columns |= {f"{role}_{name}": records.table[name] for name in ("predicted", "confidence", "neighbors")}
    columns["memorization_confidence"] = (target.column("confidence") - reference.column("confidence")).numpy()
    return pa.table(columns)
