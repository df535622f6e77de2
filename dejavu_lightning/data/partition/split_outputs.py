"""Write splits as training code reads them: class folders of links, tables of files and captions, lists of ids."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from dejavu_lightning.core.split_record import SPLITS_FILE
from dejavu_lightning.data.partition.splits import SPLITS, SplitManifest

Form = Literal["folders", "tables", "ids"]
COLUMNS = ("filepath", "title")  # what open_clip's training looks for, with tabs between
TRAINED = ("A", "B")


def write_splits(
    output: str | Path, manifest: SplitManifest, source: Any, form: Form | None = None, copy: bool = False
) -> list[str]:
    """Write a new folder with ``splits.parquet``, the manifest, and for each split what training code reads.

    ``A`` and ``B`` hold the shared split too, which models of both train on; it has nothing of its own.

    Args:
        output: the folder; it appears whole or not at all.
        manifest: who is in which split.
        source: the pictures.
        form: "folders": ``<split>/<class>/<name>.jpg``, links to the files, relative where both lie in one folder other
            than the root, so that they can be moved together; "tables": ``<split>.tsv`` with the columns ``filepath``
            and ``title``; "ids": ``<split>.txt``. By default folders of labelled files, tables of captioned ones, else
            ids.
        copy: copy the files instead of linking them.

    Returns:
        A line for each split, with its counts, and for what is in none.

    Raises:
        FileExistsError, OSError, ValueError: the folder exists, links cannot be made, the source has no such form, or
            two ids would be one file name.
    """
    home = Path(output)
    if home.exists():
        raise FileExistsError(f"output={str(home)!r} exists; name a new folder, or remove that one")
    chosen = form or _default(source)
    _check(source, chosen, copy)
    partial = home.parent / f".{home.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a writing that was killed
    partial.mkdir(parents=True)
    positions = manifest.positions(source.ids)
    told, held = [], 0
    try:
        for split in SPLITS:
            shared = positions["shared"] if split in TRAINED else []
            members = sorted(positions[split] + shared)
            held += len(positions[split])
            if split == "shared" or not members:
                continue
            beside = f", {len(shared)} of them shared by A and B" if shared else ""
            where = _written(partial, home, split, members, source, chosen, copy)
            told.append(f"{split}: {len(members)} pictures{beside}{where}")
        manifest.save(partial / SPLITS_FILE)
        os.replace(partial, home)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if left := len(source) - held:
        told.append(f"{left} of {len(source)} pictures are in no split")
    return told


def _default(source: Any) -> Form:
    if not hasattr(source, "path"):
        return "ids"
    return "tables" if hasattr(source, "captions") else "folders"


def _check(source: Any, form: Form, copy: bool) -> None:
    kind = type(source).__name__
    if form != "ids" and not hasattr(source, "path"):
        raise ValueError(f"form={form!r} is of pictures in files, and {kind} has none; choose ids")
    if form == "tables" and not hasattr(source, "captions"):
        raise ValueError(f"form={form!r} is of captioned pictures, and {kind} has no captions; choose folders or ids")
    if form == "folders" and not hasattr(source, "class_names"):
        raise ValueError(f"form={form!r} is of labelled pictures, and {kind} has no classes; choose tables or ids")
    if copy and form != "folders":
        raise ValueError(f"copy is of form='folders', got form={form!r}")


def _written(partial: Path, home: Path, split: str, members: Sequence[int], source: Any, form: Form, copy: bool) -> str:
    """Write one split; returns what else is to be told of it."""
    if form == "ids":
        (partial / f"{split}.txt").write_text("".join(f"{source.ids[index]}\n" for index in members), encoding="utf-8")
        return ""
    if form == "tables":
        with (partial / f"{split}.tsv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, delimiter="\t", lineterminator="\n")
            table.writerow(COLUMNS)
            table.writerows((os.path.abspath(source.path(index)), source.captions[index]) for index in members)
        return ""
    labels = source.labels[list(members)].tolist()
    placed: dict[Path, str] = {}
    for index, label in zip(members, labels, strict=True):
        name = str(source.class_names[label]).replace("/", "_")
        file = source.path(index)
        stem = source.ids[index].removeprefix(f"{name}/").replace("/", "_")
        place = Path(split, name, f"{stem}{file.suffix}")
        if place in placed:
            raise ValueError(
                f"the ids {placed[place]!r} and {source.ids[index]!r} would both be {place}, since / becomes _; "
                "rename one of the pictures, or choose form='ids'"
            )
        placed[place] = source.ids[index]
        (partial / place).parent.mkdir(parents=True, exist_ok=True)
        _put(file, partial / place, home / place, copy)
    classes, lacking = len(set(labels)), len(source.class_names) - len(set(labels))
    warned = (
        f"; {lacking} classes have none, so that class numbers differ from those of other splits" if lacking else ""
    )
    return f" in {classes} folders{warned}"


def _put(file: Path, where: Path, final: Path, copy: bool) -> None:
    """Copy or link a file to ``where``, which will be moved to ``final``."""
    if copy:
        shutil.copy2(file, where)
        return
    target, folder = os.path.realpath(file), os.path.realpath(final.parent)
    together = os.path.commonpath([target, folder]) != os.path.abspath(os.sep)
    try:
        where.symlink_to(os.path.relpath(target, folder) if together else target)
    except OSError as error:
        raise OSError(
            f"links cannot be made in {final.parent} ({error.strerror}); set copy to true to copy the files"
        ) from error
