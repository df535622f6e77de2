"""The most memorized records, and what the two models answer to their backgrounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dejavu_lightning.figures import style

RIGHT, WRONG = "#009E73", "#BBBBBB"
CELL, ROW = 0.92, 1.12  # inches

Box = Sequence[float] | NDArray[Any]


@dataclass(frozen=True)
class Shown:
    """A picture (H, W, 3) uint8 and the name of its class."""

    image: NDArray[Any]
    class_name: str


@dataclass(frozen=True)
class GalleryRow:
    """One record.

    Args:
        identifier: its id.
        record: the whole picture.
        boxes: (n, 4) of its objects, and ``crop`` (4,) what the test saw, pixels as x0, y0, x1, y1.
        target, reference: nearest public images of the two models, nearest first; ``reference`` may be empty.
    """

    identifier: str
    record: Shown
    boxes: NDArray[Any]
    crop: NDArray[Any] | None
    target: Sequence[Shown]
    reference: Sequence[Shown]


def draw_gallery(rows: Sequence[GalleryRow], path: str | Path, title: str) -> Path:
    """One line a record: the picture with its box, the crop the test saw, both models' neighbours.

    Neighbours of the record's own class are framed in green.
    """
    neighbors = max(len(row.target) for row in rows)
    sides = 2 if any(row.reference for row in rows) else 1
    columns = {0.0: "record", 1.1: "what the test saw"}
    figure, axes, starts = canvas(title, columns, 2.4, neighbors, sides, ROW * len(rows))
    for line, row in enumerate(rows):
        top = 0.75 + ROW * line
        scale = place(axes, row.record.image, 0, top)
        for box in row.boxes:
            frame(axes, 0, top, scale, box, "#D55E00", "-")
        seen = row.record.image
        if row.crop is not None:
            frame(axes, 0, top, scale, row.crop, "white", ":")
            x0, y0, x1, y1 = row.crop
            seen = seen[y0:y1, x0:x1]
        place(axes, seen, 1.1, top)
        _name(axes, f"{row.record.class_name} · {row.identifier}", 0, top, style.INK)
        for start, shown in zip(starts, (row.target, row.reference), strict=False):
            for column, neighbor in enumerate(shown):
                left = start + column
                own = neighbor.class_name == row.record.class_name
                scale = place(axes, neighbor.image, left, top)
                down, across = neighbor.image.shape[:2]
                frame(axes, left, top, scale, (0, 0, across, down), RIGHT if own else WRONG, "-", 2.5)
                _name(axes, neighbor.class_name, left, top, RIGHT if own else "#888888")
    return style.save(figure, path)


def canvas(
    title: str, columns: Mapping[float, str], first: float, neighbors: int, sides: int, rows: float
) -> tuple[Figure, Axes, list[float]]:
    """A figure with title and headings, its axes in inches from the upper left, and where each side's neighbours begin.

    Args:
        columns: left edge -> heading, of what stands before the neighbours.
        first: where the target's neighbours begin.
        neighbors: of each side, an inch each.
        sides: 1 without a reference, else 2.
        rows: height of all lines; the first begins at 0.75.
    """
    starts = [first + side * (neighbors + 0.4) for side in range(sides)]
    width, height = starts[-1] + neighbors, rows + 0.75
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.text(0, 0.22, title, fontsize=10, color=style.INK)
    whose = (f"{role}'s nearest public images" for role in ("target", "reference"))
    for left, heading in [*columns.items(), *zip(starts, whose, strict=False)]:
        axes.text(left, 0.55, heading, fontsize=8, color=style.INK)
    return figure, axes, starts


def place(axes: Axes, image: NDArray[Any], left: float, top: float) -> float:
    """Show an image in a square cell, its shape kept; returns cell units per pixel."""
    down, across = image.shape[:2]
    scale = CELL / max(down, across)
    axes.imshow(image, extent=(left, left + across * scale, top + down * scale, top), interpolation="nearest")
    axes.set_aspect("equal")
    return float(scale)


def frame(
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


def _name(axes: Axes, text: str, left: float, top: float, color: str) -> None:
    axes.text(left, top + CELL + 0.11, text, fontsize=6, color=color)
