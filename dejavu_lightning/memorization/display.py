"""How the records and metrics of a test are shown: labels, order, galleries. Data alone; ``figures`` draws it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import DisplayableSamples, DisplaySample
from dejavu_lightning.core.sets import MemorizationSets

GALLERY_NEIGHBORS = 4
NO_MODELS_COLUMNS = ("id", "label", "objects", "scored")  # of a record table


class TableRow(NamedTuple):
    """A line of the terminal's table; ``signed`` ones are differences."""

    label: str
    metric: str
    signed: bool = False


def gap_rows(gap: str, label: str) -> tuple[TableRow, ...]:
    """Rows of a gap and of what is made of it, what sums it up first.

    ``unpaired_<gap>`` is there in place of ``<gap>`` where the two of unpaired records are other quantities.
    """
    return (
        TableRow(f"net {label}", f"net_{gap}", True),
        TableRow(label, gap, True),
        TableRow(f"control, {label}", f"control_{gap}", True),
        TableRow(f"symmetric {label}", f"symmetric_{gap}", True),
        TableRow(f"unpaired {label}", f"unpaired_{gap}", True),
    )


class Answers(NamedTuple):
    """What the curve shows of each model: ``target_<metric>`` and ``reference_<metric>``."""

    metric: str
    label: str


class Spread(NamedTuple):
    """A column of the comparison whose distribution over records is drawn.

    ``key`` names its panel and CSV file, ``file`` its picture. Whole numbers get a bar each, others bins. Colours tell
    what the column ``by`` says, one of the outcomes; without one, the sign.
    """

    key: str
    column: str
    title: str
    axis: str
    caption: str
    by: str = ""
    file: str = "spread"


class Levels(NamedTuple):
    """A share of each record that both models reach: how many records reach at least each level is drawn.

    ``key`` names its panel and CSV file, ``column`` that of the comparison, behind ``target_`` and ``reference_``.
    """

    key: str
    column: str
    title: str
    axis: str
    caption: str


class Series(NamedTuple):
    """Numbers of one measurement along an axis, such as the layers of a model: ``<metric>/<name>`` at each place.

    Attributes:
        key: what its picture is called.
        axis: what is along it.
        places: name -> where it lies on the axis, in order; None where it has no number, as a layer.
    """

    key: str
    axis: str
    places: Mapping[str, float | None]


class GapVariant(NamedTuple):
    """A gap of a test that counts answers in several ways: ``metric`` of ``gap``, of k neighbours and some objects."""

    metric: str
    gap: str
    k: int
    objects: str


class GalleryRow(NamedTuple):
    """One record of the gallery.

    ``correct``: names that count as right; ``target``, ``reference``: public samples nearest to it for each model,
    nearest first, empty where there are none; ``note`` stands beside the id.
    """

    identifier: str
    record: DisplaySample
    correct: frozenset[str]
    target: Sequence[DisplaySample]
    reference: Sequence[DisplaySample]
    note: str = ""


