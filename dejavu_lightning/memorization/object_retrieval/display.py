"""How object retrieval is shown: its labels, and the captions by which the target finds more objects."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dejavu_lightning.core.samples import DisplaySample
from dejavu_lightning.memorization.display import (
    GALLERY_NEIGHBORS,
    Answers,
    Display,
    GapVariant,
    Levels,
    Spread,
    TableRow,
    gap_rows,
)


@dataclass(frozen=True)
class ObjectDisplay(Display):
    """Of records with several objects each."""

    def memorized(self, table: pa.Table) -> NDArray[np.bool_]:
        """(N,) whether the target finds more objects."""
        return np.array([gap > 0 for gap in table["correct_gap"].to_pylist()], dtype=bool)

    def most_memorized(self, table: pa.Table) -> pa.Table:
        """Rows by how many objects more the target finds, then by the distance of its nearest neighbour, then by id."""
        gap = "correct_gap" if "correct_gap" in table.column_names else "target_correct"
        chosen = table.filter(pc.greater(table[gap], 0))
        return chosen.sort_by([(gap, "descending"), ("target_min_distance", "ascending"), ("id", "ascending")])

    def groups(self, table: pa.Table) -> Iterator[tuple[int, bool]]:
        """Yield each object that is asked for of each record, and whether only the target retrieves it.

        With ``unnamed_only`` the objects that a caption names are neither asked for nor predicted.
        """
        asked_for = "scored" if "scored" in table.column_names else "objects"
        for row in table.select([asked_for, "target_predicted", "reference_predicted"]).to_pylist():
            only = set(row["target_predicted"]) - set(row["reference_predicted"])
            for one in row[asked_for]:
                yield one, one in only

    def ranking(self, table: pa.Table, names: Any) -> list[dict[str, Any]]:
        """None: ``sample_gaps`` holds the orders of this test."""
        return []

    def variants(self, metrics: Collection[str], settings: Mapping[str, Any]) -> list[GapVariant]:
        """PPG and PRG of all neighbours and numbers of objects, as :meth:`ObjectRetrieval.variants` names them."""
        found = []
        for metric in metrics:
            if parts := re.fullmatch(r"(ppg|prg)(?:@(\d+)(?:/top(\d+))?)?", metric):
                gap, k, objects = parts.groups()
                found.append(GapVariant(metric, gap, int(k or settings["k"]), f"top {objects}" if objects else "all"))
        return found

    def gap_measure(self, metric: str) -> str:
        """PRG and AUCG are of recalls, PPG of precisions."""
        return "recall" if metric.removeprefix("net_").startswith(("prg", "aucg")) else "precision"

    def gallery_title(self, settings: Mapping[str, Any], paired: bool) -> str:
        """Say which objects count, among how many neighbours."""
        objects = "unnamed objects" if settings["unnamed_only"] else "objects"
        nearest = f"among the {settings['k']} nearest, {GALLERY_NEIGHBORS} of them shown"
        if paired:
            return f"Most memorized captions: the target finds more {objects} than the reference ({nearest})"
        return f"Captions by which the target finds most {objects} ({nearest}; no reference per record)"

    def correct(self, record: DisplaySample, settings: Mapping[str, Any]) -> frozenset[str]:
        """The objects that are scored: without those that the caption names where the test leaves them out."""
        return frozenset(record.objects) - (frozenset(record.named) if settings["unnamed_only"] else frozenset())


DISPLAY = ObjectDisplay(
    rows=(
        *gap_rows("ppg", "PPG, precision gap"),
        *gap_rows("prg", "PRG, recall gap"),
        *gap_rows("aucg", "AUCG, recall area"),
        TableRow("target precision", "target_precision"),
        TableRow("reference precision", "reference_precision"),
        TableRow("target recall", "target_recall"),
        TableRow("reference recall", "reference_recall"),
    ),
    answers=Answers("recall", "mean recall of objects"),
    gaps={"ppg": "PPG (precision)", "prg": "PRG (recall)"},
    spread=Spread(
        key="object_gaps",
        column="correct_gap",
        title="Objects found beyond the reference",
        axis="objects found: target minus reference",
        caption="Objects that the target finds of a record minus those that the reference finds. Without memorization "
        "the bars of models that are equally able are symmetric about 0. All records, over all seeds; no intervals.",
    ),
    levels=Levels(
        key="recalls",
        column="recall",
        title="Recall of the records",
        axis="recall of a record's objects, at least",
        caption="The area between the two is their difference in mean recall (AUCG).",
    ),
    left_out="pictures without an object to score",
    truth="objects",
    truth_labels=("object", "objects"),
    orders={
        "min_distance": "nearest neighbour closest",
        "correct": "most objects found",
        "gap": "most found beyond the reference",
    },
    memorization="correct_gap",
)
