"""Reading COCO's JSON: each error names the file, the entry by its id, the field, and what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dejavu_lightning.data.sources.image_index import IntArray

BEYOND = 1e9  # pixels, more than any picture has
T = TypeVar("T")


def read_coco(argument: str, path: str, kind: str, parse: Callable[[Any], T]) -> T:
    """What ``parse`` makes of a JSON file.

    Args:
        argument: whose value the path is, for errors.
        kind: "instances" or "captions".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or not as ``parse`` expects.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{argument}={path!r} is not a file; it must be COCO {kind} as JSON")
    try:
        with open(path, "rb") as file:
            return parse(json.load(file, object_hook=_without_outline))
    except RecursionError:
        raise unusable(argument, path, kind, "it is nested too deeply") from None
    except (ValueError, MemoryError) as error:
        encoding = isinstance(error, UnicodeDecodeError)
        reason = f"it is not UTF-8, UTF-16 or UTF-32 ({error}); save it as UTF-8" if encoding else error
        raise unusable(argument, path, kind, reason) from error


def unusable(argument: str, path: str, kind: str, reason: object) -> ValueError:
    """The error of a file that is not as it should be; its arguments are those of :func:`read_coco`."""
    return ValueError(f"{argument}={path!r} does not hold usable COCO {kind}: {reason}")


def entries(content: Any, name: str) -> list[dict[str, Any]]:
    """The list of objects called ``name`` in a COCO file."""
    if not isinstance(content, dict) or not isinstance(content.get(name), list):
        found = _shown(content.get(name)) if isinstance(content, dict) else f"{_shown(content)} around it"
        raise ValueError(f"expected an object with a list {name!r}, found {found}")
    listed: list[dict[str, Any]] = content[name]
    for number, entry in enumerate(listed):
        if not isinstance(entry, dict):
            raise ValueError(f"entry {number} of {name!r} must be an object, found {_shown(entry)}")
    return listed


def refuse(what: str, entry: Mapping[str, Any], name: str, wanted: str) -> ValueError:
    """The error about a field of a picture, an annotation or a category."""
    found = f"{name} {_shown(entry[name])}" if name in entry else f"no {name}"
    return ValueError(f"{what} {entry.get('id', 'without id')!r} has {found}, expected {wanted}")


def check_ids(listed: Sequence[Mapping[str, Any]], what: str) -> None:
    """Raise ValueError unless all ids are numbers, or all are texts."""
    for entry in listed:
        if not isinstance(entry.get("id"), int | str | float):
            raise refuse(what, entry, "id", "a number")
    if len({isinstance(entry["id"], str) for entry in listed}) > 1:
        raise ValueError(f"some ids of a {what} are numbers and some texts; write all of them in one way")


def numbered(listed: Sequence[Mapping[str, Any]], what: str) -> dict[Any, int]:
    """Position of each picture, or category, by its id in the file."""
    check_ids(listed, what)
    position_of = {entry["id"]: position for position, entry in enumerate(listed)}
    if len(position_of) != len(listed):
        repeated = next(entry["id"] for number, entry in enumerate(listed) if position_of[entry["id"]] != number)
        raise ValueError(
            f"{len(listed) - len(position_of)} of {len(listed)} ids of a {what} are of another too: {repeated!r} is"
        )
    return position_of


def position(owner: Mapping[str, Any], name: str, position_of: Mapping[Any, int], what: str) -> int:
    """Which of the numbered things an annotation is of."""
    given = owner.get(name)
    if isinstance(given, int | str | float) and given in position_of:
        return position_of[given]
    known = next(iter(position_of), None)
    kinds = ("text" if isinstance(given, str) else "number", "texts" if isinstance(known, str) else "numbers")
    other = f" ({kinds[0]}, where those are {kinds[1]})" if kinds[0] not in kinds[1] else ""
    raise refuse("annotation", owner, name, f"the id of a {what} of the file, such as {known!r}{other}")


def sizes_of(pictures: Sequence[Mapping[str, Any]]) -> IntArray:
    """(P, 2) width and height as annotated."""
    for picture in pictures:
        for side in ("width", "height"):
            value = picture.get(side)
            if not isinstance(value, int | float) or not 0 < value < BEYOND:
                raise refuse("picture", picture, side, "a number of pixels")
    return np.array([(picture["width"], picture["height"]) for picture in pictures], dtype=np.int64).reshape(-1, 2)


def file_names(pictures: Sequence[Mapping[str, Any]]) -> list[str]:
    """(P,) where the pictures lie."""
    for picture in pictures:
        if not isinstance(picture.get("file_name"), str) or not picture["file_name"]:
            raise refuse("picture", picture, "file_name", "the name of a file")
    return [picture["file_name"] for picture in pictures]


def picture_column(argument: str, path: str, kind: str, files: Sequence[str], name: str) -> list[str | None]:
    """What a field of the pictures says of some of them, as text; of ``license`` the licence's name.

    Args:
        argument, path, kind: as in :func:`read_coco`.
        files: the pictures' names of files.

    Raises:
        ValueError: no picture has the field, or it holds neither text nor numbers.
    """
    pictures, names = read_coco(argument, path, kind, _pictures_and_licences)
    if not any(name in picture for picture in pictures):
        known = sorted({field for picture in pictures for field in picture})
        raise ValueError(f"{argument}={path!r}: no picture has a field {name!r}; their fields are {known}")
    told: dict[str, str | None] = {}
    for picture in pictures:
        value = picture.get(name)
        if not isinstance(value, str | int | float | None):
            raise refuse("picture", picture, name, "a text or a number")
        value = names.get(value, value) if name == "license" else value
        told[picture["file_name"]] = None if value is None else str(value)
    return [told[file] for file in files]


def _pictures_and_licences(content: Any) -> tuple[list[dict[str, Any]], dict[Any, str]]:
    pictures = entries(content, "images")
    licences = entries(content, "licenses") if content.get("licenses") else []
    return pictures, {
        one["id"]: one["name"] for one in licences if isinstance(one.get("id"), int | str) and one.get("name")
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict) or (isinstance(value, list) and len(value) > 8):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    return repr(value)[:100]


def _without_outline(fields: dict[str, Any]) -> dict[str, Any]:
    fields.pop("segmentation", None)  # gigabytes, in a large file
    return fields
