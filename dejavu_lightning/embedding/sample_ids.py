"""Find the ids of a host's samples, by which its data set and ours agree on which sample is which."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from torch.utils.data import Subset

from dejavu_lightning.core.random_stream import random_stream

Ids = Sequence[str] | Callable[[int], str]


def sample_ids(dataset: Any, given: Ids | None = None) -> list[str] | None:
    """The ids of a map-style data set; None where it does not tell.

    ``given`` wins. Else an attribute ``ids``; the paths of torchvision's folders, ``<class>/<name>`` without the
    ending; lightly's file names; a column ``id``, ``image_id`` or ``file_name`` of a Hugging Face data set; and those
    of the data set below a ``Subset``, or below a wrapper's attribute ``dataset`` where some samples, which are read,
    stand at the same positions.

    Args:
        dataset: of N samples.
        given: (N,) ids, or a function from position to id.

    Returns:
        (N,) ids, or None.

    Raises:
        ValueError: as many ids as samples are not there, one occurs twice, or a wrapper has samples in another order.
    """
    if given is not None:
        found: list[str] | None = (
            [str(given(position)) for position in range(len(dataset))] if callable(given) else [str(i) for i in given]
        )
    else:
        found = _told(dataset)
    if found is None:
        return None
    if len(found) != len(dataset):
        raise ValueError(f"{type(dataset).__name__} has {len(dataset)} samples and {len(found)} ids")
    if len(set(found)) != len(found):
        seen: set[str] = set()
        twice = next(one for one in found if one in seen or seen.add(one))  # type: ignore[func-returns-value]
        raise ValueError(f"{type(dataset).__name__}: the id {twice!r} occurs twice; give ids that are unique")
    return found


def _told(dataset: Any) -> list[str] | None:
    if isinstance(dataset, Subset):
        below = sample_ids(dataset.dataset)
        return None if below is None else [below[position] for position in dataset.indices]
    ids: Any = getattr(dataset, "ids", None)
    if hasattr(ids, "__len__") and not isinstance(ids, str | Mapping) and len(ids) == len(dataset):
        return [str(one) for one in ids]
    paths = sample_paths(dataset)
    if paths is not None:
        return [path_id(path, dataset.root) for path in paths]
    if callable(getattr(dataset, "get_filenames", None)):  # lightly
        return [os.path.splitext(str(name))[0].replace(os.sep, "/") for name in dataset.get_filenames()]
    for column in ("id", "image_id", "file_name"):
        if column in (getattr(dataset, "column_names", None) or ()):  # Hugging Face
            return [str(one) for one in dataset[column]]
    wrapped: Any = getattr(dataset, "dataset", None)
    if not hasattr(wrapped, "__len__") or len(wrapped) != len(dataset):
        return None
    found = _told(wrapped)
    return found if found is None or _keeps_order(dataset, wrapped) else None


def _keeps_order(wrapper: Any, below: Any) -> bool:
    """Whether some samples of a wrapper are those that stand at the same positions below it.

    Raises:
        ValueError: they are others, so that the ids below would be of the wrong samples.
    """
    last = len(below) - 1
    for position in sorted({0, min(1, last), last // 3, last // 2, last}) if last >= 0 else ():
        asked = _asked_for(wrapper, below, position)
        if len(asked) != 1:  # it makes a sample of several, or reads none of them
            return False
        if asked[0] != position:
            raise ValueError(
                f"sample {position} of this {type(wrapper).__name__} is sample {asked[0]} of the data set that it "
                "wraps, whose ids would be of the wrong samples: give ids=[...], or an attribute ids"
            )
    return True


def _asked_for(wrapper: Any, below: Any, position: int) -> list[Any]:
    """Which samples a wrapper asks for from below to make one; none where it takes no other data set."""
    spied = _Asked(below)
    try:
        wrapper.dataset = spied
        with random_stream(0):
            wrapper[position]
    except Exception:  # whatever a user's code raises where it expects a data set of its own kind
        return []
    finally:
        with suppress(AttributeError):
            wrapper.dataset = below
    return spied.positions


class _Asked:
    """Stands for a data set and keeps the positions that it is asked for."""

    def __init__(self, dataset: Any) -> None:
        self._dataset, self.positions = dataset, list[int]()

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, position: Any) -> Any:
        self.positions.append(position)
        return self._dataset[position]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


def sample_paths(dataset: Any) -> list[str] | None:
    """The files of a data set that lists ``(path, label)`` as torchvision's folders do; None for another."""
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list) or not hasattr(dataset, "root"):
        return None
    paths = [one[0] if isinstance(one, tuple | list) and one else None for one in samples]
    return paths if all(isinstance(path, str | os.PathLike) for path in paths) else None  # type: ignore[return-value]


def path_id(path: str, root: str) -> str:
    """``<class>/<name>``: a path below the root, without its ending."""
    return os.path.splitext(os.path.relpath(path, root))[0].replace(os.sep, "/")
