"""What a collection of labelled pictures offers to the rest of the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray
from torch import Tensor


@runtime_checkable
class Source(Protocol):
    """N labelled pictures, decoded one at a time.

    Attributes:
        ids: unique, and the same on every machine.
        labels: (N,) int64, positions in ``class_names``.
        class_names: one per class.
        boxes: for each picture (n, 4) pixels as x0, y0, x1, y1 with exclusive ends; n is 0 where the
            objects of a picture were not annotated.
        sizes: (N, 2) width and height in pixels, known at least where there are boxes.

    Sources over files also have ``counts``, a mapping from str to int: how many pictures there are, and how
    many of each oddity were met on the way, such as ``boxes_clipped``. Its keys stand with each source. They also have
    ``contents``, :class:`~dejavu_lightning.data.sources.image_index.FileContents`, which tells what files are the same;
    the pictures of a source without are taken to be different ones. Their ``account``,
    :class:`~dejavu_lightning.data.account.Account`, says what became of all that was found.
    """

    ids: Sequence[str]
    labels: Tensor
    class_names: Sequence[str]
    boxes: Sequence[NDArray[Any]]
    sizes: NDArray[Any]

    def __len__(self) -> int: ...

    def image(self, index: int) -> Tensor:
        """Decode picture ``index``: uint8 (3, H, W)."""
        ...
