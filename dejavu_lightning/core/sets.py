"""The sets that memorization and utility are measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.samples import Samples, check_samples, subsample
from dejavu_lightning.core.split_record import SplitRecord


@dataclass(frozen=True)
class MemorizationSets:
    """Everything a memorization test is run on.

    Samples are mappings with ``image`` (what the encoder takes), ``label`` and ``id``, or tuples
    ``(image, label)``, which get their position as id. ``ObjectRetrieval`` takes mappings with ``image``,
    ``caption``, ``id`` and ``objects``, positions in the vocabulary, and optionally ``named``, those of them
    that the caption names.

    Args:
        attack: the records of the split the target trains on, as the attacker sees them.
        public: labelled whole images of no training split; the nearest-neighbour bank.
        num_classes: labels, or positions of objects in the vocabulary, lie in [0, num_classes).
        other_split: records like those of ``attack``, from the other training split; for ``HeldOut`` and the
            symmetric average.
        neither_split: records of neither training split, held out of both; for the control.
        reference_train: all records of the other training split, for references that learn from them;
            ``other_split`` if not given. Subsampling leaves it alone.
        preprocessing: of the pictures, if it is known.
        in_preprocessing: makes these sets for a model that takes other pictures, the same records in the same order.
        class_names: one per class, for pictures and tables.
        trained_on: the target's split and the partition's fingerprint.
        excluded: annotated pictures of the training split that leave no background to attack.

    Raises:
        TypeError: a set is none from which samples can be taken by position.
        ValueError: there are more or fewer names than classes.

    Example:
        >>> import torch
        >>> records = [{"image": torch.zeros(3, 8, 8), "label": 0, "id": f"record-{i}"} for i in range(4)]
        >>> public = [(torch.zeros(3, 8, 8), 0), (torch.ones(3, 8, 8), 1)]
        >>> sets = MemorizationSets(attack=records[:2], other_split=records[2:], public=public, num_classes=2)
        >>> len(sets.attack), sets.neither_split
        (2, None)
    """

    attack: Samples
    public: Samples
    num_classes: int
    other_split: Samples | None = None
    neither_split: Samples | None = None
    class_names: Sequence[str] | None = None
    trained_on: SplitRecord | None = None
    excluded: int = 0
    reference_train: Samples | None = None
    preprocessing: Preprocessing | None = None
    in_preprocessing: Callable[[Preprocessing], MemorizationSets] | None = None

    def __post_init__(self) -> None:
        check_samples(self.attack, "attack")
        check_samples(self.public, "public")
        for role in ("other_split", "neither_split", "reference_train"):
            if getattr(self, role) is not None:
                check_samples(getattr(self, role), role)
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"class_names has {len(self.class_names)} names for num_classes={self.num_classes}; the first is "
                f"{next(iter(self.class_names), None)!r}"
            )

    def subsample(self, max_records: int | None, max_public: int | None, seed: int = 0) -> MemorizationSets:
        """Class-balanced random parts: at most ``max_records`` of each attacked set, ``max_public`` of the bank."""
        make = self.in_preprocessing
        return replace(
            self,
            in_preprocessing=make and (lambda other: make(other).subsample(max_records, max_public, seed)),
            attack=subsample(self.attack, "attack", max_records, seed),
            other_split=self.other_split and subsample(self.other_split, "other_split", max_records, seed),
            neither_split=self.neither_split and subsample(self.neither_split, "neither_split", max_records, seed),
            public=subsample(self.public, "public", max_public, seed),
            reference_train=self.reference_train or self.other_split,
        )

    def shown_to(self, name: str, preprocessing: Preprocessing | None) -> MemorizationSets:
        """The same records as a reference takes them, whatever the target does.

        Args:
            name: what errors call the reference.
            preprocessing: its own; None if it is not known.

        Raises:
            ValueError: it is not known and that of these sets is, or there are no such sets.
        """
        if preprocessing == self.preprocessing:
            return self
        if preprocessing is None:
            raise ValueError(
                f"{name} does not say which pictures it takes, and the target's are of {self.preprocessing}: give the "
                "reference its preprocessing, as in {image_size: 224, mean: [...], std: [...]}"
            )
        if self.in_preprocessing is None:
            known = f"of {self.preprocessing}" if self.preprocessing else "of unknown preprocessing"
            raise ValueError(
                f"{name} takes pictures of {preprocessing}, the memorization sets are {known} and cannot be made anew: "
                "give them preprocessing where it is the same, else in_preprocessing, or take another reference"
            )
        return self.in_preprocessing(preprocessing)


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

    Raises:
        TypeError: a set is none from which samples can be taken by position.

    Example:
        >>> import torch
        >>> pictures = [(torch.zeros(3, 8, 8), 0), (torch.ones(3, 8, 8), 1)]
        >>> len(UtilitySets(train=pictures, validation=pictures[:1], num_classes=2).train)
        2
    """

    train: Samples
    validation: Samples
    num_classes: int
    class_names: Sequence[str] | None = None
    trained_on: SplitRecord | None = None

    def __post_init__(self) -> None:
        check_samples(self.train, "train")
        check_samples(self.validation, "validation")

    def subsample(self, max_train: int | None, max_validation: int | None, seed: int = 0) -> UtilitySets:
        """Class-balanced random parts of at most so many pictures."""
        return replace(
            self,
            train=subsample(self.train, "train", max_train, seed),
            validation=subsample(self.validation, "validation", max_validation, seed),
        )
