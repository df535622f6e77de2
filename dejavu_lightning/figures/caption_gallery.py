"""The captions that bring most of their training image back, and what both models retrieve by them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from numpy.typing import NDArray

from dejavu_lightning.figures import style
from dejavu_lightning.figures.gallery import RIGHT, WRONG, canvas, frame, place

LINE = 0.105  # inches of one line of small print
LINES = 6


@dataclass(frozen=True)
class Picture:
    """A picture (H, W, 3) uint8 and the names of its objects."""

    image: NDArray[Any]
    objects: Sequence[str]


@dataclass(frozen=True)
class CaptionRow:
    """One record: its caption, its training image, and the nearest public images of both models, nearest first.

    ``scored`` are the objects that count as correct: where those that the caption names are left out of the test,
    they are left out here too.
    """

    identifier: str
    caption: str
    record: Picture
    scored: Sequence[str]
    target: Sequence[Picture]
    reference: Sequence[Picture]


def draw_caption_gallery(rows: Sequence[CaptionRow], path: str | Path, title: str) -> Path:
    """One line a record: caption, training image, what each model retrieves.

    Correct objects are green, and so is the frame of an image that shows one; others are gray.
    """
    neighbors = max(len(row.target) for row in rows)
    sides = 2 if any(row.reference for row in rows) else 1
    shown = [picture for row in rows for picture in (row.record, *row.target, *row.reference)]
    tall = 1.1 + LINE * min(LINES, max(len(picture.objects) for picture in shown))
    columns = {0.0: "caption", 1.9: "training image"}
    figure, axes, starts = canvas(title, columns, 3.3, neighbors, sides, tall * len(rows))
    for line, row in enumerate(rows):
        top = 0.75 + tall * line
        wrapped = textwrap.shorten(row.caption, 150, placeholder=" ...")
        axes.text(0, top, textwrap.fill(wrapped, 26), fontsize=7.5, color=style.INK, va="top")
        axes.text(0, top + 0.92, row.identifier[-34:], fontsize=5.5, color="#888888")
        place(axes, row.record.image, 1.9, top)
        _names(axes, row.record.objects, row.scored, 1.9, top)
        for start, found in zip(starts, (row.target, row.reference), strict=False):
            for column, picture in enumerate(found):
                left = start + column
                scale = place(axes, picture.image, left, top)
                down, across = picture.image.shape[:2]
                right = set(picture.objects) & set(row.scored)
                frame(axes, left, top, scale, (0, 0, across, down), RIGHT if right else WRONG, "-", 2)
                _names(axes, picture.objects, row.scored, left, top)
    return style.save(figure, path)


def _names(axes: Axes, objects: Sequence[str], truth: Sequence[str], left: float, top: float) -> None:
    ordered = sorted(objects, key=lambda name: (name not in truth, name))
    cut = ordered[:LINES] if len(ordered) <= LINES else [*ordered[: LINES - 1], f"and {len(ordered) - LINES + 1} more"]
    for line, name in enumerate(cut):
        color = RIGHT if name in truth else "#888888"
        axes.text(left, top + 1.04 + LINE * line, name[:20], fontsize=6, color=color)
