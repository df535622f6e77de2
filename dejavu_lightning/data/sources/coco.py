"""COCO instances: pictures in one folder, all boxes in one JSON file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dejavu_lightning.data.sources.file_contents import file_contents
from dejavu_lightning.data.sources.image_index import Boxes, ImageFiles, Index, IntArray, clip_boxes

KEYS = (
    "pictures",
    "annotated",
    "several_objects",
    "boxes_clipped",
    "boxes_dropped",
    "boxes_crowd",
    "of_rare_categories",
    "without_instances",
)
REMEDY = "Fetch it again"
T = TypeVar("T")


class CocoInstances(ImageFiles):
    """The COCO data set's instances.

    A picture's id is its file name without folder and ending. Its label is the category that covers most,
    by the total area of its boxes; of equal ones that of the smaller category id. Boxes of crowds count as
    boxes, for they cover pixels, but not for the label. Pictures without instances have no label and are left
    out. Boxes are rounded outward to whole pixels. COCO's boxes are about the pixels as they are stored, so
    pictures are given so, whatever their EXIF orientation; only where the upright size alone is the annotated
    one are they turned.

    Files are first decoded when they are asked for; one that is missing, or of another size than annotated, is
    an error then.

    Attributes:
        class_names: the categories that label at least ``min_pictures`` pictures, in the order of their ids.
        counts: :data:`KEYS`.

    Args:
        root: folder of the pictures.
        annotations: the JSON file, such as ``annotations/instances_train2017.json``.
        min_pictures: leave out categories that label fewer pictures, and those pictures.

    Raises:
        FileNotFoundError: the folder or the JSON file is missing.
        ValueError: the JSON is not that of COCO instances, refers to a picture or category it does not
            have, or two pictures would share an id.
    """

    def __init__(self, root: str, annotations: str, min_pictures: int = 0) -> None:
        if not Path(root).is_dir():
            raise FileNotFoundError(f"root={root!r} is not a folder")
        index = read_coco(
            "annotations", annotations, "instances", partial(_index, root=Path(root), min_pictures=min_pictures)
        )
        super().__init__(Path(root), index, upright=False, known_from=annotations, remedy=REMEDY)


@dataclass(frozen=True)
class Instances:
    """The M usable instances of P pictures.

    Attributes:
        pictures: (P,) as the file has them.
        categories: names in the order of their ids.
        owner: (M,) position of an instance's picture.
        label: (M,) position of its category.
        crowd: (M,) whether it is one of many that were not told apart.
        corners: (M, 4) whole pixels.
        counts: ``boxes_clipped``, ``boxes_dropped``, ``boxes_crowd``.
    """

    pictures: Sequence[Mapping[str, Any]]
    categories: Sequence[str]
    owner: IntArray
    label: IntArray
    crowd: NDArray[np.bool_]
    corners: IntArray
    counts: Counter[str]

    def labelled(self) -> tuple[IntArray, IntArray]:
        """(L,) positions of the pictures with instances besides crowds, ascending, and what covers most of each."""
        area = np.prod(self.corners[:, 2:] - self.corners[:, :2], axis=1)
        alone = ~self.crowd
        return _cover_most(self.owner[alone], self.label[alone], area[alone])


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
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{argument}={path!r} does not hold usable COCO {kind}: {reason}") from error


def numbered(pictures: Sequence[Mapping[str, Any]]) -> dict[Any, int]:
    """Position of each picture by its number in the file."""
    position_of = {picture["id"]: position for position, picture in enumerate(pictures)}
    if len(position_of) != len(pictures):
        raise ValueError(f"{len(pictures) - len(position_of)} pictures share their id with another")
    return position_of


def sizes_of(pictures: Sequence[Mapping[str, Any]]) -> IntArray:
    """(P, 2) width and height as annotated."""
    return np.array([(picture["width"], picture["height"]) for picture in pictures], dtype=np.int64).reshape(-1, 2)


def stems(files: Sequence[str]) -> list[str]:
    """Names without folder and ending, which are the ids.

    Raises:
        ValueError: two are the same.
    """
    first: dict[str, int] = {}
    for position, file in enumerate(files):
        stem = PurePosixPath(file).stem
        other = first.setdefault(stem, position)
        if other != position:
            raise ValueError(f"{files[other]!r} and {file!r} would share the id {stem!r}")
    return list(first)


def _without_outline(fields: dict[str, Any]) -> dict[str, Any]:
    fields.pop("segmentation", None)  # gigabytes, in a large file
    return fields


def parse_instances(content: Any) -> Instances:
    """The content of an instances file; :func:`read_coco` makes its errors legible."""
    categories = sorted(content["categories"], key=lambda category: category["id"])
    label_of = {category["id"]: label for label, category in enumerate(categories)}
    pictures, instances = content["images"], content["annotations"]
    position_of = numbered(pictures)
    for instance in instances:
        if instance["image_id"] not in position_of or instance["category_id"] not in label_of:
            raise ValueError(
                f"annotation {instance['id']} is of picture {instance['image_id']} and category "
                f"{instance['category_id']}, which are not both in the file"
            )
    owner = np.array([position_of[instance["image_id"]] for instance in instances], dtype=np.int64)
    label = np.array([label_of[instance["category_id"]] for instance in instances], dtype=np.int64)
    crowd = np.array([bool(instance.get("iscrowd")) for instance in instances], dtype=bool)
    boxes = np.array([instance["bbox"] for instance in instances], dtype=np.float64).reshape(len(instances), 4)
    if not np.isfinite(boxes).all():
        first = np.flatnonzero(~np.isfinite(boxes).all(axis=1))[0]
        raise ValueError(
            f"annotation {instances[first]['id']} has a box that is not finite: {instances[first]['bbox']}"
        )
    boxes[:, 2:] += boxes[:, :2]
    corners, kept, counts = clip_boxes(boxes, sizes_of(pictures)[owner])
    counts["boxes_crowd"] = int(crowd[kept].sum())
    names = [category["name"] for category in categories]
    return Instances(pictures, names, owner[kept], label[kept], crowd[kept], corners, counts)


def _index(content: Any, root: Path, min_pictures: int) -> Index:
    found = parse_instances(content)
    pictures, owner = found.pictures, found.owner
    labelled, labels = found.labelled()
    if not len(labelled):
        raise ValueError(f"none of its {len(pictures)} pictures has an instance")
    common = np.bincount(labels, minlength=len(found.categories)) >= min_pictures
    if not common.any():
        raise ValueError(f"no category labels min_pictures={min_pictures} pictures")
    rare = ~common[labels]
    labelled, labels = labelled[~rare], (np.cumsum(common) - 1)[labels[~rare]]
    used = np.flatnonzero(np.isin(owner, labelled))
    used = used[np.argsort(owner[used], kind="stable")]
    objects = np.bincount(owner[used], minlength=len(pictures))[labelled]
    counts = found.counts + Counter(
        pictures=len(labelled),
        annotated=len(labelled),
        several_objects=int((objects > 1).sum()),
        of_rare_categories=int(rare.sum()),
        without_instances=len(pictures) - len(labelled) - int(rare.sum()),
    )
    files = [pictures[position]["file_name"] for position in labelled.tolist()]
    return Index(
        ids=stems(files),
        files=pa.array(files, pa.string()),
        labels=labels,
        class_names=[name for name, keep in zip(found.categories, common, strict=True) if keep],
        boxes=Boxes(found.corners[used], np.concatenate([[0], np.cumsum(objects)])),
        sizes=sizes_of(pictures)[labelled],
        annotated=np.ones(len(labelled), dtype=bool),
        contents=file_contents([root / file for file in files]),
        counts={key: counts[key] for key in KEYS},
    )


def _cover_most(owner: IntArray, label: IntArray, area: IntArray) -> tuple[IntArray, IntArray]:
    """Of n instances, (n,) each: the pictures that have any, sorted, and the label that covers most of each."""
    pairs, which = np.unique(np.stack([owner, label], axis=1), axis=0, return_inverse=True)
    total = np.bincount(which, weights=area, minlength=len(pairs))
    ranked = pairs[np.lexsort([pairs[:, 1], -total, pairs[:, 0]])]
    pictures, first = np.unique(ranked[:, 0], return_index=True)
    return pictures, ranked[first, 1]
