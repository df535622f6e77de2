"""References whose answer does not change with the target's epoch (Kokhlikyan et al. 2024, arXiv 2504.05651)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.memorization.protocols import Attack, MemorizationTest, ReferenceRecords
from dejavu_lightning.memorization.references.kept_answer import KeptAnswer


class FixedReference(ABC):
    """Asks a reference once and keeps its answer, for the same sets and settings of the test.

    Attributes:
        kind: what reports call it.
        serves: protocol of the tests it can be the reference of.
        served: what errors call them.
    """

    paired = True
    kind: str
    serves: ClassVar[type[Any]]
    served: ClassVar[str]
    _kept: KeptAnswer[ReferenceRecords] | None = None

    @abstractmethod
    def infer(self, attack: Attack) -> ReferenceRecords:
        """Answer for the attacked records, and for those of neither split where that can be."""

    def check(self, test: MemorizationTest, sets: MemorizationSets, epochs: list[int]) -> None:
        """The test must be one that it can serve; subclasses raise what asking would raise later.

        Raises:
            TypeError: it is not.
        """
        self._check_test(test)

    def _check_test(self, test: MemorizationTest) -> None:
        if not isinstance(test, self.serves):
            raise TypeError(
                f"{type(self).__name__} cannot be the reference of {type(test).__name__}: it is made for tests of "
                f"{self.served}"
            )

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """The same in every epoch."""
        self._check_test(attack.test)
        if self._kept is None:
            self._kept = KeptAnswer()
        kept = self._kept.find(attack.sets, attack.settings)
        return kept or self._kept.keep(attack.sets, attack.settings, self.infer(attack))
