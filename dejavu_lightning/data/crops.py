"""What the attacker sees: the part of a picture that shows nothing of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Rectangle = tuple[float, float, float, float]

Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]
CELLS_AT_ONCE = 1 << 20  # bounds the scratch memory of the search to some 100 MB


def background_crop(boxes: ArrayLike, width: int, height: int, min_side: float = 100) -> Rectangle | None:
    """Find the roomiest axis-aligned rectangle of a picture that no box touches.

    Among all maximal empty rectangles: the one with the greatest shorter side; ties go to the larger
    area, then to the smaller x0, then to the smaller y0. The search is exact. It is what an attacker sees of a record
    (Meehan et al. 2023, arXiv 2304.13850).

    Args:
        boxes: (n, 4) pixels as x0, y0, x1, y1 with exclusive ends; clipped to the picture.
        width, height: the picture's size in pixels.
        min_side: the rectangle's shorter side must exceed this many pixels.

    Returns:
        (x0, y0, x1, y1), integers if the boxes are, or None where nothing is large enough. Without boxes
        the whole picture is background, there is no foreground to infer, and the answer is None.

    Raises:
        ValueError: a box is degenerate, not finite, or wholly outside the picture.

    Example:
        >>> background_crop([(0, 0, 200, 300)], width=500, height=300)  # what lies right of the object
        (200, 0, 500, 300)
        >>> background_crop([(0, 0, 450, 300)], width=500, height=300) is None  # only 50 pixels are left
        True
    """
    array = np.asarray(boxes)
    crop = background_crops([array], [(width, height)], min_side)[0]
    if np.isnan(crop[0]):
        return None
    x0, y0, x1, y1 = crop.tolist()
    if np.issubdtype(array.dtype, np.integer):
        return int(x0), int(y0), int(x1), int(y1)
    return x0, y0, x1, y1


def background_crops(
    boxes: Sequence[NDArray[Any]], sizes: ArrayLike, min_side: float = 100, names: Sequence[str] | None = None
) -> FloatArray:
    """Find :func:`background_crop` of many pictures at once.

    Args:
        boxes: for each of N pictures its (n, 4) boxes.
        sizes: (N, 2) width and height in pixels.
        min_side: as in :func:`background_crop`.
        names: (N,) what errors call the pictures, such as their ids.

    Returns:
        (N, 4) crops; a row of NaN where a picture has none.

    Raises:
        ValueError: boxes have another shape, or one is degenerate, not finite, or wholly outside its picture.

    Example:
        >>> import numpy as np
        >>> boxes = [np.array([(0, 0, 200, 300)]), np.empty((0, 4))]
        >>> background_crops(boxes, sizes=[(500, 300), (500, 300)])
        array([[200.,   0., 500., 300.],
               [ nan,  nan,  nan,  nan]])
    """
    size = np.asarray(sizes, dtype=np.float64).reshape(len(boxes), 2)
    counts = np.array([len(picture) for picture in boxes], dtype=np.int64)
    crops = np.full((len(boxes), 4), np.nan)
    for count in np.unique(counts[counts > 0]).tolist():
        members = np.flatnonzero(counts == count).tolist()
        grouped = np.stack([np.asarray(boxes[member], dtype=np.float64) for member in members])  # N, n, 4
        if grouped.shape[2:] != (4,):
            raise ValueError(f"boxes must have shape (n, 4) as x0, y0, x1, y1, got {grouped.shape[1:]}")
        _check(grouped, size[members], [names[member] for member in members] if names is not None else None)
        limits = size[members][:, None, [0, 1, 0, 1]]
        crops[members] = _roomiest(np.clip(grouped, 0, limits), size[members])
    shorter = np.minimum(crops[:, 2] - crops[:, 0], crops[:, 3] - crops[:, 1])
    crops[~(shorter > min_side)] = np.nan
    return crops


def corner_crop(
    width: int, height: int, fraction: float = 0.3, corner: Corner = "top_left"
) -> tuple[int, int, int, int]:
    """Find the corner that an attacker without boxes sees, where objects seldom are.

    Args:
        width, height: the picture's size in pixels.
        fraction: of the picture's sides, in (0, 1]; rounded to whole pixels, at least one.
        corner: "top_left", "top_right", "bottom_left" or "bottom_right".

    Returns:
        (x0, y0, x1, y1) with exclusive ends.

    Raises:
        ValueError: an argument is out of its range; the message names it.

    Example:
        >>> corner_crop(width=500, height=300, corner="bottom_right")
        (350, 210, 500, 300)
    """
    x0, y0, x1, y1 = corner_crops([(width, height)], fraction, corner)[0].tolist()
    return int(x0), int(y0), int(x1), int(y1)


def corner_crops(sizes: ArrayLike, fraction: float = 0.3, corner: Corner = "top_left") -> FloatArray:
    """Find :func:`corner_crop` of many pictures at once.

    Args:
        sizes: (N, 2) width and height in pixels.
        fraction, corner: as in :func:`corner_crop`.

    Returns:
        (N, 4) as x0, y0, x1, y1, whole numbers.

    Raises:
        ValueError: an argument is out of its range; the message names it.

    Example:
        >>> corner_crops([(500, 300), (100, 100)])
        array([[  0.,   0., 150.,  90.],
               [  0.,   0.,  30.,  30.]])
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
    if corner not in get_args(Corner):
        raise ValueError(f"unknown corner {corner!r}; choose from {list(get_args(Corner))}")
    size = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
    if not (size > 0).all():
        width, height = size[np.argwhere(~(size > 0))[0, 0]].tolist()
        raise ValueError(f"width and height must be positive, got {width:g} x {height:g}")
    side = np.maximum(np.round(fraction * size), 1)
    far = np.array([corner.endswith("right"), corner.startswith("bottom")])
    start = np.where(far, size - side, 0)
    return np.concatenate([start, start + side], axis=1)


