"""What the one-model references of Kokhlikyan et al. (2024, arXiv 2504.05651) share: their answer is no model's age."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.memorization.protocols import Attack
from dejavu_lightning.memorization.references.second_model import ReferenceRecords


class FixedReference(ABC):
    """A reference whose answer does not depend on the target's epoch: it is asked once."""

    paired = True
    serves: ClassVar[str]  # the name of the tests it can be the reference of
    _kept: tuple[MemorizationSets, str, ReferenceRecords] | None = None

    @abstractmethod
    def infer(self, attack: Attack) -> ReferenceRecords:
        """Answer for the attacked records, and for the held-out ones where that can be."""

    def check(self, sets: MemorizationSets, epochs: list[int]) -> None:
        """Forget what was kept; subclasses raise what asking would raise later."""
        self._kept = None

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """The same in every epoch."""
        asked = str(vars(attack.test))
        if self._kept is None or self._kept[0] is not attack.sets or self._kept[1] != asked:
            self._kept = (attack.sets, asked, self.infer(attack))
        return self._kept[2]
