"""A source without the classes that have too few pictures to be cut into splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.data.account import EXAMPLES, Account
from dejavu_lightning.data.sources.image_source import Source

LEFT_OUT = -1  # the label of pictures that are in no class, and so in no split


class LargeClasses:
    """A source whose small classes are left out: their pictures stay in their places, with the label -1.

    Args:
        whole: the source.
        attackable: (N,) which of its pictures can be attacked; only these count.
        min_per_class: how many of them a class needs.

    Raises:
        ValueError: no class has so many.

    Example:
        >>> import numpy as np
        >>> from dejavu_lightning.data import Scenes
        >>> scenes = Scenes(100)
        >>> attackable = scenes.labels.numpy() < 3  # nothing of the other seven classes
        >>> large = LargeClasses(scenes, attackable, min_per_class=2)
        >>> list(large.class_names) == list(scenes.class_names[:3]), int(large.labels.min())
        (True, -1)
    """

    def __init__(self, whole: Source, attackable: NDArray[np.bool_], min_per_class: int) -> None:
        self.whole = whole
        labels = whole.labels.numpy()
        sizes = np.bincount(labels[attackable], minlength=len(whole.class_names))
        kept = sizes >= min_per_class
        if not kept.any():
            raise ValueError(
                f"min_per_class={min_per_class} leaves no class: the largest, "
                f"{whole.class_names[int(sizes.argmax())]!r}, has {sizes.max()} pictures to attack"
            )
        number = np.where(kept, np.cumsum(kept) - 1, LEFT_OUT)
        self.labels: Tensor = torch.from_numpy(number[labels])
        self.class_names: Sequence[str] = [
            name for name, keep in zip(whole.class_names, kept.tolist(), strict=True) if keep
        ]
        small = [f"{whole.class_names[one]} ({sizes[one]})" for one in np.flatnonzero(~kept).tolist()]
        self.account = _accounted(whole, int((~kept)[labels].sum()), small)
        self.counts = self.account.counts

    def __getattr__(self, name: str) -> Any:
        if name == "whole":  # not there yet, while it is being unpickled
            raise AttributeError(name)
        return getattr(self.whole, name)

    def __len__(self) -> int:
        return len(self.whole)


def _accounted(whole: Source, pictures: int, small: Sequence[str]) -> Account:
    before: Account | None = getattr(whole, "account", None)
    account = before or Account("pictures", len(whole), {"pictures": len(whole)})
    counts = {**account.counts, "pictures": account.counts["pictures"] - pictures, "of_small_classes": pictures}
    examples = {**account.examples, "of_small_classes": small[:EXAMPLES]}
    return Account(account.unit, account.found, counts, [*account.left_out, "of_small_classes"], examples)