def _check(boxes: FloatArray, size: FloatArray, names: Sequence[str] | None) -> None:
    """boxes (N, n, 4), size (N, 2)."""
    bad_size = np.min(size, axis=1) <= 0
    x0, y0, x1, y1 = (boxes[:, :, axis] for axis in range(4))
    finite = np.isfinite(boxes).all(axis=2)
    degenerate = ~((x0 < x1) & (y0 < y1)) | ~finite
    outside = (x1 <= 0) | (y1 <= 0) | (x0 >= size[:, :1]) | (y0 >= size[:, 1:])
    wrong = degenerate | outside | bad_size[:, None]
    if not wrong.any():
        return
    row, column = np.argwhere(wrong)[0]
    width, height = size[row].tolist()
    where = f"{names[row]}: " if names is not None else ""
    if bad_size[row]:
        raise ValueError(f"{where}width and height must be positive, got {width:g} x {height:g}")
    box = "({:g}, {:g}, {:g}, {:g})".format(*boxes[row, column])
    if degenerate[row, column]:
        raise ValueError(f"{where}degenerate box {box}: it needs finite x0 < x1 and y0 < y1")
    raise ValueError(f"{where}box {box} lies outside the picture of {width:g} x {height:g} pixels")


def _roomiest(boxes: FloatArray, size: FloatArray) -> FloatArray:
    """The best maximal empty rectangle of each picture: boxes (N, n, 4), size (N, 2) -> (N, 4).

    A maximal empty rectangle rests, at each side, on the border or on a box. So it lies in a band that
    starts at the border or at some box's bottom and ends at the border or at some box's top; within a
    band it fills a gap between the boxes that cross the band.
    """
    pictures, count, _ = boxes.shape
    boxes = np.take_along_axis(boxes, np.argsort(boxes[:, :, :1], axis=1, kind="stable"), axis=1)
    zeros = np.zeros((pictures, 1))
    tops = np.concatenate([zeros, boxes[:, :, 3]], axis=1).reshape(-1)  # N * (n + 1)
    owner = np.repeat(np.arange(pictures), count + 1)
    best = np.empty((len(tops), 8))  # shorter side, area, -x0, -y0: the order of preference; then the rectangle
    chunk = max(1, CELLS_AT_ONCE // (count + 1) ** 2)
    for start in range(0, len(tops), chunk):
        rows = owner[start : start + chunk]
        top = tops[start : start + chunk, None, None]  # r, 1, 1
        x0, y0, x1, y1 = (boxes[rows, None, :, axis] for axis in range(4))  # r, 1, n
        width, height = size[rows, 0, None, None], size[rows, 1, None]  # r, 1, 1 and r, 1
        bottom = np.concatenate([height, y0[:, 0]], axis=1)[:, :, None]  # r, n + 1, 1
        crossing = (y0 < bottom) & (y1 > top)  # r, n + 1, n
        reach = np.maximum.accumulate(np.where(crossing, x1, 0), axis=2)
        ahead = np.minimum.accumulate(np.where(crossing, x0, width)[:, :, ::-1], axis=2)[:, :, ::-1]
        edge = np.zeros((*reach.shape[:2], 1))
        left = np.concatenate([edge, reach], axis=2)  # r, n + 1, n + 1
        right = np.concatenate([ahead, edge + width], axis=2)
        across, down = right - left, bottom - top
        x_left, y_top = np.broadcast_to(left, across.shape), np.broadcast_to(top, across.shape)
        rank = np.stack([np.minimum(across, down), across * down, -x_left, -y_top], axis=-1)
        rank[(across <= 0) | (np.broadcast_to(down, across.shape) <= 0)] = -np.inf
        flat = rank.reshape(len(rows), -1, 4)
        alive = np.ones(flat.shape[:2], dtype=bool)
        for column in range(4):
            value = np.where(alive, flat[:, :, column], -np.inf)
            alive &= value == value.max(axis=1, keepdims=True)
        winner = alive.argmax(axis=1)
        pick = (np.arange(len(rows)), winner)
        ends = [np.broadcast_to(e, across.shape).reshape(len(rows), -1)[pick] for e in (left, top, right, bottom)]
        best[start : start + chunk] = np.column_stack([flat[pick], *ends])
    order = np.lexsort([*(-best[:, column] for column in (3, 2, 1, 0)), owner])
    first = order[:: count + 1]  # rows of one picture are contiguous, the preferred one leads
    return np.where(np.isfinite(best[first, :1]), best[first, 4:], np.nan)
