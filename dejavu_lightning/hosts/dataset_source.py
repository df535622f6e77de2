"""A host's own data set of labelled pictures as a source."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset
from torchvision.datasets.folder import default_loader, pil_loader
from torchvision.transforms.v2.functional import pil_to_tensor

from dejavu_lightning.core.samples import check_samples
from dejavu_lightning.data.sources.file_contents import file_contents
from dejavu_lightning.embedding.host_samples import UnreadableFileError, class_number, describe, image_tensor
from dejavu_lightning.embedding.sample_ids import Ids, sample_ids, sample_paths

BoxesOf = Sequence[Any] | Mapping[str, Any] | Callable[[int], Any]
RAW = "give the data set without its transform (transform=None), so that it yields whole pictures"


class DatasetSource:
    """A map-style data set of (picture, label) as a source of labelled pictures.

    Pictures are PIL images, or tensors or arrays of [0, 1] or uint8, of any size. Of torchvision's folders, also below
    a ``Subset``, they are read by their loader, past any transform. Sizes are found by reading a picture once it is
    asked for.

    Args:
        dataset: N samples (picture, label) or mappings with ``image`` and ``label``.
        boxes: of each sample (n, 4) pixels as x0, y0, x1, y1: N of them or a function, by position, or a mapping by id;
            None, or an empty one, where a sample is not annotated.
        labels: (N,) class numbers, for a data set that would have to read every picture to tell its labels.
        class_names: one per class; the data set's ``classes``, or numbers, if not given.
        ids: see :func:`~dejavu_lightning.embedding.sample_ids.sample_ids`; positions where there are none.
        role: what errors call the data set.
        prefix: of all ids, where those of several data sets must differ.

    Raises:
        TypeError, ValueError: naming the data set, the sample and what is wanted.

    Example:
        >>> from torchvision.datasets import ImageFolder
        >>> source = DatasetSource(ImageFolder("imagenet/train"), boxes=lambda position: [(4, 4, 19, 29)])
        >>> len(source), source.ids[0], source.class_names, source.image(0).shape
        (24, 'ants/ants_00', ['ants', 'bees'], torch.Size([3, 48, 64]))
    """

    def __init__(
        self,
        dataset: Any,
        boxes: BoxesOf | None = None,
        labels: Sequence[int] | None = None,
        class_names: Sequence[str] | None = None,
        ids: Ids | None = None,
        role: str = "given",
        prefix: str = "",
    ) -> None:
        check_samples(dataset, role)
        self.dataset, self.role = dataset, role
        self.base, self.positions = unwrapped(dataset)
        found = sample_ids(dataset, ids)
        self.positional = found is None
        names = [f"{position:08d}" for position in range(len(dataset))] if found is None else found
        self.ids: Sequence[str] = [f"{prefix}{name}" for name in names]
        below = sample_paths(self.base)
        self.paths = None if below is None else [below[position] for position in self.positions]
        self.contents = None if self.paths is None else file_contents(list(map(Path, self.paths)))
        if self._loader is None:
            self._check_repeats()
        self.labels = torch.as_tensor(self._labels(labels), dtype=torch.int64)
        known = class_names or getattr(self.base, "classes", None)
        classes = int(self.labels.max()) + 1 if len(self.labels) else 0
        self.class_names: Sequence[str] = [str(n) for n in (range(classes) if known is None else known)]
        if classes > len(self.class_names):
            raise ValueError(
                f"the {role} set has a label {classes - 1}, class_names has {len(self.class_names)}: "
                f"{', '.join(self.class_names[:5])} ..."
            )
        self.boxes: Sequence[NDArray[Any]] = self._boxes(boxes)
        self.sizes: Any = _Sizes(self)

    def __len__(self) -> int:
        return len(self.dataset)

    def image(self, index: int) -> Tensor:
        """Sample ``index`` as uint8 (3, H, W)."""
        if self._loader is not None and self.paths is not None:
            with self.naming(index):
                picture = self._loader(self.paths[index])
        else:
            picture = self._picture(index)
        if isinstance(picture, Image.Image):
            pixels: Tensor = pil_to_tensor(picture.convert("RGB"))
            return pixels
        where = f"sample {index} ({self.ids[index]!r}) of the {self.role} set"
        if isinstance(picture, list | tuple):
            raise TypeError(f"{where} has {describe(picture)} for a picture, as of several views; {RAW}")
        tensor = image_tensor(picture, index, self.role)
        if tensor.ndim != 3 or tensor.shape[0] not in (1, 3):
            raise TypeError(f"{where} has a picture of shape {tuple(tensor.shape)}; expected (3, H, W)")
        if tensor.is_floating_point():
            low, high = float(tensor.min()), float(tensor.max())
            if low < 0 or high > 1:
                raise ValueError(f"{where} has values from {low:.2f} to {high:.2f}, as of a normalised picture; {RAW}")
            tensor = (tensor * 255).round()
        found: Tensor = tensor.to(torch.uint8).expand(3, -1, -1).contiguous()
        return found

    @contextmanager
    def naming(self, index: int) -> Iterator[None]:
        """Name the file of a sample that cannot be read."""
        try:
            yield
        except OSError as error:
            file = self.paths and self.paths[index]
            raise UnreadableFileError(
                f"sample {index} ({self.ids[index]!r}) of the {self.role} set: {file} cannot be read: {error}. Repair "
                "it, or leave it out, as by a Subset or from_folder(..., broken='skip')"
            ) from error

    @property
    def _loader(self) -> Callable[[str], Any] | None:
        """Reads the file of a sample, where the data set has such."""
        loader = getattr(self.base, "loader", None)
        return loader if self.paths is not None and callable(loader) else None

    def _check_repeats(self) -> None:
        """Refuse samples that are drawn anew whenever they are asked for."""
        if not len(self.dataset):
            return
        with isolate_rng():
            once, again = (_seeded(seed, self._picture) for seed in (0, 1))
        if type(once) is not type(again) or not np.array_equal(np.asarray(once), np.asarray(again)):
            raise TypeError(f"sample 0 of the {self.role} set is another picture each time, as of random crops; {RAW}")

    def _picture(self, index: int) -> Any:
        sample = self.dataset[index]
        return sample.get("image") if isinstance(sample, Mapping) else _first(sample)

    def _labels(self, given: Sequence[int] | None) -> list[int]:
        found: Any = given
        for name in ("targets", "labels"):
            every = getattr(self.base, name, None) if found is None else None
            found = [every[position] for position in self.positions] if every is not None else found
        columns = getattr(self.dataset, "column_names", None) or ()
        for name in ("label", "labels"):
            found = self.dataset[name] if found is None and name in columns else found
        if found is None:
            found = [_label(self.dataset[position], position, self.role) for position in range(len(self.dataset))]
        if len(found) != len(self.dataset):
            raise ValueError(f"the {self.role} set has {len(self.dataset)} samples and {len(found)} labels")
        numbers = [class_number(label, row, self.role) for row, label in enumerate(found)]
        for row, number in enumerate(numbers):
            if number < 0:
                raise ValueError(f"sample {row} ({self.ids[row]!r}) of the {self.role} set has label {number}, below 0")
        return numbers

    def _boxes(self, given: BoxesOf | None) -> list[NDArray[Any]]:
        count = len(self.dataset)
        if given is None:
            return [np.zeros((0, 4))] * count
        if isinstance(given, Mapping):
            given = [given.get(one) for one in self.ids]
        if not callable(given) and len(given) != count:
            raise ValueError(f"boxes has {len(given)} entries for the {count} samples of the {self.role} set")
        found = []
        for position in range(count):
            value = given(position) if callable(given) else given[position]
            boxes = np.asarray([] if value is None else value, dtype=float)
            if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all()):
                raise ValueError(
                    f"boxes of sample {position} ({self.ids[position]!r}) are {value!r:.80}; expected (n, 4) pixels as "
                    "x0, y0, x1, y1"
                )
            pairs = np.sort(boxes.reshape(-1, 2, 2), axis=1)  # corners in order
            found.append(np.concatenate([np.floor(pairs[:, 0]), np.ceil(pairs[:, 1])], axis=1))
        if not any(map(len, found)):
            raise ValueError(
                f"boxes has none of the {count} samples of the {self.role} set; a mapping is by id, such as "
                f"{self.ids[0]!r}, a function or a list by position. Without boxes a corner is attacked"
            )
        return found


class _Sizes:
    """Widths and heights, (n, 2) of those that are asked for."""

    def __init__(self, source: DatasetSource) -> None:
        self.source, self._known = source, dict[int, tuple[int, int]]()

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> NDArray[np.int64]:
        if isinstance(index, int | np.integer):
            return np.array(self._size(int(index)))
        return np.array([self._size(int(one)) for one in index], dtype=np.int64).reshape(-1, 2)

    def _size(self, index: int) -> tuple[int, int]:
        if index not in self._known:
            if self.source.paths is not None and self.source.base.loader in (default_loader, pil_loader):
                with self.source.naming(index), Image.open(self.source.paths[index]) as picture:
                    self._known[index] = picture.size
            else:
                height, width = self.source.image(index).shape[1:]
                self._known[index] = (width, height)
        return self._known[index]


def unwrapped(dataset: Any) -> tuple[Any, list[int]]:
    """The data set below ``Subset``s, and where in it the samples are."""
    positions = list(range(len(dataset)))
    while isinstance(dataset, Subset):
        positions = [int(dataset.indices[position]) for position in positions]
        dataset = dataset.dataset
    return dataset, positions


def _seeded(seed: int, picture: Callable[[int], Any]) -> Any:
    """The first picture under a seed; Lightning's own function would also set the seed of the run to come."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return picture(0)


def _first(sample: Any) -> Any:
    return sample[0] if isinstance(sample, tuple | list) and sample else sample


def _label(sample: Any, position: int, role: str) -> Any:
    if isinstance(sample, Mapping) and "label" in sample:
        return sample["label"]
    if isinstance(sample, tuple | list) and len(sample) > 1:
        return sample[1]
    raise TypeError(
        f"sample {position} of the {role} set is {describe(sample)}; expected (picture, label), a mapping with 'image' "
        "and 'label', or labels=[...] beside the data set"
    )
