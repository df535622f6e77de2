"""COCO captions: pictures in one folder, about five captions of each in one JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.data.account import EXAMPLES, Account
from dejavu_lightning.data.sources.caption_source import CaptionScan, all_named, image_problems, worded
from dejavu_lightning.data.sources.coco import REMEDY, parse_instances, stems
from dejavu_lightning.data.sources.coco_json import (
    check_ids,
    entries,
    file_names,
    numbered,
    picture_column,
    position,
    read_coco,
    refuse,
    sizes_of,
)
from dejavu_lightning.data.sources.file_contents import file_contents
from dejavu_lightning.data.sources.image_index import IntArray, decode_sized
from dejavu_lightning.data.sources.vocabulary import in_vocabulary, objects_of

Choice = Literal["first", "shortest", "longest"]


class CocoCaptions:
    """The COCO data set's captions: one of each picture is its own, the others are there on request.

    A training pair is a picture with its own caption: the test asks whether that caption brings back objects that it
    does not name, and another caption of the picture in the training set would name some of them. With
    ``data.caption_sampling`` all of its captions are trained on, in turn, and its own is asked with all the same.
    Captions without text are passed over where the picture has another.

    A picture's id is its file name without folder and ending; where two pictures would share one, all ids have their
    folders. With ``instances``, the objects are the categories with at least one instance, crowds included, and the
    label is the category that covers most, as in :class:`~dejavu_lightning.data.sources.coco.CocoInstances`; pictures
    without instances besides crowds have no label and are left out. Otherwise there are no labels. Pictures are given
    as they are stored, whatever their EXIF orientation, unless only the upright size is the annotated one.

    Attributes:
        object_names: the categories in the order of their ids; the labels met in ``objects``, sorted.
        counts: ``pictures``, what :class:`~dejavu_lightning.data.sources.caption_source.CaptionScan` counts,
            ``without_instances`` that were left out, ``pictures_without_objects``; of the instances
            ``boxes_dropped`` and ``boxes_missing``, which are not among the objects.
        account: pictures listed are pictures used and those left out, by reason.

    Args:
        root: folder of the pictures.
        captions: the JSON file, such as ``annotations/captions_train2017.json``.
        instances: the JSON file with the objects, such as ``annotations/instances_train2017.json``.
        objects: instead, a JSON Lines file with the objects by id.
        caption: which of a picture's captions is its own: the "first" by annotation id, the "shortest", which tends to
            name fewest of the objects, or the "longest"; the first of equally long ones.
        max_unusable: share of the pictures, in [0, 1], that may lack a caption or their file.
        verify: decode every picture now, so that undecodable ones are left out and counted too.

    Raises:
        FileNotFoundError: the folder or a JSON file is missing.
        ValueError: a JSON file is not what it should be, the two are about different pictures, two pictures
            would share an id, or too many are unusable.

    Example:
        >>> annotations = "coco/annotations"
        >>> coco = CocoCaptions(
        ...     "coco/train2017", f"{annotations}/captions_train2017.json", f"{annotations}/instances_train2017.json"
        ... )
        >>> coco.captions[0], [coco.object_names[o] for o in coco.objects[0]]
        ('A cat on a sofa.', ['cat'])
    """

    labels: Tensor | None = None

    def __init__(
        self,
        root: str,
        captions: str,
        instances: str | None = None,
        objects: str | None = None,
        caption: Choice = "first",
        max_unusable: float = 0.1,
        verify: bool = False,
    ) -> None:
        if not Path(root).is_dir():
            raise FileNotFoundError(f"root={root!r} is not a folder")
        if caption not in get_args(Choice):
            raise ValueError(f"caption must be one of {list(get_args(Choice))}, got {caption!r}")
        if instances is not None and objects is not None:
            raise ValueError(f"instances={instances!r} and objects={objects!r} both give the objects: give one of them")
        scan = CaptionScan(f"captions={captions!r} with root={root!r}", max_unusable)
        listed = read_coco("captions", captions, "captions", partial(_parse, choice=caption))
        problems = image_problems(Path(root), [picture.file for picture in listed], verify)
        pictures = [
            picture
            for picture, problem in zip(listed, problems, strict=True)
            if scan.usable(picture.id, picture.caption, problem)
        ]
        scan.check()
        counts, examples = dict(scan.counts), dict(scan.examples)
        if instances is not None:
            known = _Instances(instances)
            labels = known.labels(pictures, captions)
            without = [picture.file for picture, label in zip(pictures, labels, strict=True) if label is None]
            counts |= {"without_instances": len(without), **known.counts}
            examples |= {"without_instances": without[:EXAMPLES], **known.examples}
            pictures = [picture for picture, label in zip(pictures, labels, strict=True) if label is not None]
            self.labels = torch.tensor([label for label in labels if label is not None], dtype=torch.int64)
            self.object_names: Sequence[str] = known.names
            self.objects: Sequence[NDArray[Any]] = [known.objects(picture) for picture in pictures]
        else:
            ids = [picture.id for picture in pictures]
            vocabulary = in_vocabulary(objects_of(ids, objects) if objects else [[]] * len(ids), None)
            self.object_names, self.objects = vocabulary.names, vocabulary.positions
            counts["pictures_without_objects"] = vocabulary.counts["pictures_without_objects"]
        self.contents = file_contents([Path(root) / picture.file for picture in pictures])
        self.counts = {**counts, "pictures": len(pictures)}
        reasons = (*CaptionScan.UNUSABLE, "without_instances")
        self.account = Account("listed pictures", len(listed), self.counts, reasons, examples)
        self.folder, self.origin = Path(root), captions
        self.ids: Sequence[str] = [picture.id for picture in pictures]
        self.captions: Sequence[str] = [picture.caption or "" for picture in pictures]
        self.all_captions = [picture.captions for picture in pictures]
        self.named: Sequence[NDArray[Any]] = all_named(self.captions, self.objects, self.object_names)
        self._files = [picture.file for picture in pictures]
        self._sizes = [picture.size for picture in pictures]
        self._columns: dict[str, list[str | None]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def path(self, index: int) -> Path:
        """Where picture ``index`` lies."""
        return self.folder / self._files[index]

    def column(self, name: str) -> list[str | None]:
        """(N,) what a field of the pictures in ``captions`` says of each, as text; of ``license`` the licence's name.

        Raises:
            ValueError: no picture has such a field, or it holds neither text nor numbers.
        """
        if name not in self._columns:
            self._columns[name] = picture_column("captions", self.origin, "captions", self._files, name)
        return self._columns[name]

    def image(self, index: int) -> Tensor:
        """Decode picture ``index`` to uint8 RGB (3, H, W).

        Raises:
            FileNotFoundError: the file is gone.
            ValueError: the file cannot be decoded, or its size is not the annotated one.
        """
        return decode_sized(
            self.path(index), self.ids[index], self._sizes[index], upright=False, known_from=self.origin, remedy=REMEDY
        )


class _Picture(NamedTuple):
    id: str
    number: Any  # its id in the JSON files
    file: str
    size: tuple[int, int]
    caption: str | None
    captions: list[str]  # all that have text


def _parse(content: Any, choice: Choice) -> list[_Picture]:
    pictures, annotations = entries(content, "images"), entries(content, "annotations")
    position_of = numbered(pictures, "picture")
    check_ids(annotations, "annotation")
    captions: list[list[str]] = [[] for _ in pictures]
    for annotation in sorted(annotations, key=lambda annotation: annotation["id"]):
        row = position(annotation, "image_id", position_of, "picture")
        if not isinstance(annotation.get("caption"), str):
            raise refuse("annotation", annotation, "caption", "a text")
        captions[row].append(annotation["caption"].strip())
    files = file_names(pictures)
    return [
        _Picture(identifier, picture["id"], file, (width, height), _chosen(found, choice), worded(found))
        for identifier, picture, file, (width, height), found in zip(
            stems(files), pictures, files, sizes_of(pictures).tolist(), captions, strict=True
        )
    ]


def _chosen(captions: list[str], choice: Choice) -> str | None:
    among = worded(captions) or captions
    if not among:
        return None
    return {"first": among[0], "shortest": min(among, key=len), "longest": max(among, key=len)}[choice]


class _Instances:
    """The objects of an instances file, by the pictures' numbers."""

    def __init__(self, path: str) -> None:
        found = read_coco("instances", path, "instances", parse_instances)
        self.path, self.names = path, found.categories
        self._row = numbered(found.pictures, "picture")
        kinds = ("boxes_dropped", "boxes_missing")
        self.counts = {kind: found.counts[kind] for kind in kinds if found.counts[kind]}
        self.examples = {kind: list(found.examples[kind]) for kind in kinds}
        self._files = file_names(found.pictures)
        # (K, 2) picture and category of what is there at least once, sorted
        self._pairs = np.unique(np.stack([found.owner, found.label], axis=1), axis=0)
        self._starts = np.searchsorted(self._pairs[:, 0], np.arange(len(self._files) + 1))
        labelled, labels = found.labelled()
        self._label = dict(zip(labelled.tolist(), labels.tolist(), strict=True))

    def labels(self, pictures: Sequence[_Picture], captions: str) -> list[int | None]:
        """What covers most of each picture; None where there is no instance besides crowds."""
        rows = [self._row.get(picture.number) for picture in pictures]
        for picture, row in zip(pictures, rows, strict=True):
            if row is not None and Path(self._files[row]).name != Path(picture.file).name:
                raise ValueError(
                    f"instances={self.path!r} and captions={captions!r} are about different pictures: number "
                    f"{picture.number} is {self._files[row]!r} and {picture.file!r}"
                )
        labels = [None if row is None else self._label.get(row) for row in rows]
        if all(label is None for label in labels):
            raise ValueError(
                f"instances={self.path!r} has no instance in the {len(pictures)} pictures of captions={captions!r}; "
                "both must be of the same part of COCO"
            )
        return labels

    def objects(self, picture: _Picture) -> IntArray:
        """Its categories."""
        row = self._row[picture.number]
        return self._pairs[self._starts[row] : self._starts[row + 1], 1]
