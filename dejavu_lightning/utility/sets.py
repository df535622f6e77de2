"""The pictures that utility is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dejavu_lightning.memorization.sets import Samples, SplitRecord, subsample


@dataclass(frozen=True)
class UtilitySets:
    """Labelled pictures to learn from and to test on; samples as in ``MemorizationSets``.

    Args:
        train: what probes learn from; not what the encoder was trained on, so that memorized labels do not
            pass for utility.
        validation: what they are tested on, disjoint from ``train``.
        num_classes: labels lie in [0, num_classes).
        class_names: one per class, for zero-shot classification.
        trained_on: the encoder's split and the partition's fingerprint.
    """

    train: Samples
    validation: Samples
    num_classes: int
    class_names: Sequence[str] | None = None
    trained_on: SplitRecord | None = None

    def subsample(self, max_train: int | None, max_validation: int | None, seed: int = 0) -> UtilitySets:
        """Class-balanced random parts of at most so many pictures."""
        return replace(
            self,
            train=subsample(self.train, "train", max_train, seed),
            validation=subsample(self.validation, "validation", max_validation, seed),
        )
