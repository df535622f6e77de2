"""COCO instances: pictures in one folder, all boxes in one JSON file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dejavu_lightning.data.account import EXAMPLES, Account
from dejavu_lightning.data.sources.coco_json import (
    BEYOND,
    check_ids,
    entries,
    file_names,
    numbered,
    picture_column,
    position,
    read_coco,
    refuse,
    sizes_of,
    unusable,
)
from dejavu_lightning.data.sources.file_contents import file_contents
from dejavu_lightning.data.sources.image_index import Boxes, ImageFiles, Index, IntArray, clip_boxes
from dejavu_lightning.data.sources.scan_images import Broken, ImageScan, scan_images

KEYS = (
    "pictures",
    "annotated",
    "several_objects",
    "boxes_clipped",
    "boxes_dropped",
    "boxes_missing",
    "boxes_crowd",
    "corners_exchanged",
    "not_attacked",
    "broken",
    "of_rare_categories",
    "without_instances",
)
REMEDY = "Fetch it again"
LEFT_OUT = ("broken", "of_rare_categories", "without_instances")


class CocoInstances(ImageFiles):
    """Pictures of the COCO data set with boxes, labelled by the category that covers most of each.

    A picture's id is its file name without folder and ending; where two pictures would share one, all ids have their
    folders, as those of class folders. Its label is the category that covers most, by the total area of its boxes; of
    equal ones that of the smaller category id. Boxes of crowds count as boxes, for they cover pixels, but not for the
    label. Pictures without instances have no label and are left out; those of which a box is missing, empty or outside
    are never attacked, for its object may lie anywhere. Boxes are rounded outward to whole pixels. COCO's boxes are
    about the pixels as they are stored, so pictures are given so, whatever their EXIF orientation; only where the
    upright size alone is the annotated one are they turned.

    The headers of the pictures with instances are read at the start; a file of another size than annotated is an error
    when it is decoded.

    Attributes:
        class_names: the categories that label at least ``min_pictures`` pictures, in the order of their ids.
        counts: :data:`KEYS`.
        account: pictures listed are pictures used and those left out, by reason.

    Args:
        root: folder of the pictures.
        annotations: the JSON file, such as ``annotations/instances_train2017.json``.
        min_pictures: leave out categories that label fewer pictures, and those pictures.
        verify: decode every picture with instances at the start, which finds truncated ones.
        broken: what to do about files that are missing or cannot be read: "error" or "skip".

    Raises:
        FileNotFoundError: the folder or the JSON file is missing.
        ValueError: the JSON is not that of COCO instances, refers to a picture or category it does not
            have, two pictures would share an id, or files cannot be read.

    Example:
        >>> coco = CocoInstances("coco/train2017", "coco/annotations/instances_train2017.json")  # two pictures
        >>> coco.class_names, coco.boxes[0].tolist()
        (['cat', 'dog'], [[2, 3, 22, 33]])
    """

    def __init__(
        self, root: str, annotations: str, min_pictures: int = 0, verify: bool = False, broken: Broken = "error"
    ) -> None:
        if not Path(root).is_dir():
            raise FileNotFoundError(f"root={root!r} is not a folder")
        found, files = read_coco("annotations", annotations, "instances", _parse)
        shown, _ = found.labelled()
        paths = [Path(root) / files[picture] for picture in shown.tolist()]
        if not any(path.is_file() for path in paths):
            raise FileNotFoundError(
                f"root={root!r} has none of the {len(paths)} pictures with instances of annotations={annotations!r}, "
                f"such as {files[int(shown[0])]!r}; is it the folder of these pictures?"
            )
        scan = scan_images(len(paths), lambda position: (paths[position], None), verify, broken)
        if not scan.kept.any():
            raise ValueError(
                f"root={root!r}: none of the {len(paths)} pictures with instances of annotations={annotations!r} can "
                f"be read, such as {scan.reasons[0]}"
            )
        try:
            index = _index(found, files, scan, Path(root), min_pictures)
        except ValueError as error:
            raise unusable("annotations", annotations, "instances", error) from error
        super().__init__(Path(root), index, upright=False, known_from=annotations, remedy=REMEDY)
        self._columns: dict[str, list[str | None]] = {}

    def column(self, name: str) -> list[str | None]:
        """(N,) what a field of the pictures in the JSON says of each, as text; of ``license`` the licence's name.

        Raises:
            ValueError: no picture has such a field, or it holds neither text nor numbers.
        """
        if name not in self._columns:
            files = self._files.to_pylist()
            self._columns[name] = picture_column("annotations", self.known_from, "instances", files, name)
        return self._columns[name]


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
        unsure: (P,) whether an instance's box cannot be used.
        counts: ``boxes_clipped``, ``boxes_dropped``, ``boxes_missing``, ``boxes_crowd``, ``corners_exchanged``.
        examples: annotations of some of these, by kind.
    """

    pictures: Sequence[Mapping[str, Any]]
    categories: Sequence[str]
    owner: IntArray
    label: IntArray
    crowd: NDArray[np.bool_]
    corners: IntArray
    unsure: NDArray[np.bool_]
    counts: Counter[str]
    examples: Mapping[str, Sequence[str]]

    def labelled(self) -> tuple[IntArray, IntArray]:
        """(L,) positions of the pictures with instances besides crowds, ascending, and what covers most of each."""
        area = np.prod(self.corners[:, 2:] - self.corners[:, :2], axis=1)
        alone = ~self.crowd
        return _cover_most(self.owner[alone], self.label[alone], area[alone])


