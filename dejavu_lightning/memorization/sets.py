"""The sets a measurement is made on, and what a checkpoint says it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from dejavu_lightning.memorization.fingerprint import fingerprint_of


@dataclass(frozen=True)
class SplitRecord:
    """The split a model is trained on and the fingerprint of the partition it belongs to."""

    split: str
    split_fingerprint: str

    def state(self) -> dict[str, str]:
        """As a checkpoint stores it."""
        return asdict(self)

    @classmethod
    def find(cls, checkpoint: Mapping[str, Any]) -> SplitRecord | None:
        """The record that a datamodule or a callback left in a checkpoint, if any did."""
        for state in checkpoint.values():
            if isinstance(state, dict) and {"split", "split_fingerprint"} <= state.keys():
                return cls(str(state["split"]), str(state["split_fingerprint"]))
        return None


class Exhibit(NamedTuple):
    """One sample as people should see it in a gallery.

    ``image`` uint8 (H, W, 3); ``boxes`` (n, 4) and ``crop`` (4,) pixels as x0, y0, x1, y1; ``objects`` the
    names of what is in the picture, ``named`` those that the caption names.
    """

    image: NDArray[Any]
    boxes: NDArray[Any]
    crop: NDArray[Any] | None
    class_name: str
    caption: str = ""
    objects: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


@runtime_checkable
class Samples(Protocol):
    """A map-style data set of known length."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Any: ...


@runtime_checkable
class ShownSamples(Samples, Protocol):
    """Samples that people can look at in a gallery."""

    @property
    def ids(self) -> Sequence[str]:
        """(N,)."""
        ...

    def exhibit(self, position: int) -> Exhibit:
        """Sample ``position`` as people should see it."""
        ...


@runtime_checkable
class LabelledSamples(Samples, Protocol):
    """Samples whose ids and labels are known without reading them."""

    @property
    def ids(self) -> Sequence[str]:
        """(N,)."""
        ...

    @property
    def labels(self) -> Any:
        """(N,) integers."""
        ...


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
        unseen: records like those of ``attack``, from the other training split; for ``HeldOut`` and the
            symmetric average.
        held_out: records of neither training split; for the control.
        learn: all records of the other training split, for references that learn from them; ``unseen`` if not
            given. Subsampling leaves it alone.
        class_names: one per class, for pictures and tables.
        trained_on: the target's split and the partition's fingerprint.
        excluded: annotated pictures of the training split that leave no background to attack.

    Raises:
        ValueError: there are more or fewer names than classes.
    """

    attack: Samples
    public: Samples
    num_classes: int
    unseen: Samples | None = None
    held_out: Samples | None = None
    class_names: Sequence[str] | None = None
    trained_on: SplitRecord | None = None
    excluded: int = 0
    learn: Samples | None = None

    def __post_init__(self) -> None:
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"class_names has {len(self.class_names)} names for num_classes={self.num_classes}; the first is "
                f"{next(iter(self.class_names), None)!r}"
            )

    def subsample(self, max_records: int | None, max_public: int | None, seed: int = 0) -> MemorizationSets:
        """Class-balanced random parts: at most ``max_records`` of each attacked set, ``max_public`` of the bank."""
        return replace(
            self,
            attack=subsample(self.attack, "attack", max_records, seed),
            unseen=self.unseen and subsample(self.unseen, "unseen", max_records, seed),
            held_out=self.held_out and subsample(self.held_out, "held-out", max_records, seed),
            public=subsample(self.public, "public", max_public, seed),
            learn=self.learn or self.unseen,
        )


class Subsample:
    """Some samples of a dataset, in their order."""

    def __init__(self, dataset: Samples, positions: NDArray[np.int64]) -> None:
        self.dataset, self.positions = dataset, positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, position: int) -> Any:
        return self.dataset[int(self.positions[position])]

    def fingerprint(self, positions: Sequence[int]) -> str:
        """That of the chosen samples; see :class:`~dejavu_lightning.memorization.fingerprint.Fingerprinted`."""
        return fingerprint_of(self.dataset, [int(self.positions[position]) for position in positions])


class ShownSubsample(Subsample):
    """Some samples of a dataset that can show them."""

    dataset: Any  # shows its samples, and may have labels

    @property
    def ids(self) -> list[str]:
        """(N,) of the chosen samples."""
        ids = self.dataset.ids
        return [ids[position] for position in self.positions.tolist()]

    @property
    def labels(self) -> Any:
        """(N,) of the chosen samples, where the dataset has labels."""
        return self.dataset.labels[self.positions]

    def exhibit(self, position: int) -> Exhibit:
        """Chosen sample ``position`` as people should see it."""
        exhibit: Exhibit = self.dataset.exhibit(int(self.positions[position]))
        return exhibit


def subsample(dataset: Samples, role: str, limit: int | None, seed: int) -> Samples:
    """A class-balanced random part of at most ``limit`` samples, in their order; ``role`` is for errors."""
    if limit is None or limit >= len(dataset):
        return dataset
    found = getattr(dataset, "labels", getattr(dataset, "targets", None))
    if found is None and hasattr(dataset, "captions"):  # no classes to balance
        found = torch.zeros(len(dataset))
    if found is None:
        raise ValueError(f"the {role} set needs an attribute 'labels' or 'targets' to be subsampled class by class")
    labels = torch.as_tensor(found).numpy()
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    _, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    turn = np.arange(len(labels)) - np.repeat(starts, counts)  # a record's place within its class
    chosen = np.sort(by_class[np.argsort(turn, kind="stable")[:limit]])
    return ShownSubsample(dataset, chosen) if isinstance(dataset, ShownSamples) else Subsample(dataset, chosen)
