"""The Pascal VOC data set in its own layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from dejavu_lightning.data.account import Account
from dejavu_lightning.data.sources.file_contents import file_contents
from dejavu_lightning.data.sources.image_index import Boxes, ImageFiles, Index
from dejavu_lightning.data.sources.scan_images import Broken, scan_images


class VocFolder(ImageFiles):
    """The Pascal VOC data set, as torchvision's ``VOCDetection`` lays it out: ``<root>/VOCdevkit/VOC<year>``.

    A picture's id is its file name without ending. Its label is the class of its largest box, the first name
    of equally large ones; its boxes are those of all its objects. Pictures without a usable box have no label
    and are left out; those of which only some boxes cannot be used are never attacked.

    Attributes:
        counts: :data:`~dejavu_lightning.data.sources.scan_images.KEYS`, where ``without_instances``, the pictures left
            out for lack of a label, stands in place of ``without_annotation``; and ``repeated_ids`` of the list.
        account: ids listed are pictures used and those left out, by reason.

    Args:
        root: folder that holds ``VOCdevkit``.
        year: of the challenge.
        image_set: a list of ids, ``ImageSets/Main/<image_set>.txt``.
        verify: decode every picture at the start, which finds truncated ones.
        broken: what to do about pictures, or annotations, that cannot be read: "error" or "skip".

    Raises:
        FileNotFoundError: there is no such year or image set; the message lists those there are.
        ValueError: files cannot be read, or no picture has a label.

    Example:
        >>> voc = VocFolder("data", year="2012", image_set="trainval")  # data/VOCdevkit/VOC2012 lists two pictures
        >>> voc.ids, voc.class_names
        (['2008_000001', '2008_000002'], ['bird', 'cat'])
    """

    def __init__(
        self,
        root: str,
        year: str = "2012",
        image_set: str = "trainval",
        verify: bool = False,
        broken: Broken = "error",
    ) -> None:
        devkit = Path(root) / "VOCdevkit"
        folder = devkit / f"VOC{year}"
        if not folder.is_dir():
            years = sorted(entry.name.removeprefix("VOC") for entry in devkit.glob("VOC*"))
            raise FileNotFoundError(f"year={year!r}: {folder} is not a folder; years in root={root!r}: {years}")
        listed = folder / "ImageSets" / "Main" / f"{image_set}.txt"
        if not listed.is_file():
            sets = sorted(entry.stem for entry in listed.parent.glob("*.txt"))
            raise FileNotFoundError(f"image_set={image_set!r}: {listed} is missing; there are {sets}")
        try:
            lines = [line.strip() for line in listed.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise ValueError(f"image_set={image_set!r}: {listed} is not UTF-8 ({error}); save it as that") from error
        ids = list(dict.fromkeys(lines))
        several = [line for line in ids if len(line.split()) > 1]
        if several:
            raise ValueError(
                f"image_set={image_set!r}: {listed} must hold one id a line, it has {several[0]!r}; sets about one "
                "class also list the pictures without it"
            )
        found = scan_images(
            len(ids),
            lambda index: (
                folder / "JPEGImages" / f"{ids[index]}.jpg",
                folder / "Annotations" / f"{ids[index]}.xml",
            ),
            verify,
            broken,
        )
        readable = [identifier for identifier, kept in zip(ids, found.kept, strict=True) if kept]
        labelled = {position: name for position, name in enumerate(found.names) if name is not None}
        if not labelled:
            raise ValueError(f"image_set={image_set!r}: none of the {len(ids)} pictures of {listed} has a box")
        class_names = sorted(set(labelled.values()))
        without = [identifier for position, identifier in enumerate(readable) if position not in labelled]
        repeated = [identifier for identifier, times in Counter(lines).items() if times > 1]
        counts = {key: count for key, count in found.counts.items() if key != "without_annotation"}
        own = {"pictures": len(labelled), "without_instances": len(without), "repeated_ids": len(lines) - len(ids)}
        account = Account(
            "listed ids",
            len(lines),
            {**counts, **own},
            ("broken", "without_instances", "repeated_ids"),
            {**found.named(ids), "without_instances": without, "repeated_ids": repeated},
        )
        files = [f"{readable[position]}.jpg" for position in labelled]
        index = Index(
            ids=[readable[position] for position in labelled],
            files=pa.array(files),
            labels=np.array([class_names.index(name) for name in labelled.values()], dtype=np.int64),
            class_names=class_names,
            boxes=Boxes.of(found.boxes[position] for position in labelled),
            sizes=found.sizes[list(labelled)],
            annotated=np.ones(len(labelled), dtype=bool),
            contents=file_contents([folder / "JPEGImages" / file for file in files]),
            account=account,
        )
        super().__init__(folder / "JPEGImages", index)
