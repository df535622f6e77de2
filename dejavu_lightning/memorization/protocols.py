"""What a memorization test, an attack and a reference are to the rest of the package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import pyarrow as pa
from torch import Tensor

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.core.estimate import Estimate, flatten
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.encoders import Encoder
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.statistics import Terms


@dataclass(frozen=True)
class Comparison:
    """The estimates of a target against a reference, and what each record adds to them.

    Args:
        estimates: each name of the table in docs/reference/metrics.md with its value and 95% interval.
        table: one row per record with both models' answers; None where they were attacked on different records.
        gaps: what the records add to those estimates that are 0 of two models alike: one sample of paired records,
            else the target's and the reference's. Controls, net estimates and symmetric averages are made of these.
        settings: of the target's records.
        sample_gaps: gaps of the top records beside their null, where the test has them.

    Example:
        >>> from dejavu_lightning.core.estimate import Estimate
        >>> found = Comparison({"score": Estimate(0.25, low=0.125, high=0.5)}, table=None, gaps={}, settings={})
        >>> found.metrics
        {'score': 0.25, 'score_low': 0.125, 'score_high': 0.5}
    """

    estimates: dict[str, Estimate]
    table: pa.Table | None
    gaps: dict[str, tuple[Terms, ...]]
    settings: Mapping[str, Any]
    sample_gaps: pa.Table | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """The estimates as they are logged, see :func:`~dejavu_lightning.core.estimate.flatten`."""
        return flatten(self.estimates)


class Attack(Protocol):
    """A test bound to one encoder and the sets it is run on.

    Example:
        >>> from torch import tensor
        >>> from dejavu_lightning.memorization import LabelInference, MemorizationSets
        >>> records, public = [(tensor([0.1]), 0), (tensor([0.9]), 1)], [(tensor([0.0]), 0), (tensor([1.0]), 1)]
        >>> attack = LabelInference(k=1).prepare(lambda x: x, MemorizationSets(records, public, num_classes=2))
        >>> attack(records, "attack").column("correct")
        tensor([True, True])
    """

    @property
    def test(self) -> MemorizationTest: ...

    @property
    def encoder(self) -> Encoder: ...

    @property
    def sets(self) -> MemorizationSets: ...

    @property
    def settings(self) -> dict[str, Any]:
        """What the records depend on besides the model; ``test`` is the test's name."""
        ...

    def on(self, encoder: Encoder, sets: MemorizationSets) -> Attack:
        """Prepare the same attack on another model."""
        ...

    def __call__(self, dataset: Samples, role: str) -> Records:
        """Attack every record of a dataset; ``role`` is what errors call it."""
        ...


@runtime_checkable
class MemorizationTest(Protocol):
    """A memorization test: how records are attacked, compared and shown.

    Attributes:
        name: stands in the settings of its records and finds the test of saved ones, see ``TESTS``.
        headline: the gap that sums a comparison up; its net value where there is one.
        display: labels, tables, order and pictures of its records.

    Example:
        >>> from dejavu_lightning.memorization import LabelInference
        >>> isinstance(LabelInference(), MemorizationTest), LabelInference.name
        (True, 'label_inference')
    """

    name: ClassVar[str]
    headline: ClassVar[str]
    display: ClassVar[Display]

    def check(self, encoder: Encoder) -> None:
        """Raise now what encoding would raise later."""
        ...

    def prepare(self, encoder: Encoder, sets: MemorizationSets) -> Attack:
        """Embed what is public once, ready to attack any number of datasets."""
        ...

    @staticmethod
    def compare(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
        """Compute what two tables of its records say; of the same ids in the same order if ``paired``."""
        ...


@runtime_checkable
class ChoosesNeighbors(Protocol):
    """A test that looks at fewer neighbours of a small public set where nobody says at how many."""

    def chosen_k(self, public: int) -> int | None:
        """How many it chooses of so many public samples; None where it was told."""
        ...


@runtime_checkable
class InfersLabels(Protocol):
    """A test whose records any inference of labels can fill."""

    def records_of_probabilities(
        self, ids: list[str], labels: Tensor, probabilities: Iterable[Tensor], reference: str
    ) -> Records:
        """Make records of (N, C) probabilities, given in parts; ``reference`` says who inferred them."""
        ...


@runtime_checkable
class RetrievesByCaption(Protocol):
    """A test of captions that can be matched to public captions, too."""

    def by_captions(self, batch_size: int) -> MemorizationTest:
        """Make the same test with captions looked up among public captions."""
        ...


class ReferenceRecords(NamedTuple):
    """What a reference infers of the attacked records, and of those of neither split where it can.

    Attributes:
        attack: its records of the attacked set; with the ids of the target's if it is paired.
        neither_split: those of the held-out set, which make controls and net estimates.

    Example:
        >>> import pyarrow as pa
        >>> from dejavu_lightning.memorization import Records
        >>> ReferenceRecords(Records(pa.table({"id": ["a"], "correct": [True]})), None).attack.ids
        ['a']
    """

    attack: Records
    neither_split: Records | None

    def judging(self, leave_out: DecisionPart) -> ReferenceRecords:
        """Those of them that did not decide."""
        held_out = self.neither_split
        return ReferenceRecords(
            self.attack.judging(leave_out), None if held_out is None else held_out.judging(leave_out)
        )


@runtime_checkable
class Reference(Protocol):
    """What tells how much of the attacked records can be inferred without having seen them.

    It answers with records that are comparable to the target's.

    Attributes:
        paired: whether its records have the target's ids.
        kind: what reports call it, such as "second model". Gaps to references of two kinds are no estimates of one
            quantity; they are not shown in one table.

    Example:
        >>> from dejavu_lightning.memorization import HeldOut
        >>> isinstance(HeldOut(), Reference), HeldOut().kind, HeldOut().paired
        (True, 'held-out records', False)
    """

    paired: bool
    kind: str

    def check(self, test: MemorizationTest, sets: MemorizationSets, epochs: list[int]) -> None:
        """Raise now what would otherwise be raised in one of these epochs."""
        ...

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """Infer; ``attack`` is the target's, ``epoch`` the number of epochs it has completed."""
        ...
