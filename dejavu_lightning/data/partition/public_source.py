"""A public set of pictures from another source than the private ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.data.sources.caption_source import CaptionSource


class PublicSource:
    """Captioned pictures of one source, their objects as positions in another's vocabulary.

    Args:
        public: the pictures.
        private: the source of the training splits, whose ``object_names`` count.
        members: rows of ``private`` in each split.

    Raises:
        ValueError: the two share no object, an id or a picture of a training split.

    Example:
        >>> from dejavu_lightning.data import ObjectScenes
        >>> public = PublicSource(ObjectScenes(30, seed=5, prefix="other"), ObjectScenes(60), {"A": [0], "B": [1]})
        >>> len(public), public.told
        (30, '30 public pictures of another source')
    """

    labels: Tensor | None = None

    def __init__(self, public: CaptionSource, private: CaptionSource, members: Mapping[str, Sequence[int]]) -> None:
        position = {name: index for index, name in enumerate(private.object_names)}
        where = np.array([position.get(name, -1) for name in public.object_names], dtype=np.int64)
        if not (where >= 0).any():
            raise ValueError(
                f"public shares no object with the vocabulary of source: {_first(public.object_names)} and "
                f"{_first(private.object_names)}; give both the same object_names"
            )
        trained = [row for split in ("A", "B") for row in members[split]]
        _check_apart(public, private, trained)
        self.public = public
        self.ids: Sequence[str] = public.ids
        self.captions: Sequence[str] = public.captions
        self.object_names: Sequence[str] = private.object_names
        self.objects: Sequence[NDArray[Any]] = [_known(where, objects) for objects in public.objects]
        self.named: Sequence[NDArray[Any]] = [_known(where, objects) for objects in public.named]
        lost = sum(map(len, public.objects)) - sum(map(len, self.objects))
        self.told = f"{len(self)} public pictures of another source" + (
            f", without {lost} objects that the vocabulary lacks" if lost else ""
        )

    def __len__(self) -> int:
        return len(self.public)

    def image(self, index: int) -> Tensor:
        """Decode picture ``index``: uint8 (3, H, W)."""
        return self.public.image(index)


def _known(where: NDArray[np.int64], objects: NDArray[Any]) -> NDArray[np.int64]:
    found = where[np.asarray(objects, dtype=np.int64)]
    return np.unique(found[found >= 0])


def _check_apart(public: CaptionSource, private: CaptionSource, trained: Sequence[int]) -> None:
    """Refuse ids that both have, and copies of files: of one size, and of the same pixels."""
    own = {private.ids[row]: row for row in trained}
    for identifier in public.ids:
        if identifier in own:
            raise ValueError(
                f"public has the id {identifier!r}, which is also one of a training split: name the pictures of public "
                "apart, or, where they are the same, take them out of one of the two"
            )
    sizes = [getattr(getattr(source, "contents", None), "sizes", None) for source in (public, private)]
    if sizes[0] is None or sizes[1] is None:
        return
    of_size: dict[int, list[int]] = {}
    for row in trained:
        of_size.setdefault(int(sizes[1][row]), []).append(row)
    for index, size in enumerate(sizes[0].tolist()):
        for row in of_size.get(size, ()):
            if torch.equal(public.image(index), private.image(row)):
                raise ValueError(
                    f"{public.ids[index]!r} of public is a copy of {private.ids[row]!r}, which a model is trained on; "
                    "take it out of public"
                )


def _first(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}, ..."