def stems(files: Sequence[str]) -> list[str]:
    """Names without folder and ending, which are the ids; where two are the same, those of all with their folders.

    Raises:
        ValueError: two are the same all the same.
    """
    paths = [PurePosixPath(file).with_suffix("") for file in files]
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        other = first.setdefault(name, row)
        if other != row:
            raise ValueError(f"{files[other]!r} and {files[row]!r} would share the id {name!r}; rename one")
    return names


def parse_instances(content: Any) -> Instances:
    """The content of an instances file; :func:`read_coco` makes its errors legible."""
    categories, pictures = entries(content, "categories"), entries(content, "images")
    instances = entries(content, "annotations")
    check_ids(categories, "category")
    categories = sorted(categories, key=lambda category: category["id"])
    for category in categories:
        if not isinstance(category.get("name"), str):
            raise refuse("category", category, "name", "a text")
    label_of, position_of = numbered(categories, "category"), numbered(pictures, "picture")
    owner = np.array([position(one, "image_id", position_of, "picture") for one in instances], dtype=np.int64)
    label = np.array([position(one, "category_id", label_of, "category") for one in instances], dtype=np.int64)
    crowd = np.array([bool(instance.get("iscrowd")) for instance in instances], dtype=bool)
    boxes = np.array([_box(instance) for instance in instances], dtype=np.float64).reshape(len(instances), 4)
    missing = np.isnan(boxes[:, 0])
    exchanged = (boxes[:, 2:] < 0).any(axis=1)
    ends = boxes[:, :2] + boxes[:, 2:]
    boxes = np.concatenate([np.minimum(boxes[:, :2], ends), np.maximum(boxes[:, :2], ends)], axis=1)
    boxes[missing] = 0  # without area, so that they are dropped
    corners, kept, counts = clip_boxes(boxes, sizes_of(pictures)[owner])
    counts.update(
        boxes_dropped=-int(missing.sum()),
        boxes_missing=int(missing.sum()),
        boxes_crowd=int(crowd[kept].sum()),
        corners_exchanged=int(exchanged.sum()),
    )
    odd = {"boxes_dropped": ~kept & ~missing, "boxes_missing": missing, "corners_exchanged": exchanged}
    examples = {
        kind: [f"annotation {instances[one].get('id')}" for one in np.flatnonzero(which)[:EXAMPLES].tolist()]
        for kind, which in odd.items()
    }
    unsure = np.zeros(len(pictures), dtype=bool)
    unsure[owner[~kept]] = True
    names = [category["name"] for category in categories]
    return Instances(pictures, names, owner[kept], label[kept], crowd[kept], corners, unsure, counts, examples)


