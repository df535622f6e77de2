"""The objects in pictures, kept beside them as JSON Lines."""

from __future__ import annotations

import json
from typing import Any


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
