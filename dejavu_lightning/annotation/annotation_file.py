"""Write the objects of pictures as JSON Lines, a batch at a time, so that a killed run can go on."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from dejavu_lightning.annotation.crop_batches import CropBatches
from dejavu_lightning.annotation.detection import Detection, Detector
from dejavu_lightning.annotation.picture_batches import (
    AnnotationPicture,
    FolderBatches,
    PictureBatch,
    ShardBatches,
    UnreadableShard,
)
from dejavu_lightning.core.progress.long_work import long_work
from dejavu_lightning.core.progress.progress_display import patient_bar
from dejavu_lightning.core.whole_file import write_json

ENOUGH = 1000  # pictures, before which a share of unusable ones says little
DIGITS = 2  # of pixels; finer ones vary with the batch
SCORE_DIGITS = 4


@dataclass
class AnnotationProgress:
    """What an annotation has done so far.

    Attributes:
        pictures: how many were met.
        written: of these, written by this run.
        resumed: found in the file.
        unusable: neither.
        objects: how many objects were written.

    Example:
        >>> AnnotationProgress(pictures=3, written=2, unusable=1, objects=5).resumed
        0
    """

    pictures: int = 0
    written: int = 0
    resumed: int = 0
    unusable: int = 0
    objects: int = 0


class AnnotationFile:
    """The JSON Lines file of annotations, and ``<output>.json`` with the settings that it is written by.

    Args:
        output: JSON Lines, new or written by the same settings before.
        settings: what decides the objects, as JSON.

    Attributes:
        done: ids that the file has.

    Raises:
        ValueError: the file was written by other settings, or by nothing like this, or another run writes it.

    Example:
        >>> with AnnotationFile("objects.jsonl", {"detector": "example", "threshold": 0.3}) as annotations:
        ...     print(sorted(annotations.done))
        []
        >>> AnnotationFile("objects.jsonl", {"detector": "example", "threshold": 0.5})
        Traceback (most recent call last):
        ValueError: output='objects.jsonl' was written with threshold 0.3 instead of 0.5; name another...
    """

    def __init__(self, output: str, settings: Mapping[str, Any]) -> None:
        self.path, self.beside = Path(output), Path(f"{output}.json")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(f"{output}.lock")
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"output={output!r} is being written by another run") from None
        try:
            self._compare(settings)
            self.done = self._read()
        except (OSError, ValueError):
            self.lock.release()
            raise
        self.file = self.path.open("ab")

    def _compare(self, settings: Mapping[str, Any]) -> None:
        if not self.path.exists():
            write_json(self.beside, settings)
            self.path.touch()
            return
        if not self.beside.exists():
            raise ValueError(f"output={str(self.path)!r} exists, and {self.beside} does not say how it was made")
        try:
            before = json.loads(self.beside.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.beside} is not JSON ({error}); delete it and the file beside it") from error
        if not isinstance(before, dict):
            raise ValueError(f"{self.beside} must hold an object with settings; delete it and the file beside it")
        other = [
            f"{name} {before.get(name)!r} instead of {settings.get(name)!r}"
            for name in sorted(before.keys() | settings.keys())
            if before.get(name) != settings.get(name)
        ]
        if other:
            raise ValueError(
                f"output={str(self.path)!r} was written with {'; '.join(other)}; name another file, or delete it"
            )

    def _read(self) -> set[str]:
        """Read the ids of the whole lines and cut off what follows the last of them."""
        found: set[str] = set()
        whole = 0
        with self.path.open("r+b") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    identifier = json.loads(line)["id"]
                except (ValueError, KeyError, TypeError, RecursionError):
                    identifier = None
                if not isinstance(identifier, str):
                    raise ValueError(f"{self.path}, line {number}: not JSON with an id")
                if identifier in found:
                    raise ValueError(f"{self.path}, line {number}: the id {identifier!r} was there before")
                found.add(identifier)
                whole += len(line)
            file.truncate(whole)
        return found

    def add(self, lines: list[str]) -> None:
        """Append whole lines, so that they survive whatever happens next."""
        self.file.write("".join(lines).encode())
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.lock.release()


def annotate_pictures(
    batches: FolderBatches | ShardBatches | CropBatches,
    detector: Detector,
    annotations: AnnotationFile,
    *,
    num_workers: int = 0,
    max_unusable: float = 0.1,
) -> AnnotationProgress:
    """Write the objects of all pictures that the file lacks.

    Batches are formed over all pictures, whether or not the file has them, so what a picture shares its
    batch with, and thus the last digits, does not depend on where a run was stopped. Lines are in the order of
    the batches, which with shards depends on ``num_workers``.

    Args:
        batches: the pictures.
        detector: finds their objects.
        annotations: where these are written.
        num_workers: processes that read and decode.
        max_unusable: share of the pictures, in [0, 1], that may be unusable before this raises.

    Raises:
        ValueError: two pictures have one id, a shard cannot be read, too many pictures are unusable, or the
            file has ids that no picture has.

    Example:
        >>> from dejavu_lightning.annotation import Detection, FolderBatches
        >>> def detector(images):  # finds one ant in each picture
        ...     return [[Detection("ant", (0.0, 0.0, 10.0, 10.0), score=0.9)] for _ in images]
        >>> with AnnotationFile("ants.jsonl", {"detector": "example"}) as annotations:
        ...     progress = annotate_pictures(FolderBatches("imagenet/train", batch_size=8), detector, annotations)
        >>> progress.written, progress.objects
        (24, 24)
    """
    if not 0 <= max_unusable <= 1:
        raise ValueError(f"max_unusable must lie in [0, 1], got {max_unusable}")
    for line in batches.account.lines() if isinstance(batches, FolderBatches) else ():
        tqdm.write(line, file=sys.stderr)
    progress = AnnotationProgress()
    origins: dict[str, str] = {}
    loader = DataLoader[PictureBatch](batches, batch_size=None, num_workers=num_workers, collate_fn=_as_it_is)
    with long_work("annotating", batches.total, "picture", unasked=patient_bar) as advance:
        for batch in loader:
            if isinstance(batch, UnreadableShard):
                raise ValueError(f"shard {batch.url} cannot be read to its end: {batch.reason}")
            for picture in batch:
                other = origins.setdefault(picture.id, picture.origin)
                if other is not picture.origin:
                    raise ValueError(f"two pictures have the id {picture.id!r}: {other} and {picture.origin}")
            _write(batch, detector, annotations, progress)
            advance(len(batch))
            if progress.unusable > max_unusable * max(progress.pictures, ENOUGH):
                break
    if not progress.pictures:
        raise ValueError("there are no pictures")
    if progress.unusable > max_unusable * progress.pictures:
        raise ValueError(
            f"{progress.unusable} of {progress.pictures} pictures are unusable, more than "
            f"max_unusable={max_unusable} allows; they are named above"
        )
    strange = sorted(annotations.done - origins.keys())
    if strange:
        raise ValueError(
            f"{annotations.path} has {len(strange)} ids that no picture has, such as {', '.join(strange[:3])}"
        )
    return progress


def _write(
    batch: list[AnnotationPicture], detector: Detector, annotations: AnnotationFile, progress: AnnotationProgress
) -> None:
    images: list[Tensor] = [picture.image for picture in batch if picture.image is not None]
    found = iter(detector(images) if images else [])
    lines = []
    for picture in batch:
        progress.pictures += 1
        objects = [] if picture.image is None else _tidy(next(found), picture)
        if picture.id in annotations.done:
            progress.resumed += 1
        elif picture.problem is not None:
            progress.unusable += 1
            tqdm.write(f"unusable: {picture.problem}", file=sys.stderr)
        else:
            progress.written += 1
            progress.objects += len(objects)
            lines.append(json.dumps({"id": picture.id, "objects": objects}) + "\n")
    annotations.add(lines)


def _tidy(detections: list[Detection], picture: AnnotationPicture) -> list[dict[str, Any]]:
    """Turn detections into JSON: clipped to the picture, without those that have no area, the surest first."""
    assert picture.image is not None
    height, width = picture.image.shape[1:]
    kept = []
    for label, box, score in detections:
        if not all(map(math.isfinite, (*box, score))):
            raise ValueError(f"the detector gave {picture.origin} the box {box} with score {score}")
        x0, x1 = (round(min(max(x, 0.0), float(width)), DIGITS) for x in box[::2])
        y0, y1 = (round(min(max(y, 0.0), float(height)), DIGITS) for y in box[1::2])
        if x0 < x1 and y0 < y1:
            kept.append((-round(score, SCORE_DIGITS), label, [x0, y0, x1, y1]))
    return [{"label": label, "box": box, "score": -score} for score, label, box in sorted(kept)]


def _as_it_is(batch: PictureBatch) -> PictureBatch:
    return batch
