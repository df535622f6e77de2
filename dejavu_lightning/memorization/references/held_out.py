"""The reference without a second model: the target on records that it was not trained on."""

from __future__ import annotations

from typing import Literal

from dejavu_lightning.core.samples import Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.memorization.protocols import Attack, MemorizationTest, ReferenceRecords


class HeldOut:
    """Attack the target itself on records that it was not trained on: no second model is needed.

    A and B are random halves of one population, so the target's accuracy on records of the other half
    estimates the dataset-level correlation. There is no outcome per record.

    Args:
        split: "other_split" attacks the records of the other training split, "neither_split" those of neither.

    Raises:
        ValueError: ``split`` is neither of them.

    Example:
        >>> from torch import tensor
        >>> from dejavu_lightning.memorization import LabelInference, MemorizationSets
        >>> seen, unseen = [(tensor([0.1]), 0)], [(tensor([0.4]), 1)]
        >>> public = [(tensor([0.0]), 0), (tensor([1.0]), 1)]
        >>> sets = MemorizationSets(seen, public, num_classes=2, other_split=unseen)
        >>> attack = LabelInference(k=1).prepare(lambda x: x, sets)
        >>> HeldOut().records(attack, epoch=None).attack.column("correct")
        tensor([False])
    """

    paired = False
    kind = "held-out records"

    def __init__(self, split: Literal["other_split", "neither_split"] = "other_split") -> None:
        if split not in ("other_split", "neither_split"):
            raise ValueError(f"HeldOut: split must be 'other_split' or 'neither_split', got {split!r}")
        self.split = split

    def check(self, test: MemorizationTest, sets: MemorizationSets, epochs: list[int]) -> None:
        """The set must be there."""
        self._samples(sets)

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """The target's own records of the set it was not trained on."""
        return ReferenceRecords(attack(self._samples(attack.sets), f"{self.split} reference"), None)

    def _samples(self, sets: MemorizationSets) -> Samples:
        samples = sets.other_split if self.split == "other_split" else sets.neither_split
        if samples is None:
            raise ValueError(
                f"HeldOut(split={self.split!r}) needs {self.split!r} among the memorization sets, and there is none"
            )
        return samples
