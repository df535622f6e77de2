"""The objects in pictures, kept beside them as JSON Lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


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
    """Labels of the pictures with these ids, from a file as :func:`read_objects` takes it; none where it lacks one.

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


def read_objects(path: str) -> dict[str, list[str]]:
    """Labels by picture, from lines ``{"id", "objects": [{"label", "box"?, "score"?}]}``.

    Returns:
        By id, each label once, in the order of the file; empty where nothing was found in a picture.

    Raises:
        ValueError: a line is not as above, or an id is repeated; the message names file and line.
    """
    found: dict[str, list[str]] = {}
    line_of: dict[str, int] = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                entry = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{where} is not JSON: {error}") from error
            identifier = entry.get("id") if isinstance(entry, dict) else None
            if not isinstance(identifier, str):
                raise ValueError(f'{where} needs an "id" that is a string, got {line.strip()[:200]}')
            if identifier in line_of:
                raise ValueError(f"{where} repeats the id {identifier!r} of line {line_of[identifier]}")
            line_of[identifier] = number
            found[identifier] = labels_of(entry.get("objects"), f"{where} (id {identifier!r})")
    return found


def labels_of(objects: Any, where: str) -> list[str]:
    """The labels in a list of names or of ``{"label", ...}``, each once, in order.

    Args:
        where: what errors call the place.

    Raises:
        ValueError: it is no such list.
    """
    if not isinstance(objects, list):
        raise ValueError(f"{where}: objects must be a list, got {objects!r}")
    labels: dict[str, None] = {}
    for entry in objects:
        label = entry.get("label") if isinstance(entry, dict) else entry
        if not isinstance(label, str) or not label:
            raise ValueError(f'{where}: an object must be a name or have a "label" that is one, got {entry!r}')
        labels[label] = None
    return list(labels)
