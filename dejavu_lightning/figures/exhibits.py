"""The most memorized records as a table whose cells are texts and pictures."""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

from numpy.typing import NDArray

from dejavu_lightning.core.samples import DisplayableSamples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.figures.artifacts import (
    GALLERY_NEIGHBORS,
    GALLERY_RECORDS,
    caption_rows,
    label_rows,
    most_memorized,
)
from dejavu_lightning.figures.caption_gallery import Picture
from dejavu_lightning.figures.gallery import Shown
from dejavu_lightning.memorization.measure import Measurement


class ShownCell(NamedTuple):
    """A picture (H, W, 3) uint8 and what stands below it."""

    image: NDArray[Any]
    caption: str


Cell = str | ShownCell | None


class Exhibits(NamedTuple):
    """``rows`` has a cell for each of ``columns``; None where a model has no such neighbour."""

    columns: list[str]
    rows: list[list[Cell]]


def exhibits(measurement: Measurement, sets: MemorizationSets) -> Exhibits:
    """Those of the gallery, in its order; no rows where the datasets cannot show their samples."""
    shows = isinstance(sets.attack, DisplayableSamples) and isinstance(sets.public, DisplayableSamples)
    found = most_memorized(measurement, GALLERY_RECORDS) if shows else []
    numbers = range(1, GALLERY_NEIGHBORS + 1)
    near = [f"{role} neighbor {number}" for role in ("target", "reference") for number in numbers]
    settings = measurement.target.settings
    rows: list[list[Cell]] = []
    if settings["test"] == "object_retrieval":
        for pair in caption_rows(found, sets, settings["unnamed_only"]) if found else []:
            facts = (pair.identifier, pair.caption, ", ".join(pair.scored), _objects(pair.record))
            shown = (_padded([_objects(picture) for picture in side]) for side in (pair.target, pair.reference))
            rows.append([*facts, *chain(*shown)])
        return Exhibits(["id", "caption", "scored objects", "record", *near], rows)
    for row in label_rows(found, sets) if found else []:
        seen = None if row.crop is None else ShownCell(_cropped(row.record.image, row.crop), "")
        near_by = (_padded([_class(shown) for shown in side]) for side in (row.target, row.reference))
        rows.append([row.identifier, row.record.class_name, _class(row.record), seen, *chain(*near_by)])
    return Exhibits(["id", "label", "record", "what the test saw", *near], rows)


def _class(shown: Shown) -> ShownCell:
    return ShownCell(shown.image, shown.class_name)


def _objects(picture: Picture) -> ShownCell:
    return ShownCell(picture.image, ", ".join(picture.objects))


def _padded(cells: list[ShownCell]) -> list[Cell]:
    return [*cells, *[None] * (GALLERY_NEIGHBORS - len(cells))]


def _cropped(image: NDArray[Any], crop: NDArray[Any]) -> NDArray[Any]:
    x0, y0, x1, y1 = (round(float(edge)) for edge in crop)
    return image[y0:y1, x0:x1]