def _box(instance: Mapping[str, Any]) -> list[float]:
    """x, y, width and height; NaN where there is no box."""
    box = instance.get("bbox")
    if box is None or box == []:
        return [np.nan] * 4
    if not isinstance(box, list) or len(box) != 4 or not all(_is_pixels(side) for side in box):
        raise refuse("annotation", instance, "bbox", "four finite numbers, x, y, width and height")
    return box


def _is_pixels(side: Any) -> bool:
    return isinstance(side, int | float) and -BEYOND < side < BEYOND


def _parse(content: Any) -> tuple[Instances, list[str]]:
    """The instances, and the files of the pictures."""
    found = parse_instances(content)
    if not len(found.labelled()[0]):
        raise ValueError(f"none of its {len(found.pictures)} pictures has an instance")
    return found, file_names(found.pictures)


def _index(found: Instances, files: list[str], scan: ImageScan, root: Path, min_pictures: int) -> Index:
    """The index of the pictures with instances that can be read and are of no rare category."""
    pictures, owner = found.pictures, found.owner
    shown, labels = found.labelled()
    labelled, labels = shown[scan.kept], labels[scan.kept]
    common = np.bincount(labels, minlength=len(found.categories)) >= min_pictures
    if not common.any():
        broken = int((~scan.kept).sum())
        lacking = f", of which {broken} cannot be read" if broken else ""
        raise ValueError(f"no category labels min_pictures={min_pictures} pictures{lacking}; lower it")
    without = np.setdiff1d(np.arange(len(pictures)), shown)
    rare = labelled[~common[labels]]
    labels = (np.cumsum(common) - 1)[labels[common[labels]]]
    labelled = np.setdiff1d(labelled, rare)
    of_picture = np.bincount(owner, minlength=len(pictures))
    used = np.flatnonzero(np.isin(owner, labelled) & ~found.unsure[owner])
    used = used[np.argsort(owner[used], kind="stable")]
    objects = np.where(found.unsure, 0, of_picture)[labelled]
    own = [files[picture] for picture in labelled.tolist()]
    contents = file_contents([root / file for file in own])
    odd = {
        "not_attacked": labelled[found.unsure[labelled]],
        "of_rare_categories": rare,
        "without_instances": without,
    }
    counts = found.counts + Counter(
        pictures=len(labelled),
        annotated=int((objects > 0).sum()),
        several_objects=int((of_picture[labelled] > 1).sum()),
        broken=int((~scan.kept).sum()),
        **{kind: len(which) for kind, which in odd.items()},
    )
    examples = {kind: [files[picture] for picture in which[:EXAMPLES].tolist()] for kind, which in odd.items()}
    return Index(
        ids=stems(own),
        files=pa.array(own, pa.string()),
        labels=labels,
        class_names=[name for name, keep in zip(found.categories, common, strict=True) if keep],
        boxes=Boxes(found.corners[used], np.concatenate([[0], np.cumsum(objects)])),
        sizes=sizes_of(pictures)[labelled],
        annotated=np.ones(len(labelled), dtype=bool),
        contents=contents,
        account=Account(
            "listed pictures",
            len(pictures),
            {key: counts[key] for key in KEYS},
            LEFT_OUT,
            {**found.examples, **examples, "broken": scan.reasons},
        ),
    )


def _cover_most(owner: IntArray, label: IntArray, area: IntArray) -> tuple[IntArray, IntArray]:
    """Of n instances, (n,) each: the pictures that have any, sorted, and the label that covers most of each."""
    pairs, which = np.unique(np.stack([owner, label], axis=1), axis=0, return_inverse=True)
    total = np.bincount(which, weights=area, minlength=len(pairs))
    ranked = pairs[np.lexsort([pairs[:, 1], -total, pairs[:, 0]])]
    pictures, first = np.unique(ranked[:, 0], return_index=True)
    return pictures, ranked[first, 1]
