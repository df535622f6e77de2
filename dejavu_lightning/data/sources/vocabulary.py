"""The objects in pictures, as positions in a vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.core.object_file import read_objects


class Vocabulary(NamedTuple):
    """The objects of N pictures as positions in a list of names.

    Attributes:
        names: the list.
        positions: (N,) int64 arrays, ascending; what is not in the list is left out.
        counts: ``pictures_without_objects`` and ``objects_outside_the_vocabulary``.
    """

    names: list[str]
    positions: list[NDArray[np.int64]]
    counts: dict[str, int]


def in_vocabulary(labels: Sequence[Sequence[str]], names: Sequence[str] | None) -> Vocabulary:
    """Labels as positions.

    Args:
        labels: of each picture, each once.
        names: if None, all labels met, sorted.

    Raises:
        ValueError: a name is repeated.
    """
    known = sorted({label for found in labels for label in found}) if names is None else list(names)
    position = {name: index for index, name in enumerate(known)}
    if len(position) < len(known):
        repeated = next(name for name, count in Counter(known).items() if count > 1)
        raise ValueError(f"object_names has {repeated!r} twice")
    positions = [
        np.array(sorted(position[label] for label in found if label in position), dtype=np.int64) for found in labels
    ]
    counts = {
        "pictures_without_objects": sum(not len(found) for found in positions),
        "objects_outside_the_vocabulary": sum(map(len, labels)) - sum(map(len, positions)),
    }
    return Vocabulary(known, positions, counts)


def objects_of(ids: Sequence[str], path: str) -> list[list[str]]:
    """Labels of the pictures with these ids, from a file of objects; none where it lacks one.

    The format is that of :func:`~dejavu_lightning.core.object_file.read_objects`.

    Raises:
        ValueError: it has none of them.
    """
    found = read_objects(path)
    if not any(identifier in found for identifier in ids):
        raise ValueError(
            f"objects={path!r} has none of the {len(ids)} pictures: its ids are like {next(iter(found), None)!r}, "
            f"theirs like {ids[0]!r}"
        )
    return [found.get(identifier, []) for identifier in ids]
