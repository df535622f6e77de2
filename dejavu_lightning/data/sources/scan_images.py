"""What picture files and the Pascal VOC annotations beside them turn out to be, without decoding any."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.core.progress.long_work import long_work
from dejavu_lightning.core.progress.progress_display import patient_bar
from dejavu_lightning.data.decode import Header, decode, orient_boxes, read_header
from dejavu_lightning.data.sources.image_index import Boxes, IntArray, clip_boxes

Broken = Literal["error", "skip"]
ASPECT_TOLERANCE = 1.02
THREADS = 16  # more than cores: with cold files most of the time is spent waiting for them
CHUNK = 256
EXAMPLES = 3
MODES = {"grayscale": ("1", "L", "LA", "I", "I;16"), "cmyk": ("CMYK",), "palette": ("P", "PA")}
BEYOND = 1e9  # pixels, more than any picture has
LARGEST = 1 << 24  # bytes of an annotation, which has some hundred a box
NO_BOXES = np.zeros((0, 4), dtype=np.int64)
KEYS = (
    "pictures",
    "annotated",
    "without_annotation",
    "several_objects",
    "boxes_clipped",
    "boxes_dropped",
    "corners_exchanged",
    "not_attacked",
    "size_missing",
    "size_disagrees_rescaled",
    "size_disagrees_dropped",
    "oriented",
    *MODES,
    "broken",
)
USUAL = ("pictures", "annotated", "without_annotation", "several_objects", "broken")
ODD = tuple(key for key in KEYS if key not in USUAL)


class Annotation(NamedTuple):
    """One annotation file.

    Attributes:
        names: (n,) the objects' classes.
        boxes: (n, 4) int64 pixels as x0, y0, x1, y1 with exclusive ends.
        size: width and height of the picture, None where the file does not say.
        exchanged: how many boxes were given with a first corner right of, or below, the last one.
    """

    names: list[str]
    boxes: IntArray
    size: tuple[int, int] | None
    exchanged: int = 0


Locate = Callable[[int], tuple[Path, Path | Annotation | None]]


def read_voc(path: str | Path) -> Annotation:
    """Read one annotation.

    VOC counts pixels from 1 and includes the last one; ImageNet's files also write 0, which is taken for the
    border. Fractions of a pixel are rounded outward, exchanged corners put in order. Sizes of 0 stand for unknown ones.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not XML of this kind, or an object lacks its name or a corner; the message names the file, the
            object and the field.
    """
    try:
        root = _xml(Path(path))
        things = root.findall("object")
        names = [_text(thing, "name", number) for number, thing in enumerate(things, 1)]
        given = [
            [_number(thing, f"bndbox/{key}", number) for key in ("xmin", "ymin", "xmax", "ymax")]
            for number, thing in enumerate(things, 1)
        ]
        width, height = (_side(root, key) for key in ("width", "height"))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{path}: not a Pascal VOC annotation with names and whole boxes ({error})") from error
    boxes = [
        [max(math.floor(min(x)) - 1, 0), max(math.floor(min(y)) - 1, 0), math.ceil(max(x)), math.ceil(max(y))]
        for x, y in ((corners[::2], corners[1::2]) for corners in given)
    ]
    exchanged = sum(x0 > x1 or y0 > y1 for x0, y0, x1, y1 in given)
    size = (width, height) if width > 0 and height > 0 else None
    return Annotation(names, np.array(boxes, dtype=np.int64).reshape(-1, 4), size, exchanged)


def fit_boxes(annotation: Annotation, header: Header) -> tuple[IntArray, NDArray[np.bool_], Counter[str]]:
    """An annotation's boxes in the pixels of the upright picture.

    Boxes are about the stored pixels and turn with them, unless the annotation gives the size that only the
    upright picture has. Where its size is neither, they are rescaled if width / height is the same within
    2 %, and all dropped otherwise. Without a size they are taken for stored pixels.

    Returns:
        (m, 4), (n,) and counts, as :func:`~dejavu_lightning.data.sources.image_index.clip_boxes` does.
    """
    counts = Counter(corners_exchanged=annotation.exchanged)
    stored, boxes = (header.width, header.height), annotation.boxes.astype(np.float64)
    size = annotation.size or stored
    if annotation.size is None:
        counts["size_missing"] += 1
    if size not in (stored, header.upright):
        alike = [frame for frame in (stored, header.upright) if _same_shape(size, frame)]
        if not alike:
            counts["size_disagrees_dropped"] += 1
            return NO_BOXES, np.zeros(len(boxes), dtype=bool), counts
        counts["size_disagrees_rescaled"] += 1
        boxes = boxes * np.array(alike[0] * 2) / np.array(size * 2)
        size = alike[0]
    if size == stored:
        boxes = orient_boxes(boxes, *stored, header.orientation)
    fitted, kept, clipped = clip_boxes(boxes, header.upright)
    return fitted, kept, counts + clipped


@dataclass(frozen=True)
class ImageScan:
    """What files turned out to be.

    Attributes:
        kept: (N,) which of them can be read; what follows has a row for each of these.
        sizes: (K, 2) int64, upright width and height.
        boxes: for each picture (n, 4); n is 0 where one of its boxes cannot be used, for its object may lie anywhere.
        names: (K,) the class of the largest box, the first name of equally large ones; None without a box.
        counts: how many pictures, or boxes, of each of :data:`KEYS`.
        examples: the first of the N positions of each kind that is odd.
        reasons: why the first pictures cannot be read.
    """

    kept: NDArray[np.bool_]
    sizes: IntArray
    boxes: Boxes
    names: Sequence[str | None]
    counts: Mapping[str, int]
    examples: Mapping[str, Sequence[int]]
    reasons: Sequence[str]

    def named(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Examples of each kind that is odd: the pictures' names, (N,), or why they cannot be read."""
        told = {kind: [names[position] for position in some] for kind, some in self.examples.items()}
        return {**told, "broken": list(self.reasons)}


