"""How label inference is shown: its labels, its outcomes, and the records whose label only the target infers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization.display import Answers, Display, Series, Spread, TableRow, gap_rows
from dejavu_lightning.memorization.label_inference.score import score

CONFIDENCE = "memorization_confidence"


@dataclass(frozen=True)
class LabelDisplay(Display):
    """Of records with an outcome each."""

    def memorized(self, table: pa.Table) -> NDArray[np.bool_]:
        """(N,) whether only the target infers the label."""
        return np.array([outcome == "memorized" for outcome in table["outcome"].to_pylist()], dtype=bool)

    def inferred(self, table: pa.Table) -> NDArray[np.bool_]:
        """(N,) whether the reference infers the label, with the target or alone."""
        known = ("correlated", "misrepresented")
        return np.array([outcome in known for outcome in table["outcome"].to_pylist()], dtype=bool)

    def by_confidence(self, table: pa.Table) -> pa.Table:
        """The records by memorization confidence, then by id: one near the top may be one that neither infers."""
        return table.sort_by([(CONFIDENCE, "descending"), ("id", "ascending")])

    def most_memorized(self, table: pa.Table) -> pa.Table:
        """Rows that only the target gets right, by its confidence, then by id."""
        paired = "outcome" in table.column_names
        chosen = table.filter(pc.equal(table["outcome"], "memorized") if paired else table["target_correct"])
        return chosen.sort_by([("target_confidence", "descending"), ("id", "ascending")])

    def of_outcome(self, table: pa.Table, outcome: str) -> pa.Table:
        """Rows of one outcome by the confidence of a model that is right, the target's if both are, then by id."""
        surer = "reference_confidence" if outcome == "misrepresented" else "target_confidence"
        chosen = table.filter(pc.equal(table["outcome"], outcome))
        return chosen.sort_by([(surer, "descending"), ("id", "ascending")])

    def series(self, estimates: Collection[str]) -> list[Series]:
        """The layers, and the numbers of neighbours in ascending order, of which there are scores."""
        names = [name.removeprefix("score/") for name in estimates if name.startswith("score/")]
        numbers = {name: float(name[2:]) for name in names if re.fullmatch(r"k=\d+", name)}
        ordered = {name: numbers[name] for name in sorted(numbers, key=numbers.__getitem__)}
        found = [
            Series("by_layer", "layer, from the backbone on", {name: None for name in names if name not in numbers}),
            Series("by_neighbors", "neighbours that vote, k", ordered),
        ]
        return [series for series in found if series.places]

    def groups(self, table: pa.Table) -> Iterator[tuple[int, bool]]:
        """Yield the label of each record, and whether only the target infers it."""
        for row in table.select(["label", "outcome"]).to_pylist():
            yield row["label"], row["outcome"] == "memorized"

    def score_by_share(
        self, target: Records, reference: Records, shares: Sequence[float], paired: bool
    ) -> list[Estimate]:
        """Compute ``score@p`` for every share p."""
        return [score(target, reference, share, paired)[0] for share in shares]

    def ranking(self, table: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
        """List every record in the order of :meth:`by_confidence`."""

        def name(label: int) -> str:
            return names[label] if names and label >= 0 else str(label)

        return [
            {
                "rank": rank,
                "id": row["id"],
                CONFIDENCE: row[CONFIDENCE],
                "outcome": row["outcome"],
                **{key: name(row[key]) for key in ("label", "target_predicted", "reference_predicted")},
            }
            for rank, row in enumerate(self.by_confidence(table).to_pylist(), start=1)
        ]


DISPLAY = LabelDisplay(
    rows=(
        *gap_rows("score", "déjà vu score"),
        *gap_rows("score@20", "score, 20% most confident"),
        *gap_rows("score@5", "score, 5% most confident"),
        *gap_rows("top5_score", "top-5 score"),
        TableRow("target accuracy", "target_accuracy"),
        TableRow("reference accuracy", "reference_accuracy"),
        TableRow("target top-5 accuracy", "target_top5_accuracy"),
        TableRow("reference top-5 accuracy", "reference_top5_accuracy"),
        TableRow("memorized", "memorized"),
        TableRow("correlated", "correlated"),
        TableRow("misrepresented", "misrepresented"),
        TableRow("unassociated", "unassociated"),
    ),
    answers=Answers("accuracy", "label inference accuracy"),
    gaps={"score": "déjà vu score"},
    outcomes={
        "memorized": "only the target is right",
        "correlated": "both are right",
        "misrepresented": "only the reference is right",
        "unassociated": "neither is right",
    },
    galleries={
        "correlated": "Correlated records: both models infer the label, ordered by the target's confidence",
        "misrepresented": "Misrepresented records: only the reference infers the label, ordered by its confidence",
    },
    spread=Spread(
        key=CONFIDENCE,
        column=CONFIDENCE,
        title="Memorization confidence",
        axis="entropy of the reference minus that of the target, nats",
        caption="Entropy of the reference's answer minus that of the target's votes, in nats: to the right the target "
        "is surer than the reference. All records, over all seeds; no intervals. Being sure is not being right, which "
        "is what the colours tell.",
        by="outcome",
        file="confidence",
    ),
    left_out="annotated pictures without usable background",
    truth="label",
    truth_labels=("class", "classes"),
    most_memorized_title="Most memorized records: only the target infers the label, ordered by its confidence",
    best_answered_title="Records whose label the target infers, ordered by its confidence (no reference per record)",
)
