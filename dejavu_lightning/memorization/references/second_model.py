"""The reference of the two-model test: a second model that was not trained on the attacked records."""

from __future__ import annotations

from dejavu_lightning.core.distributed import failing_together
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import SplitRecord, verify_disjoint
from dejavu_lightning.embedding.encoders import ModuleEncoder, preserve_state
from dejavu_lightning.memorization.protocols import Attack, MemorizationTest, ReferenceRecords


class SecondModel:
    """Attack a model at hand that was not trained on the attacked records.

    The two-model test of Meehan et al. (2023, arXiv 2304.13850, section 4).

    Args:
        encoder: the second model.
        trained_on: what it was trained on, if that is known.
        sets: the target's sets in the preprocessing of this model; the target's own if not given.
        name: what errors call it.
        allow_unverified_split: see :func:`~dejavu_lightning.core.split_record.verify_disjoint`.

    Raises:
        ValueError: once it is asked, and its training set is not known to be disjoint from the attacked records.

    Example:
        >>> from torch import nn
        >>> from dejavu_lightning.data import ImageDataModule, Scenes
        >>> from dejavu_lightning.memorization import LabelInference, ModuleEncoder, measure
        >>> data = ImageDataModule(Scenes(200), train_on="A", per_class=4, min_crop_side=8)
        >>> reference = SecondModel(ModuleEncoder(nn.Flatten()), trained_on=data.manifest.record("B"))
        >>> measure(nn.Flatten(), LabelInference(k=5), reference, data.memorization_sets()).metrics["score"]
        0.0
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
