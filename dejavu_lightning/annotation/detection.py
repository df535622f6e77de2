"""Define detectors and their detections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

Box = tuple[float, float, float, float]


class Detection(NamedTuple):
    """A detected object.

    Attributes:
        label: of the detector's labels.
        box: x0, y0, x1, y1 in pixels of the picture; may reach beyond it.
        score: in (0, 1]; what it means differs between detectors.

    Example:
        >>> Detection("cat", box=(0.0, 0.0, 10.0, 20.0), score=0.9).label
        'cat'
    """

    label: str
    box: Box
    score: float


class Detector(Protocol):
    """A function that finds the objects of pictures.

    Attributes:
        labels: those it can find.

    Example:
        >>> class Whole:
        ...     labels = ["thing"]
        ...     def __call__(self, images):
        ...         return [[Detection("thing", (0.0, 0.0, image.shape[2], image.shape[1]), 0.9)] for image in images]
        >>> import torch
        >>> detector: Detector = Whole()
        >>> detector([torch.zeros(3, 8, 6, dtype=torch.uint8)])
        [[Detection(label='thing', box=(0.0, 0.0, 6, 8), score=0.9)]]
    """

    labels: Sequence[str]

    def __call__(self, images: list[Tensor]) -> list[list[Detection]]:
        """The objects of each of n pictures, uint8 (3, H, W) of any sizes."""
        ...


def detections(labels: Iterable[str], boxes: Tensor, scores: Tensor) -> list[Detection]:
    """Put together the n objects of a picture: n labels, boxes (n, 4), scores (n,)."""
    found = zip(labels, boxes.tolist(), scores.tolist(), strict=True)
    return [Detection(label, (x0, y0, x1, y1), score) for label, (x0, y0, x1, y1), score in found]


def detect_by_size(
    images: list[Tensor], detect: Callable[[list[Tensor]], list[list[Detection]]]
) -> list[list[Detection]]:
    """Detect in pictures of one size at a time: padding to a common size would change what is found in them."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(position)
    found: list[list[Detection]] = [[] for _ in images]
    for positions in groups.values():
        for position, objects in zip(positions, detect([images[i] for i in positions]), strict=True):
            found[position] = objects
    return found


def check_threshold(threshold: float) -> None:
    """Raise unless it lies in [0, 1)."""
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must lie in [0, 1), got {threshold}")
