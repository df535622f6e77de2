"""Pictures in ImageNet's layout: one folder a class, boxes beside them or in a table."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from filelock import FileLock

from dejavu_lightning.data.account import EXAMPLES, Account, is_utf8, printable
from dejavu_lightning.data.sources.file_contents import file_contents
from dejavu_lightning.data.sources.image_index import ImageFiles, Index
from dejavu_lightning.data.sources.scan_images import Broken, scan_images
from dejavu_lightning.data.sources.tables.box_table import BoxTable, check_ending

EXTENSIONS = (".jpeg", ".jpg", ".png", ".webp")
RENAME = "rename it, for ids are written as UTF-8"
LEFT_OUT = ("broken", "other_formats", "hidden", "outside_class_folders")
REBUILD = "delete the file to have it made anew, or name another"


class ImageFolder(ImageFiles):
    """Pictures in ImageNet's layout, a folder for each class, with boxes where there are any.

    Pictures are ``<root>/<class>/<name>.JPEG``, and a picture's id is ``<class>/<name>``. Boxes are Pascal VOC files
    ``<annotations>/<class>/<name>.xml``, or the rows of a table, of
    :class:`~dejavu_lightning.data.sources.tables.box_table.BoxTable`. Pictures without annotation are trained on or
    looked up, never attacked with background crops, and neither are those of which a box cannot be used. Files that are
    no pictures of these endings, hidden files and folders, and files beside the class folders are counted and left out.

    Attributes:
        counts: :data:`~dejavu_lightning.data.sources.scan_images.KEYS`, ``other_formats``, ``hidden``,
            ``outside_class_folders``, and ``annotations_unused``, which have no picture or do not end in .xml; of a
            table the names of pictures that are not there.
        account: files found are pictures used and those left out, by reason.

    Args:
        root: folder of class folders, which hold nothing but pictures themselves.
        annotations: folder of class folders with the boxes, or a .csv or .tsv file with columns ``file``, ``xmin``,
            ``ymin``, ``xmax`` and ``ymax``; None for pictures without.
        index: a parquet file that keeps what was found, so that the next start need not open every file. It
            is made where there is none. One that disagrees with the folders is refused: names of files are
            compared wherever a class folder was changed. A file edited in place goes unnoticed until its
            size is found to differ.
        verify: decode every picture when the index is made, which finds truncated ones.
        broken: what to do about pictures, or annotations, that cannot be read: "error" or "skip".

    Raises:
        FileNotFoundError: a folder is missing or holds no pictures.
        ValueError: two pictures would have one id, files cannot be read, or the index is another's.

    Example:
        >>> folder = ImageFolder("imagenet/train", annotations="imagenet/boxes")  # two classes of 12 pictures
        >>> len(folder), folder.class_names, folder.ids[0]
        (24, ['ants', 'bees'], 'ants/ants_00')
        >>> folder.boxes[0].tolist()  # x0, y0, x1, y1 in pixels
        [[3, 3, 19, 29]]
    """

    def __init__(
        self,
        root: str,
        annotations: str | None = None,
        index: str | None = None,
        verify: bool = False,
        broken: Broken = "error",
    ) -> None:
        if not Path(root).is_dir():
            raise FileNotFoundError(f"root={root!r} is not a folder; it must hold one folder for each class")
        if annotations is not None and not Path(annotations).is_dir():
            check_ending(annotations)
        layout = _Layout(root, annotations)
        rows = None if layout.table is None else layout.table.digest
        settings = {"annotations": layout.beside, "rows": rows, "verify": verify, "broken": broken}
        if index is None:
            made, _ = layout.build(verify, broken)
        else:
            Path(index).parent.mkdir(parents=True, exist_ok=True)
            # Of several processes one makes the index, the others wait for it.
            with FileLock(f"{index}.lock"):
                if Path(index).exists():
                    made, about = Index.load(Path(index))
                    for name, value in settings.items():
                        if about.get(name) != value:
                            raise ValueError(
                                f"index={index!r} was made with {name}={about.get(name)!r}, not {value!r}; {REBUILD}"
                            )
                    layout.compare(made, about, index)
                else:
                    made, about = layout.build(verify, broken)
                    made.save(Path(index), {**settings, **about})
        super().__init__(Path(root), made)


class _Layout:
    """The class folders below ``root`` and ``annotations``, as they are on disk."""

    def __init__(self, root: str, annotations: str | None) -> None:
        self.root, self.annotations = root, annotations
        # Data may be copied elsewhere as a whole, with an index made before.
        self.beside = annotations and os.path.relpath(annotations, root)
        with os.scandir(root) as entries:
            below = sorted((entry.name, entry.is_dir()) for entry in entries)
        self.class_names = [name for name, folder in below if folder and name[0] != "."]
        for name in self.class_names:
            if not is_utf8(name):
                raise ValueError(
                    f"root={root!r} holds a class folder whose name is not UTF-8: {printable(name)}; {RENAME}"
                )
        table = annotations is not None and Path(annotations).is_file()
        self.table = BoxTable(annotations, self.class_names) if annotations and table else None
        self.beside_classes = [name for name, folder in below if not folder and name[0] != "."]
        self.hidden = [name for name, _ in below if name[0] == "."]

    def build(self, verify: bool, broken: Broken) -> tuple[Index, dict[str, Any]]:
        """The index, and what :meth:`compare` needs to tell whether it still holds."""
        changed = {name: self.changed(name) for name in self.class_names}  # before listing: later changes show
        files: list[str] = []
        labels: list[int] = []
        annotated: list[bool] = []
        odd: dict[str, list[str]] = {
            "other_formats": [],
            "hidden": list(self.hidden),
            "outside_class_folders": self.beside_classes,
            "annotations_unused": [],
        }
        for label, name in enumerate(self.class_names):
            pictures, *others = self.listed(name)
            stems = self.annotated(name)
            for kind, found_here in zip(("other_formats", "hidden"), others, strict=True):
                odd[kind] += [f"{name}/{file}" for file in found_here]
            odd["annotations_unused"] += self.unused(name, {_stem(picture) for picture in pictures})
            files += [f"{name}/{picture}" for picture in pictures]
            labels += [label] * len(pictures)
            annotated += [_stem(picture) in stems for picture in pictures]
        if not files:
            raise FileNotFoundError(f"root={self.root!r} holds no pictures; expected <class>/<name>{list(EXTENSIONS)}")
        if self.annotations is not None and not any(annotated):
            raise FileNotFoundError(
                f"annotations={self.annotations!r} holds nothing about the {len(files)} pictures of "
                f"root={self.root!r}; expected {self._wanted(files[0])}"
            )
        boxes = self.table.of(files, odd["annotations_unused"]) if self.table is not None else {}
        root, beside = Path(self.root), Path(self.annotations or "")
        found = scan_images(
            len(files),
            lambda i: (root / files[i], (boxes.get(i) or beside / f"{_stem(files[i])}.xml") if annotated[i] else None),
            verify,
            broken,
        )
        if not found.kept.any():
            raise ValueError(f"root={self.root!r}: all {len(files)} pictures are broken")
        kept = np.flatnonzero(found.kept).tolist()
        account = Account(
            "files",
            len(files) + sum(len(odd[kind]) for kind in LEFT_OUT if kind in odd),
            {**found.counts, **{kind: len(some) for kind, some in odd.items()}},
            LEFT_OUT,
            {
                **found.named(files),
                **{kind: [printable(name) for name in some[:EXAMPLES]] for kind, some in odd.items()},
            },
        )
        made = Index(
            ids=[_stem(files[position]) for position in kept],
            files=pa.array([files[position] for position in kept], pa.string()),
            labels=np.array(labels, dtype=np.int64)[found.kept],
            class_names=self.class_names,
            boxes=found.boxes,
            sizes=found.sizes,
            annotated=np.array(annotated)[found.kept],
            contents=file_contents([root / files[position] for position in kept]),
            account=account,
        )
        skipped = [files[position] for position in np.flatnonzero(~found.kept).tolist()]
        return made, {"changed": changed, "skipped": skipped}

    def compare(self, made: Index, about: Mapping[str, Any], path: str) -> None:
        """Raise ValueError where an index is not about these folders."""
        _compare(path, f"root={self.root!r}", "class folder", self.class_names, made.class_names)
        for label, name in enumerate(self.class_names):
            if self.changed(name) == about.get("changed", {}).get(name):
                continue
            start, stop = np.searchsorted(made.labels, [label, label + 1]).tolist()
            files = [file.rpartition("/")[2] for file in made.files[start:stop].to_pylist()]
            skipped = [file.rpartition("/")[2] for file in about.get("skipped", ()) if file.startswith(f"{name}/")]
            where = f"class folder {name!r} of root={self.root!r}"
            _compare(path, where, "picture", self.pictures(name), files + skipped)
            stems = {_stem(file) for file in files}
            before = {_stem(file) for file, known in zip(files, made.annotated[start:stop], strict=True) if known}
            where = f"class folder {name!r} of annotations={self.annotations!r}"
            _compare(path, where, "annotation of", self.annotated(name) & stems, before)

    def changed(self, name: str) -> list[int]:
        """When files were last added to a class's folders or taken away, in nanoseconds."""
        folders = [Path(root) / name for root in (self.root, self.annotations) if root is not None]
        return [folder.stat().st_mtime_ns if folder.is_dir() else 0 for folder in folders]

    def pictures(self, name: str) -> list[str]:
        """File names of a class's pictures, sorted."""
        return self.listed(name).pictures

    def listed(self, name: str) -> _Listed:
        """File names in a class's folder, sorted."""
        with os.scandir(Path(self.root) / name) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries)
        where = f"class folder {name!r} of root={self.root!r}"
        visible = [file for file, _ in found if file[0] != "."]
        folders = [file for file, folder in found if folder and file[0] != "."]
        if folders:
            raise ValueError(
                f"{where} holds a folder {folders[0]!r}; pictures must lie directly in the folder of their class"
            )
        files = [file for file in visible if os.path.splitext(file)[1].lower() in EXTENSIONS]
        first: dict[str, str] = {}
        for file in files:
            if not is_utf8(file):
                raise ValueError(f"{where} holds a picture whose name is not UTF-8: {printable(file)}; {RENAME}")
            other = first.setdefault(_stem(file), file)
            if other != file:
                raise ValueError(
                    f"{where} holds {other!r} and {file!r}, which would share the id {f'{name}/{_stem(file)}'!r}; "
                    "rename or remove one"
                )
        others = [file for file in visible if os.path.splitext(file)[1].lower() not in EXTENSIONS]
        if not files:
            held = f"; it holds {len(others)} others, such as {printable(others[0])}" if others else ""
            raise FileNotFoundError(
                f"{where} holds no pictures, that is <name>{list(EXTENSIONS)}{held}; convert or remove them, or hide "
                "the folder with a leading dot"
            )
        return _Listed(files, others, [file for file, _ in found if file[0] == "."])

    def annotated(self, name: str) -> set[str]:
        """Names, without ending, of a class's annotations."""
        if self.table is not None:
            return self.table.annotated(name)
        folder = Path(self.annotations or "") / name
        if self.annotations is None or not folder.is_dir():
            return set()
        return {_stem(file) for file in os.listdir(folder) if file.endswith(".xml")}

    def _wanted(self, file: str) -> str:
        return f"{_stem(file)}.xml for {file}" if self.table is None else f"rows of files such as {file}"

    def unused(self, name: str, stems: Collection[str]) -> list[str]:
        """Files beside a class's annotations that are none of its pictures'."""
        folder = Path(self.annotations or "") / name
        if self.annotations is None or not folder.is_dir():
            return []
        files = sorted(file for file in os.listdir(folder) if file[0] != ".")
        return [f"{name}/{file}" for file in files if not (file.endswith(".xml") and _stem(file) in stems)]


class _Listed(NamedTuple):
    pictures: list[str]
    others: list[str]
    hidden: list[str]


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def _compare(path: str, where: str, what: str, now: Collection[str], before: Collection[str]) -> None:
    for change, names in (("a new", set(now) - set(before)), ("lost the", set(before) - set(now))):
        if names:
            raise ValueError(
                f"index={path!r} is not about {where}: there is {change} {what} {min(names)!r}, "
                f"one of {len(names)}; {REBUILD}"
            )
