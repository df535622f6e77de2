"""Which part of a picture the tests attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.data.crops import Corner, background_crops, corner_crops
from dejavu_lightning.data.sources.image_source import Source


class AttackedPart(NamedTuple):
    """The largest background crop of each picture, or a corner; arguments as in ``ImageDataModule``."""

    min_crop_side: float = 100
    corner: Corner | None = None
    corner_fraction: float = 0.3

    def of(self, source: Source, indices: Sequence[int], role: str) -> tuple[list[int], NDArray[Any]]:
        """The pictures that leave something to attack, and where.

        Args:
            indices: positions of pictures in the source.
            role: what errors call them.

        Returns:
            (n,) positions and (n, 4) pixels as x0, y0, x1, y1.

        Raises:
            ValueError: none of them does.
        """
        chosen = list(indices)
        if self.corner is not None:
            return chosen, corner_crops(source.sizes[chosen], self.corner_fraction, self.corner)
        crops = background_crops(
            [source.boxes[index] for index in chosen],
            source.sizes[chosen],
            self.min_crop_side,
            names=[source.ids[index] for index in chosen],
        )
        kept = ~np.isnan(crops[:, 0])
        if not kept.any():
            raise ValueError(
                f"{role}: none of its {len(chosen)} records leaves a background crop wider and higher than "
                f"min_crop_side={self.min_crop_side} pixels; lower it, or check that the boxes are in pixels"
            )
        return [index for index, keep in zip(chosen, kept, strict=True) if keep], crops[kept]


def first_per_class(indices: Sequence[int], labels: Tensor, per_class: int | None) -> list[int]:
    """The first so many of each class; a split lists the pictures of a class in the partition's order.

    Args:
        indices: positions of pictures in the source.
        labels: (N,) of all its pictures.
        per_class: how many of each class; all if None.
    """
    chosen = list(indices)
    if per_class is None:
        return chosen
    seen: Counter[int] = Counter()
    first = []
    for index, label in zip(chosen, labels[chosen].tolist(), strict=True):
        seen[label] += 1
        if seen[label] <= per_class:
            first.append(index)
    return first
