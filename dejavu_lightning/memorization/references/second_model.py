"""The reference of the two-model test: a second model that was not trained on the attacked records."""

from __future__ import annotations

from dejavu_lightning.core.distributed import failing_together
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import SplitRecord, verify_disjoint
from dejavu_lightning.embedding.encoders import ModuleEncoder, preserve_state
from dejavu_lightning.memorization.protocols import Attack, MemorizationTest, ReferenceRecords


class SecondModel:
    """Attacks a model at hand that was not trained on the attacked records (Meehan et al. 2023, arXiv 2304.13850).

    Args:
        encoder: the second model.
        trained_on: what it was trained on, if that is known.
        sets: the target's sets in the preprocessing of this model; the target's own if not given.
        name: what errors call it.
        allow_unverified_split: see :func:`~dejavu_lightning.core.split_record.verify_disjoint`.
    """

    paired = True
    kind = "second model"

    def __init__(
        self,
        encoder: ModuleEncoder,
        trained_on: SplitRecord | None = None,
        sets: MemorizationSets | None = None,
        name: str = "the reference",
        allow_unverified_split: bool = False,
    ) -> None:
        self.encoder, self.trained_on, self.sets, self.name = encoder, trained_on, sets, name
        self.allow_unverified_split = allow_unverified_split

    def check(self, test: MemorizationTest, sets: MemorizationSets, epochs: list[int]) -> None:
        """It must come from a disjoint split."""
        if not self.allow_unverified_split:
            verify_disjoint(sets.trained_on, self.trained_on, self.name)

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """The second model's records, with its own bank of public embeddings."""
        with failing_together():
            self.check(attack.test, attack.sets, [])
        sets = self.sets or attack.sets
        with preserve_state(self.encoder.module):
            other = attack.on(self.encoder, sets)
            attacked = other(sets.attack, "attack")
            return ReferenceRecords(attacked, other(sets.neither_split, "held-out") if sets.neither_split else None)