def scan_images(total: int, locate: Locate, verify: bool = False, broken: Broken = "error") -> ImageScan:
    """Read the headers and annotations of many pictures.

    Args:
        total: how many pictures.
        locate: for each position, where the picture and its annotation lie, or the annotation itself.
        verify: decode every picture too, which finds truncated ones.
        broken: what to do about files that cannot be read: "error" or "skip".

    Raises:
        ValueError: some cannot be read and ``broken`` is "error"; the message names the first of them.
    """
    if broken not in ("error", "skip"):
        raise ValueError(f"broken must be 'error' or 'skip', got {broken!r}")
    chunks = [range(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
    kept = np.ones(total, dtype=bool)
    sizes, corners, offsets = [NO_BOXES[:, :2]], [NO_BOXES], [0]
    names: list[str | None] = []
    counts: Counter[str] = Counter()
    examples: dict[str, list[int]] = {kind: [] for kind in ODD}
    reasons: list[str] = []
    with (
        ThreadPoolExecutor(THREADS) as threads,
        long_work("scanning pictures", total, "picture", unasked=patient_bar) as advance,
    ):
        for found in threads.map(lambda chunk: _read(chunk, locate, verify), chunks):
            sizes.append(np.array(found.sizes, dtype=np.int64).reshape(-1, 2))
            corners.append(np.concatenate([NO_BOXES, *found.boxes]))
            offsets += (offsets[-1] + np.cumsum([len(boxes) for boxes in found.boxes], dtype=np.int64)).tolist()
            names += found.names
            counts += found.counts
            for kind, some in found.examples.items():
                examples[kind] += some[: EXAMPLES - len(examples[kind])]
            kept[list(found.failures)] = False
            reasons += found.failures.values()
            advance(len(found.sizes) + len(found.failures))
    if reasons and broken == "error":
        raise ValueError(
            f"{len(reasons)} of {total} pictures cannot be read: {'; '.join(reasons[:EXAMPLES])}"
            f"{'; ...' if len(reasons) > EXAMPLES else ''}. Repair them, or leave them out: "
            "broken='skip', on the command line --data.source.broken skip"
        )
    boxes = Boxes(np.concatenate(corners), np.array(offsets))
    objects = np.diff(boxes.offsets)
    counts.update(
        pictures=len(objects),
        annotated=int((objects > 0).sum()),
        without_annotation=int((objects == 0).sum()),
        several_objects=int((objects > 1).sum()),
        broken=len(reasons),
    )
    told = {key: counts[key] for key in KEYS}
    return ImageScan(kept, np.concatenate(sizes), boxes, names, told, examples, reasons[:EXAMPLES])


class _Found(NamedTuple):
    sizes: list[tuple[int, int]]
    boxes: list[IntArray]
    names: list[str | None]
    counts: Counter[str]
    examples: dict[str, list[int]]
    failures: dict[int, str]


def _read(chunk: range, locate: Locate, verify: bool) -> _Found:
    found = _Found([], [], [], Counter(), {}, {})
    for index in chunk:
        path, beside = locate(index)
        try:
            header = read_header(path)
            if verify:
                decode(path)
            annotation = read_voc(beside) if isinstance(beside, Path) else beside
        except (OSError, ValueError) as error:
            found.failures[index] = str(error)
            continue
        boxes, name = NO_BOXES, None
        odd = Counter({key: int(header.mode in modes) for key, modes in MODES.items()})
        odd["oriented"] = int(header.orientation != 1)
        if annotation and annotation.names:
            boxes, kept, counts = fit_boxes(annotation, header)
            odd.update(counts)
            odd["size_missing"] *= isinstance(beside, Path)  # tables seldom say
            names = [name for name, keep in zip(annotation.names, kept, strict=True) if keep]
            areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).tolist()
            name = min(zip([-area for area in areas], names, strict=True), default=(0, None))[1]
            if counts["boxes_dropped"]:
                boxes = NO_BOXES
                odd["not_attacked"] += 1
        found.sizes.append(header.upright)
        found.boxes.append(boxes)
        found.names.append(name)
        found.counts.update(odd)
        for kind, count in odd.items():
            if count:
                found.examples.setdefault(kind, []).append(index)
    return found


def _same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    ratio = size[0] * other[1] / (size[1] * other[0])
    return max(ratio, 1 / ratio) <= ASPECT_TOLERANCE


def _xml(path: Path) -> ElementTree.Element:
    """The root of an annotation, which declares no entities: these can grow to gigabytes, or stand for other files."""
    content = path.read_bytes()
    if len(content) > LARGEST:
        raise ValueError(f"it has {len(content):,} bytes, an annotation at most {LARGEST:,}")
    if b"<!ENTITY" in content.replace(b"\0", b""):  # without zeros: UTF-16 has them between letters
        raise ValueError("it declares entities, which annotations have no use for")
    root = ElementTree.fromstring(content)
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag[:50]}>, not <annotation>")
    return root


def _text(element: ElementTree.Element, path: str, number: int) -> str:
    text = element.findtext(path)
    if not text or not text.strip():
        raise ValueError(f"object {number} has no {path}")
    return text.strip()


def _number(element: ElementTree.Element, path: str, number: int) -> float:
    text = _text(element, path, number)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < BEYOND:
        raise ValueError(f"object {number} has {path} {text[:50]!r}, expected a number of pixels")
    return value


def _side(root: ElementTree.Element, key: str) -> int:
    text = root.findtext(f"size/{key}")
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError):
        raise ValueError(f"size/{key} is {str(text)[:50]!r}, expected a number of pixels") from None
