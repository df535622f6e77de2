"""Take samples of a user's own data sets: what is plainly meant becomes a tensor, all else an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CHANNELS = (1, 3, 4)


class ReadableSamples:
    """A data set whose failures carry the sample's number, also across the processes of a loader.

    Args:
        dataset: map-style.
        role: what errors call it.
    """

    def __init__(self, dataset: Any, role: str) -> None:
        self.dataset, self.role = dataset, role

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        try:
            return self.dataset[position]
        except Exception as error:  # whatever a user's code raises
            told, sample = str(error), f"sample {position} of the {self.role} set"
            # Those of this package name the file and id already.
            named = isinstance(error, ValueError | FloatingPointError) or told.startswith(sample)
            kind: type[Exception] = TypeError if isinstance(error, TypeError) else ValueError
            if _of_a_file(error):
                kind = UnreadableFileError
            return Unreadable(kind, told if named else f"{sample}: {type(error).__name__}: {told}")


class UnreadableFileError(ValueError):
    """A sample's file is not there any more, is damaged, or lies on a disk that fails."""


def _of_a_file(error: BaseException | None) -> bool:
    """Whether an OSError is behind it."""
    return error is not None and (isinstance(error, OSError) or _of_a_file(error.__cause__ or error.__context__))


class Unreadable:
    """Stands for a sample that could not be read."""

    def __init__(self, kind: type[Exception], reason: str) -> None:
        self.kind, self.reason = kind, reason


def image_tensor(image: Any, row: int, role: str) -> Any:
    """What the encoder takes of a picture: tensors as they are, those of PIL and NumPy as (C, H, W) in [0, 1].

    PIL pictures become RGB, but for those in grey (mode L). An array (H, W, C) is turned; uint8 is divided by 255.

    Raises:
        TypeError: naming the set, the sample, what came and what is wanted.
    """
    if isinstance(image, Tensor):
        return image
    if isinstance(image, Image.Image):
        image = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    if isinstance(image, np.ndarray) and image.dtype.kind in "fu" and image.ndim in (2, 3):
        array = image[:, :, None] if image.ndim == 2 else image
        if array.shape[2] in CHANNELS and array.shape[0] not in CHANNELS:
            array = array.transpose(2, 0, 1)
        found = torch.from_numpy(np.array(array, order="C"))  # a copy: those of PIL cannot be written
        return found.float() / 255 if array.dtype == np.uint8 else found.float()
    raise TypeError(
        f"sample {row} of the {role} set has {describe(image)} for an image; expected a tensor as the encoder takes "
        "it, a PIL picture, or a NumPy array (H, W, C) of uint8 or floats"
    )


def class_number(label: Any, row: int, role: str) -> int:
    """The class that a label stands for: whole numbers, also as tensors and arrays, and one-hot vectors.

    Raises:
        TypeError: naming the set, the sample, what came and what is wanted.
    """
    wanted = "expected a whole number from 0 on, its position in class_names"
    try:
        values = np.asarray(label.detach().cpu() if isinstance(label, Tensor) else label)
    except (TypeError, ValueError):
        values = np.asarray(None)
    if values.dtype.kind in "iubf":
        if values.size == 1 and float(values.flat[0]).is_integer():
            return int(values.flat[0])
        if values.ndim == 1 and sorted(values.tolist()) == [0] * (len(values) - 1) + [1]:
            return int(values.argmax())
    raise TypeError(f"sample {row} of the {role} set has {describe(label)} for a label; {wanted} (or one-hot)")


def same_shape(first: tuple[int, Any] | None, image: Any, row: int, role: str) -> None:
    """Refuse a picture of another shape than the set's first has.

    Args:
        first: row and picture of the first sample; None before it.

    Raises:
        ValueError: naming both samples and what to do.
    """
    if (
        first is not None
        and isinstance(image, Tensor)
        and isinstance(first[1], Tensor)
        and image.shape != first[1].shape
    ):
        raise ValueError(
            f"sample {row} of the {role} set has an image of shape {tuple(image.shape)}, sample {first[0]} one of "
            f"{tuple(first[1].shape)}; all images of a set need one shape: resize and crop them in the data set's "
            "transform"
        )


def describe(value: Any) -> str:
    """What a value is, in a few words."""
    if value is None:
        return "None"
    if isinstance(value, str | bytes | float | int):
        return f"{type(value).__name__} {value!r:.60}"
    shape = getattr(value, "shape", None)
    kind = f"a {type(value).__name__}"
    if shape is not None:
        return f"{kind} of {getattr(value, 'dtype', 'unknown type')} and shape {tuple(shape)}"
    if isinstance(value, Mapping):
        return f"a mapping with {sorted(map(str, value))[:8]}"
    return f"{kind} of {len(value)}" if hasattr(value, "__len__") else kind
