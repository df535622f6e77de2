import itertools

import numpy as np
import pytest

from dejavu_lightning.data import background_crop, background_crops, corner_crop, corner_crops


def brute_force(boxes, width, height, min_side):
    """The best of all rectangles on the grid of box edges, tried one by one; several if they tie in everything."""
    xs = sorted({0, width, *(x for box in boxes for x in (box[0], box[2]) if 0 < x < width)})
    ys = sorted({0, height, *(y for box in boxes for y in (box[1], box[3]) if 0 < y < height)})
    best = []
    for x0, x1 in itertools.combinations(xs, 2):
        for y0, y1 in itertools.combinations(ys, 2):
            empty = all(x1 <= b[0] or b[2] <= x0 or y1 <= b[1] or b[3] <= y0 for b in boxes)
            side = min(x1 - x0, y1 - y0)
            if empty and side > min_side:
                rank = (side, (x1 - x0) * (y1 - y0), -x0, -y0)
                if not best or rank >= best[0][0]:
                    best = [*(b for b in best if b[0] == rank), (rank, (x0, y0, x1, y1))]
    return [rectangle for _, rectangle in best] or [None]


def random_boxes(rng, count, width, height):
    boxes = []
    for _ in range(count):
        x0, y0 = int(rng.integers(-3, width - 1)), int(rng.integers(-3, height - 1))
        x1, y1 = x0 + int(rng.integers(1, width)), y0 + int(rng.integers(1, height))
        boxes.append((x0, y0, max(x1, 1), max(y1, 1)))
    return boxes


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_equals_brute_force(count):
    rng = np.random.default_rng(count)
    for _ in range(150):
        width, height = int(rng.integers(6, 16)), int(rng.integers(6, 16))
        boxes = random_boxes(rng, count, width, height)
        assert background_crop(boxes, width, height, min_side=2) in brute_force(boxes, width, height, 2), boxes


def test_many_pictures_equal_one_by_one():
    rng = np.random.default_rng(0)
    boxes = [np.array(random_boxes(rng, int(rng.integers(0, 5)), 40, 30)).reshape(-1, 4) for _ in range(200)]
    crops = background_crops(boxes, [(40, 30)] * 200, min_side=4)
    for picture, crop in zip(boxes, crops, strict=True):
        expected = background_crop(picture, 40, 30, min_side=4)
        assert (None if np.isnan(crop[0]) else tuple(crop)) == expected


def test_maximal_rectangle_that_is_no_slab():
    # Two boxes leave a 200 x 200 corner: no vertical or horizontal slab of the image is as wide.
    boxes = [(0, 0, 100, 300), (100, 200, 300, 300)]
    assert background_crop(boxes, 300, 300) == (100, 0, 300, 200)


def test_ties_go_to_area_then_left_then_top():
    # A centred box leaves slabs of 40 on all sides; those above and below are longer, and above comes first.
    assert background_crop([(40, 40, 80, 60)], 120, 100, min_side=10) == (0, 0, 120, 40)
    # In a square all four slabs are alike: (0, 0, 40, 120) and (0, 0, 120, 40) share the corner.
    assert background_crop([(40, 40, 80, 80)], 120, 120, min_side=10)[:2] == (0, 0)


def test_min_side_is_exclusive():
    assert background_crop([(0, 0, 50, 100)], 150, 100, min_side=100) is None
    assert background_crop([(0, 0, 50, 100)], 151, 101, min_side=100) == (50, 0, 151, 101)


def test_no_boxes_means_not_attackable():
    assert background_crop([], 500, 500) is None


def test_number_type_follows_the_boxes():
    assert all(isinstance(value, int) for value in background_crop([(0, 0, 5, 9)], 30, 9, min_side=1))
    assert background_crop([(0.0, 0.0, 5.5, 9.0)], 30, 9, min_side=1) == (5.5, 0, 30, 9)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([(5, 5, 5, 9)], r"degenerate box \(5, 5, 5, 9\)"),
        ([(5, 5, float("nan"), 9)], "degenerate box"),
        ([(200, 5, 210, 9)], r"box \(200, 5, 210, 9\) lies outside the picture of 100 x 50"),
        ([(1, 2, 3)], r"shape \(n, 4\)"),
    ],
)
def test_bad_boxes_are_named(boxes, message):
    with pytest.raises(ValueError, match=message):
        background_crop(boxes, 100, 50, min_side=1)


def test_errors_name_the_picture():
    with pytest.raises(ValueError, match="n01440764_18: degenerate box"):
        background_crops([np.array([[0, 0, 3, 3]]), np.array([[4, 0, 3, 3]])], [(9, 9)] * 2, 1, ["a", "n01440764_18"])


@pytest.mark.parametrize(
    ("corner", "expected"),
    [
        ("top_left", (0, 0, 150, 112)),
        ("top_right", (350, 0, 500, 112)),
        ("bottom_left", (0, 263, 150, 375)),
        ("bottom_right", (350, 263, 500, 375)),
    ],
)
def test_corners_take_their_share_of_both_sides(corner, expected):
    crop = corner_crop(500, 375, 0.3, corner)  # 0.3 * 375 = 112.5, to even
    assert crop == expected
    assert all(isinstance(value, int) for value in crop)
    many = corner_crops([(500, 375), (10, 20)], 0.3, corner)
    assert many.shape == (2, 4)
    assert many[0].tolist() == list(expected)
    assert (many[1, 2:] - many[1, :2]).tolist() == [3, 6]


def test_corners_have_at_least_a_pixel_and_at_most_the_picture():
    assert corner_crop(2, 300, 0.01, "bottom_right") == (1, 297, 2, 300)
    assert corner_crop(7, 5, 1.0, "bottom_right") == (0, 0, 7, 5)
    assert corner_crop(100, 50) == (0, 0, 30, 15)
    assert corner_crops(np.zeros((0, 2))).shape == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((9, 9, 0.0), r"fraction must lie in \(0, 1\], got 0.0"),
        ((9, 9, 1.1), r"fraction must lie in \(0, 1\], got 1.1"),
        ((9, 9, float("nan")), r"fraction must lie in \(0, 1\], got nan"),
        ((9, 9, 0.3, "middle"), r"unknown corner 'middle'; choose from \['top_left', 'top_right', 'bottom_left', "),
        ((9, 0), "width and height must be positive, got 9 x 0"),
    ],
)
def test_bad_corners_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        corner_crop(*arguments)
