"""Samples of a data set, as tests and galleries ask for them, and class-balanced random parts of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset


def check_samples(dataset: Any, role: str) -> None:
    """Refuse what samples cannot be taken from by position.

    Raises:
        TypeError: naming the set, what came and what is wanted.
    """
    kind = type(dataset).__name__
    wanted = f"the {role} set must be a map-style data set, with len() and [position]"
    if isinstance(dataset, DataLoader):
        raise TypeError(f"{wanted}; got a DataLoader: give the data set it loads, loader.dataset")
    if isinstance(dataset, IterableDataset):
        raise TypeError(f"{wanted}; got an IterableDataset, {kind}: give list(dataset) if it fits into memory")
    if not isinstance(dataset, Samples) or isinstance(dataset, str | Mapping | Tensor):
        raise TypeError(f"{wanted}; got {'None' if dataset is None else f'a {kind}'}")


class DisplaySample(NamedTuple):
    """One sample as people see it in a gallery.

    Attributes:
        image: uint8 (H, W, 3).
        objects: the names of what is in the picture, its class or its objects.
        boxes: (n, 4) pixels as x0, y0, x1, y1.
        crop: (4,) what the test saw of it, likewise.
        caption: of the picture, where it has one.
        named: the objects that the caption names.

    Example:
        >>> import numpy as np
        >>> DisplaySample(np.zeros((32, 32, 3), dtype=np.uint8), objects=("cat",)).objects
        ('cat',)
    """

    image: NDArray[Any]
    objects: tuple[str, ...]
    boxes: NDArray[Any] | None = None
    crop: NDArray[Any] | None = None
    caption: str = ""
    named: tuple[str, ...] = ()


@runtime_checkable
class Samples(Protocol):
    """A map-style data set of known length.

    Example:
        >>> import torch
        >>> isinstance([(torch.zeros(3, 8, 8), 0), (torch.ones(3, 8, 8), 1)], Samples)  # (image, label) each
        True
    """

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Any: ...


@runtime_checkable
class DisplayableSamples(Samples, Protocol):
    """Samples that people can look at in a gallery.

    Example:
        >>> from dejavu_lightning.data import ImageDataModule, Scenes
        >>> sets = ImageDataModule(Scenes(200), per_class=4, min_crop_side=8).memorization_sets()
        >>> isinstance(sets.attack, DisplayableSamples), sets.attack.display(0).image.shape
        (True, (32, 32, 3))
    """

    @property
    def ids(self) -> Sequence[str]:
        """(N,)."""
        ...

    def display(self, position: int) -> DisplaySample:
        """Sample ``position`` as people should see it."""
        ...


@runtime_checkable
class LabelledSamples(Samples, Protocol):
    """Samples whose ids and labels are known without reading them.

    Example:
        >>> from dejavu_lightning.data import Scenes
        >>> from dejavu_lightning.data.image_dataset import ImageDataset
        >>> from dejavu_lightning.memorization import Preprocessing
        >>> isinstance(ImageDataset(Scenes(20), [0, 1], None, Preprocessing(32)), LabelledSamples)
        True
    """

    @property
    def ids(self) -> Sequence[str]:
        """(N,)."""
        ...

    @property
    def labels(self) -> Any:
        """(N,) integers."""
        ...


@runtime_checkable
class ViewableSamples(Samples, Protocol):
    """Samples of which training views can be drawn."""

    def views(self, position: int, count: int) -> Tensor:
        """Draw (count, ...) training views of sample ``position`` from torch's random stream."""
        ...


def draws_views(dataset: Samples) -> bool:
    """Whether training views of the samples can be drawn."""
    while isinstance(dataset, Subsample):
        dataset = dataset.dataset
    return isinstance(dataset, ViewableSamples)


def has_columns(dataset: Samples) -> bool:
    """Whether the samples offer a method ``column`` from a name to a value for each."""
    while isinstance(dataset, Subsample):
        dataset = dataset.dataset
    return hasattr(dataset, "column")


def whole(dataset: Samples) -> Samples:
    """The dataset with whole pictures in place of crops, where it shows crops."""
    if isinstance(dataset, Subsample):
        return type(dataset)(whole(dataset.dataset), dataset.positions)
    offer = getattr(dataset, "whole", None)
    return dataset if offer is None else offer()


def without_images(dataset: Samples) -> Samples:
    """The dataset without its images, where it can leave them out: no picture need be decoded."""
    if isinstance(dataset, Subsample):
        return type(dataset)(without_images(dataset.dataset), dataset.positions)
    offer = getattr(dataset, "without_images", None)
    return dataset if offer is None else offer()


class Subsample:
    """Some samples of a dataset, in their order."""

    dataset: Any  # may have ids and labels

    def __init__(self, dataset: Samples, positions: NDArray[np.int64]) -> None:
        self.dataset, self.positions = dataset, positions

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def ids(self) -> list[str]:
        """(N,) of the chosen samples, where the dataset has ids."""
        ids = self.dataset.ids
        return [ids[position] for position in self.positions.tolist()]

    @property
    def labels(self) -> Any:
        """(N,) of the chosen samples, where the dataset has labels."""
        labels = self.dataset.labels
        return (np.asarray(labels) if isinstance(labels, list | tuple) else labels)[self.positions]

    def column(self, name: str) -> list[Any]:
        """(N,) values of the chosen samples, where the dataset has columns."""
        values = self.dataset.column(name)
        return [values[position] for position in self.positions.tolist()]

    def __getitem__(self, position: int) -> Any:
        return self.dataset[int(self.positions[position])]

    def views(self, position: int, count: int) -> Tensor:
        """Draw (count, ...) training views of chosen sample ``position``."""
        dataset: Any = self.dataset
        drawn: Tensor = dataset.views(int(self.positions[position]), count)
        return drawn


class DisplayableSubsample(Subsample):
    """Some samples of a dataset that can show them."""

    def display(self, position: int) -> DisplaySample:
        """Chosen sample ``position`` as people should see it."""
        shown: DisplaySample = self.dataset.display(int(self.positions[position]))
        return shown


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
    return samples_at(dataset, np.sort(by_class[np.argsort(turn, kind="stable")[:limit]]))


def samples_at(dataset: Samples, positions: NDArray[np.int64]) -> Samples:
    """The samples at some positions, which people can look at where they can at the data set's."""
    kind = DisplayableSubsample if isinstance(dataset, DisplayableSamples) else Subsample
    return kind(dataset, positions)
