"""What is seen in pictures, kept beside them as JSON Lines."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Iterator
from typing import Any


def read_objects(path: str) -> dict[str, list[str]]:
    """Labels by picture, from lines ``{"id", "objects": [{"label", "box"?, "score"?}]}``.

    Returns:
        By id, each label once, in the order of the file; empty where nothing was found in a picture.

    Raises:
        ValueError: a line is not as above, or an id is repeated; the message names file and line.
    """
    return {identifier: labels_of(objects, where) for identifier, objects, where in _lines(path)}


def read_tags(path: str) -> dict[str, list[str]]:
    """Labels by picture, the highest ``score`` first, from a file as :func:`read_objects` takes it.

    Labels of equal score, or without one, keep the order of the file.

    Raises:
        ValueError: likewise, or a score is no finite number.
    """
    found: dict[str, list[str]] = {}
    for identifier, objects, where in _lines(path):
        labels_of(objects, where)  # checks them
        best: dict[str, float] = {}
        for entry in objects:
            label, score = (entry["label"], entry.get("score", 0.0)) if isinstance(entry, dict) else (entry, 0.0)
            if not isinstance(score, int | float) or not math.isfinite(score):
                raise ValueError(f"{where}: the score of {label!r} must be a finite number, got {score!r}")
            best[label] = max(score, best.get(label, -math.inf))
        found[identifier] = sorted(best, key=lambda label: -best[label])
    return found


def _lines(path: str) -> Iterator[tuple[str, Any, str]]:
    """Id, objects, and what errors call the place, of each line."""
    line_of: dict[str, int] = {}
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            if number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise ValueError(f"{where} is UTF-16; save the file as UTF-8")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                entry = json.loads(text)
            except UnicodeDecodeError as error:
                raise ValueError(f"{where} is not UTF-8 ({error}); save the file as UTF-8") from error
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{where} is not JSON: {error}") from error
            identifier = entry.get("id") if isinstance(entry, dict) else None
            if not isinstance(identifier, str):
                raise ValueError(f'{where} needs an "id" that is a string, got {text.strip()[:200]}')
            if identifier in line_of:
                raise ValueError(f"{where} repeats the id {identifier!r} of line {line_of[identifier]}")
            line_of[identifier] = number
            yield identifier, entry.get("objects"), f"{where} (id {identifier!r})"


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
