"""The most memorized records: what they show, what the test saw, and the nearest public samples of both models."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dejavu_lightning.core.samples import DisplaySample
from dejavu_lightning.figures import style
from dejavu_lightning.memorization.display import GalleryRow

RIGHT, WRONG, FAINT = "#009E73", "#BBBBBB", "#888888"
CELL, TOP = 0.92, 0.75  # inches: side of a picture, and where the first line begins
LINE = 0.105  # inches of one line of small print
LINES = 6


def draw_gallery(
    rows: Sequence[GalleryRow], path: str | Path, title: str, beside: str = "nearest public images"
) -> Path:
    """Draw one line a record: caption, picture with its boxes, the crop the test saw, both models' neighbours.

    What counts as right is green, and so is the frame of a neighbour that shows it. Captions, crops and neighbours have
    columns only where records have them. ``beside`` is what headings call the neighbours.
    """
    captioned = any(row.record.caption for row in rows)
    cropped = any(row.record.crop is not None for row in rows)
    picture = 1.9 if captioned else 0.0
    columns = {0.0: "caption", picture: "training image"} if captioned else {0.0: "record"}
    if cropped:
        columns[picture + 1.1] = "what the test saw"
    neighbors = max(len(row.target) for row in rows)
    sides = (2 if any(row.reference for row in rows) else 1) if neighbors else 0
    first = picture + (2.4 if cropped else 1.4)
    shown = [sample for row in rows for sample in (row.record, *row.target, *row.reference)]
    tall = 1.1 + LINE * (1 + min(LINES, max(len(sample.objects) for sample in shown)))
    figure, axes, starts = _canvas(title, columns, first, neighbors, sides, tall * len(rows), beside)
    for line, row in enumerate(rows):
        top = TOP + tall * line
        if captioned:
            wrapped = textwrap.shorten(row.record.caption, 150, placeholder=" ...")
            axes.text(0, top, textwrap.fill(wrapped, 26), fontsize=7.5, color=style.INK, va="top")
        _record(axes, row, picture, top)
        for start, found in zip(starts, (row.target, row.reference), strict=False):
            for column, sample in enumerate(found):
                _neighbor(axes, sample, row.correct, start + column, top)
    return style.save(figure, path)


def seen(record: DisplaySample) -> NDArray[Any] | None:
    """The crop of a record that the test saw, (h, w, 3) uint8; None where it saw all of it."""
    if record.crop is None:
        return None
    x0, y0, x1, y1 = (round(float(edge)) for edge in record.crop)
    return record.image[y0:y1, x0:x1]


def _record(axes: Axes, row: GalleryRow, left: float, top: float) -> None:
    scale = _place(axes, row.record.image, left, top)
    for box in row.record.boxes if row.record.boxes is not None else ():
        _frame(axes, left, top, scale, box, "#D55E00", "-")
    crop = seen(row.record)
    if row.record.crop is not None and crop is not None:
        _frame(axes, left, top, scale, row.record.crop, "white", ":")
        _place(axes, crop, left + 1.1, top)
    lines = _names(axes, row.record.objects, row.correct, left, top)
    told = " · ".join(text for text in (row.identifier[-34:], row.note) if text)
    axes.text(left, top + CELL + 0.11 + LINE * lines, told, fontsize=5.5, color=FAINT)


def _neighbor(axes: Axes, sample: DisplaySample, correct: frozenset[str], left: float, top: float) -> None:
    scale = _place(axes, sample.image, left, top)
    down, across = sample.image.shape[:2]
    color = RIGHT if set(sample.objects) & correct else WRONG
    _frame(axes, left, top, scale, (0, 0, across, down), color, "-", 2)
    _names(axes, sample.objects, correct, left, top)


def _names(axes: Axes, objects: Sequence[str], correct: frozenset[str], left: float, top: float) -> int:
    """Write names below a picture, the right ones first; returns how many lines that took."""
    ordered = sorted(objects, key=lambda name: (name not in correct, name))
    cut = ordered[:LINES] if len(ordered) <= LINES else [*ordered[: LINES - 1], f"and {len(ordered) - LINES + 1} more"]
    for line, name in enumerate(cut):
        color = RIGHT if name in correct else FAINT
        axes.text(left, top + CELL + 0.11 + LINE * line, name[:20], fontsize=6, color=color)
    return len(cut)


def _canvas(
    title: str, columns: Mapping[float, str], first: float, neighbors: int, sides: int, rows: float, beside: str
) -> tuple[Figure, Axes, list[float]]:
    """A figure with title and headings, its axes in inches from the upper left, and where each side's neighbours begin.

    Args:
        columns: left edge -> heading, of what stands before the neighbours.
        first: where the target's neighbours begin.
        neighbors: of each side, an inch each.
        sides: 0 without neighbours, 1 without a reference, else 2.
        rows: height of all lines.
        beside: what headings call the neighbours.
    """
    starts = [first + side * (neighbors + 0.4) for side in range(sides)]
    width = starts[-1] + neighbors if starts else max(first + 0.2, 0.075 * len(title))
    height = rows + TOP
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.text(0, 0.22, title, fontsize=10, color=style.INK)
    whose = (f"{role}'s {beside}" for role in ("target", "reference"))
    for left, heading in [*columns.items(), *zip(starts, whose, strict=False)]:
        axes.text(left, 0.55, heading, fontsize=8, color=style.INK)
    return figure, axes, starts


def _place(axes: Axes, image: NDArray[Any], left: float, top: float) -> float:
    """Show an image in a square cell, its shape kept; returns cell units per pixel."""
    down, across = image.shape[:2]
    scale = CELL / max(down, across)
    axes.imshow(image, extent=(left, left + across * scale, top + down * scale, top), interpolation="nearest")
    axes.set_aspect("equal")
    return float(scale)


def _frame(
    axes: Axes,
    left: float,
    top: float,
    scale: float,
    box: Sequence[float] | NDArray[Any],
    color: str,
    line: str,
    width: float = 1.4,
) -> None:
    """Outline ``box``, in pixels of the image that was placed at (left, top) with this scale."""
    x0, y0, x1, y1 = box
    corner = (left + x0 * scale, top + y0 * scale)
    axes.add_patch(
        Rectangle(
            corner, (x1 - x0) * scale, (y1 - y0) * scale, fill=False, color=color, linestyle=line, linewidth=width
        )
    )