@dataclass(frozen=True)
class Display:
    """What figures, tables and reports need of a test.

    A test with more to show overrides the methods. It holds data alone; ``figures`` draws it.

    Args:
        rows: of the terminal's table; their labels name the metrics everywhere.
        answers: the upper half of the curve.
        gaps: gap -> label, the lower half of the curve, the headline's first.
        outcomes: metric -> meaning, shares of all records that add up to 1.
        galleries: outcome -> title, of records that have a gallery of their own beside that of the memorized ones.
        spread: of a column over the records.
        levels: of both models' columns over the records.
        left_out: what ``excluded`` counts.
        truth: column of the records that says what is true of them; runs that are compared must share it.
        truth_labels: one and several of what that column holds, such as ("class", "classes").
        orders: name -> meaning of the orders in ``sample_gaps``.
        memorization: column of the comparison, positive where the target knows more of a record than the reference.
        most_memorized_title: of the gallery, with a reference per record.
        best_answered_title: of the gallery without one.

    Example:
        >>> display = Display(gap_rows("gap", "my gap"), Answers("accuracy", "accuracy"), gaps={"gap": "my gap"})
        >>> display.label("net_gap"), display.shown_gaps(["gap", "net_gap"])
        ('net my gap', [('net_gap', 'net my gap', 'gap')])
    """

    rows: Sequence[TableRow]
    answers: Answers
    gaps: Mapping[str, str]
    outcomes: Mapping[str, str] = field(default_factory=dict)
    galleries: Mapping[str, str] = field(default_factory=dict)
    spread: Spread | None = None
    levels: Levels | None = None
    left_out: str = "records"
    truth: str = ""
    truth_labels: tuple[str, str] = ("class", "classes")
    orders: Mapping[str, str] = field(default_factory=dict)
    memorization: str = "memorization"
    most_memorized_title: str = "Most memorized records"
    best_answered_title: str = "Records that the target knows best (no reference per record)"

    def label(self, metric: str) -> str:
        """The label of a metric, that of its gap for a net value; its own name where neither has one."""
        labels = {row.metric: row.label for row in self.rows}
        gap = metric.removeprefix("net_")
        return labels.get(metric) or (f"net {labels[gap]}" if gap in labels else metric)

    def shown_gaps(self, metrics: Collection[str]) -> list[tuple[str, str, str | None]]:
        """List (metric, label, metric beside it) of each gap, of what there is.

        The net value has the gap of the attacked records beside it; without held-out records the gap stands alone.
        """
        found: list[tuple[str, str, str | None]] = []
        for gap, label in self.gaps.items():
            if f"net_{gap}" in metrics:
                found.append((f"net_{gap}", f"net {label}", gap))
            elif gap in metrics:
                found.append((gap, label, None))
            elif f"unpaired_{gap}" in metrics:
                found.append((f"unpaired_{gap}", f"unpaired {label}", None))
        return found

    def memorized(self, table: pa.Table) -> NDArray[np.bool_]:
        """(N,) whether the target knows more of each record of a comparison than the reference."""
        return np.array([value > 0 for value in table[self.memorization].to_pylist()], dtype=bool)

    def inferred(self, table: pa.Table) -> NDArray[np.bool_] | None:
        """(N,) whether the reference is right about each record of a comparison; None where no answer is right."""
        return None

    def by_confidence(self, table: pa.Table) -> pa.Table | None:
        """A comparison, the records of which the test is surest first; None where it has no confidence."""
        return None

    def variants(self, metrics: Collection[str], settings: Mapping[str, Any]) -> list[GapVariant]:
        """List what there is of a test's gaps in other ways of counting than the plain one, and that; if it has any."""
        return []

    def most_memorized(self, table: pa.Table) -> pa.Table:
        """Rows of the memorized records, the clearest first, then by id.

        Args:
            table: of a comparison; or, without a reference per record, the target's own records, the names of its
                columns with ``target_`` before them.
        """
        if self.memorization not in table.column_names:
            return table.slice(0, 0)
        chosen = table.filter(pc.greater(table[self.memorization], 0))
        return chosen.sort_by([(self.memorization, "descending"), ("id", "ascending")])

    def of_outcome(self, table: pa.Table, outcome: str) -> pa.Table:
        """Rows of one outcome of ``galleries``, the clearest first, then by id."""
        return table.slice(0, 0)

    def series(self, estimates: Collection[str]) -> list[Series]:
        """List what estimates hold along an axis; nothing where they are of one layer and one number of neighbours."""
        return []

    def groups(self, table: pa.Table) -> Iterator[tuple[int, bool]]:
        """Yield each class or object that a record of a comparison counts for, and whether it is memorized there."""
        yield from ()

    def score_by_share(
        self, target: Records, reference: Records, shares: Sequence[float], paired: bool
    ) -> list[Estimate]:
        """Compute the headline over the most confident records, by share of them; empty without a confidence."""
        return []

    def ranking(self, table: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
        """List every record of a comparison, the most memorized first, for ``ranking.csv``; empty if none is kept."""
        if self.memorization not in table.column_names:
            return []
        ordered = table.sort_by([(self.memorization, "descending"), ("id", "ascending")])
        plain = [name for name in ordered.column_names if not name.endswith("neighbors")]
        return [{"rank": rank, **row} for rank, row in enumerate(ordered.select(plain).to_pylist(), start=1)]

    def gap_measure(self, metric: str) -> str:
        """Which measure of ``sample_gaps`` goes with a gap or its net value."""
        return metric

    def gallery_title(self, settings: Mapping[str, Any], paired: bool) -> str:
        """What stands above the gallery of records with these settings."""
        return self.most_memorized_title if paired else self.best_answered_title

    def correct(self, record: DisplaySample, settings: Mapping[str, Any]) -> frozenset[str]:
        """Names that count as right for a record."""
        return frozenset(record.objects)

    def note(self, row: Mapping[str, Any]) -> str:
        """What stands beside the id of a record of a comparison."""
        return ""

    def gallery(
        self,
        table: pa.Table | None,
        target: Records,
        sets: MemorizationSets,
        count: int,
        outcome: str | None = None,
    ) -> list[GalleryRow]:
        """The most memorized records with their pictures, at most ``count``; empty where the sets cannot show them.

        The order selects on the outcome, so it shows what memorization looks like, not how much there is.

        Args:
            outcome: one of ``galleries``: records of that outcome instead.
        """
        if not isinstance(sets.attack, DisplayableSamples):
            return []
        if table is None:
            own = target.table.column_names
            table = target.table.rename_columns(
                [name if name in NO_MODELS_COLUMNS else f"target_{name}" for name in own]
            )
        chosen = self.most_memorized(table) if outcome is None else self.of_outcome(table, outcome)
        rows = chosen.slice(0, count).to_pylist()
        attacked = _positions(sets.attack, {row["id"] for row in rows})
        near = {identifier for row in rows for side in _sides(row) for identifier in side}
        if near and not isinstance(sets.public, DisplayableSamples):
            return []
        bank: Any = sets.public
        public = _positions(bank, near) if near else {}
        found = []
        for row in rows:
            record = sets.attack.display(attacked[row["id"]])
            own, other = ([bank.display(public[i]) for i in side] for side in _sides(row))
            correct = self.correct(record, target.settings)
            found.append(GalleryRow(row["id"], record, correct, own, other, self.note(row)))
        return found


def _sides(row: Mapping[str, Any]) -> list[list[str]]:
    """Ids of the nearest public samples of target and reference."""
    return [list((row.get(f"{role}_neighbors") or [])[:GALLERY_NEIGHBORS]) for role in ("target", "reference")]


def _positions(dataset: DisplayableSamples, wanted: set[str]) -> dict[str, int]:
    return {identifier: position for position, identifier in enumerate(dataset.ids) if identifier in wanted}
