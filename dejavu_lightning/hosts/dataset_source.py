"""A host's own data set of labelled pictures as a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from dejavu_lightning.core.samples import check_samples
from dejavu_lightning.embedding.host_samples import class_number, describe, image_tensor
from dejavu_lightning.embedding.sample_ids import Ids, sample_ids, sample_paths

BoxesOf = Sequence[Any] | Callable[[int], Any]
RAW = "give the data set without its transform (transform=None), so that it yields whole pictures"


class DatasetSource:
    """A map-style data set of (picture, label) as a source; pictures are PIL images, or tensors or arrays of [0, 1] or
    uint8, of any size.

    Of torchvision's folders the pictures are read by their loader, past any transform. Sizes are found by reading a
    picture once it is asked for.

    Args:
        dataset: N samples (picture, label) or mappings with ``image`` and ``label``.
        boxes: of each sample (n, 4) pixels as x0, y0, x1, y1, by position: N of them, or a function; None where
            nothing is annotated.
        labels: (N,) class numbers, for a data set that would have to read every picture to tell its labels.
        class_names: one per class; the data set's ``classes``, or numbers, if not given.
        ids: see :func:`~dejavu_lightning.embedding.sample_ids.sample_ids`; positions where there are none.
        role: what errors call the data set.
        prefix: of all ids, where those of several data sets must differ.

    Raises:
        TypeError, ValueError: naming the data set, the sample and what is wanted.
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
        found = sample_ids(dataset, ids)
        self.positional = found is None
        names = [f"{position:08d}" for position in range(len(dataset))] if found is None else found
        self.ids: Sequence[str] = [f"{prefix}{name}" for name in names]
        self.paths = sample_paths(dataset)
        self.labels = torch.as_tensor(self._labels(labels), dtype=torch.int64)
        known = class_names or getattr(dataset, "classes", None)
        classes = int(self.labels.max()) + 1 if len(self.labels) else 0
        self.class_names: Sequence[str] = [str(n) for n in known or range(classes)]
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
        if self.paths is not None and callable(getattr(self.dataset, "loader", None)):
            picture = self.dataset.loader(self.paths[index])
        else:
            sample = self.dataset[index]
            picture = sample.get("image") if isinstance(sample, Mapping) else _first(sample)
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

    def _labels(self, given: Sequence[int] | None) -> list[int]:
        found: Any = given
        for name in ("targets", "labels"):
            found = getattr(self.dataset, name, None) if found is None else found
        columns = getattr(self.dataset, "column_names", None) or ()
        for name in ("label", "labels"):
            found = self.dataset[name] if found is None and name in columns else found
        if found is None:
            found = [_label(self.dataset[position], position, self.role) for position in range(len(self.dataset))]
        if len(found) != len(self.dataset):
            raise ValueError(f"the {self.role} set has {len(self.dataset)} samples and {len(found)} labels")
        return [class_number(label, row, self.role) for row, label in enumerate(found)]

    def _boxes(self, given: BoxesOf | None) -> list[NDArray[Any]]:
        count = len(self.dataset)
        if given is None:
            return [np.zeros((0, 4))] * count
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
            found.append(boxes.reshape(-1, 4))
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
            if self.source.paths is not None:
                with Image.open(self.source.paths[index]) as picture:
                    self._known[index] = picture.size
            else:
                height, width = self.source.image(index).shape[1:]
                self._known[index] = (width, height)
        return self._known[index]


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
