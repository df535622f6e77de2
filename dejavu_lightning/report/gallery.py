"""The most memorized records, and what the two models answer to their backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dejavu_lightning.report import style

RIGHT, WRONG = "#009E73", "#BBBBBB"


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
        note: a line about the votes.
    """

    identifier: str
    record: Shown
    boxes: NDArray[Any]
    crop: NDArray[Any] | None
    target: Sequence[Shown]
    reference: Sequence[Shown]
    note: str


def draw_gallery(rows: Sequence[GalleryRow], path: str | Path, title: str) -> Path:
    """One line a record: the picture with its box, the crop the test saw, both models' neighbours.

    Neighbours of the record's own class are framed in green.
    """
    neighbors = max(len(row.target) for row in rows)
    with_reference = any(row.reference for row in rows)
    widths = [1.0, 1.0, 0.2, *[1.0] * neighbors, *([0.2, *[1.0] * neighbors] if with_reference else [])]
    figure = Figure(figsize=(1.05 * sum(widths) + 0.3, 1.25 * len(rows) + 0.9), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=style.INK)
    grid = figure.subplots(len(rows), len(widths), squeeze=False, width_ratios=widths)
    figure.get_layout_engine().set(w_pad=0.015, h_pad=0.02, wspace=0, hspace=0)  # type: ignore[union-attr]
    headings = {0: "record", 1: "what the test saw", 3: "target's nearest public images"}
    if with_reference:
        headings[4 + neighbors] = "reference's nearest public images"
    for line, row in zip(grid, rows, strict=True):
        for axes in line:
            axes.set_axis_off()
        line[0].imshow(row.record.image, interpolation="nearest")
        for x0, y0, x1, y1 in row.boxes:
            _frame(line[0], x0, y0, x1, y1, "#D55E00", "-")
        seen = row.record.image
        if row.crop is not None:
            x0, y0, x1, y1 = row.crop
            _frame(line[0], x0, y0, x1, y1, "white", ":")
            seen = seen[y0:y1, x0:x1]
        line[1].imshow(seen, interpolation="nearest")
        line[0].set_title(row.record.class_name, fontsize=7, color=style.INK, pad=2)
        line[1].set_title(row.note, fontsize=6, color=style.INK, pad=2)
        for start, shown in ((3, row.target), (4 + neighbors, row.reference)):
            for axes, neighbor in zip(line[start:], shown, strict=False):
                axes.imshow(neighbor.image, interpolation="nearest")
                height, width = neighbor.image.shape[:2]
                own = neighbor.class_name == row.record.class_name
                _frame(axes, 0, 0, width, height, RIGHT if own else WRONG, "-", 3.0)
                axes.set_title(neighbor.class_name, fontsize=6, color=RIGHT if own else "#888888", pad=2)
    for column, heading in headings.items():
        grid[0][column].annotate(
            heading, (0, 1.22), xycoords="axes fraction", fontsize=8, color=style.INK, annotation_clip=False
        )
    return style.save(figure, path)


def _frame(axes: Axes, x0: float, y0: float, x1: float, y1: float, color: str, line: str, width: float = 1.4) -> None:
    corner = (x0 - 0.5, y0 - 0.5)
    axes.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, color=color, linestyle=line, linewidth=width))
