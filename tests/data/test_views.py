import math

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2.functional import resize, resized_crop

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.data import RandomViews
from dejavu_lightning.data.resolutions import Resolutions
from dejavu_lightning.data.views import ATTEMPTS, OriginalCrops, boxes_of, crop_and_resize, random_boxes
from tests.models import PLAIN


@pytest.mark.parametrize("size", [8, 20, 48])
def test_crop_and_resize_equals_torchvision(size):
    """Whole-pixel crops, smaller and larger than the output: torchvision's antialiased resize of the crop."""
    images = torch.rand(3, 3, 32, 32)
    boxes = torch.tensor([[0, 0, 32, 32], [5, 3, 9, 21], [30, 31, 2, 1]])
    ours = crop_and_resize(images, boxes.float(), size)
    for image, (x0, y0, width, height), view in zip(images, boxes.tolist(), ours, strict=True):
        expected = resized_crop(image, y0, x0, height, width, [size, size], antialias=True)
        assert torch.allclose(view, expected, atol=1e-5)


def test_no_pixel_outside_the_crop_leaks_in():
    images = torch.zeros(1, 1, 16, 16)
    images[:, :, 4:10, 2:9] = 1
    view = crop_and_resize(images, torch.tensor([[2.0, 4.0, 7.0, 6.0]]), 11)
    assert torch.allclose(view, torch.ones_like(view))


def test_boxes_lie_inside_and_have_the_asked_area_and_true_shape():
    torch.manual_seed(0)
    aspect = torch.full((20_000,), 2.0)  # pictures twice as wide as high, squeezed into squares
    x0, y0, width, height = random_boxes(aspect, 64, (0.2, 0.3), (3 / 4, 4 / 3)).unbind(1)
    assert (x0 >= 0).all()
    assert (y0 >= 0).all()
    assert (x0 + width <= 64 + 1e-4).all()
    assert (y0 + height <= 64 + 1e-4).all()
    area = width * height / 64**2
    assert float(area.min()) >= 0.2 - 1e-5
    assert float(area.max()) <= 0.3 + 1e-5
    assert float(area.mean()) == pytest.approx(0.25, abs=0.001)
    true_ratio = 2 * width / height
    assert float(true_ratio.min()) >= 3 / 4 - 1e-4
    assert float(true_ratio.max()) <= 4 / 3 + 1e-4
    assert float(true_ratio.log().mean()) == pytest.approx(0, abs=0.01)  # log-uniform, so symmetric


RANGES = ((0.08, 1.0), (3 / 4, 4 / 3))
SHARES = ("area", "width / height", "middle across", "middle down")


def shares(x0, y0, width, height, picture_width, picture_height):
    """Of boxes in a picture: share of the area, shape, and where the middle lies; a row each."""
    across, down = (x0 + width / 2) / picture_width, (y0 + height / 2) / picture_height
    return torch.stack([width * height / (picture_width * picture_height), width / height, across, down])


@pytest.mark.parametrize("size", [(6000, 6000), (8000, 6000), (6000, 3000), (3000, 9000)])
@pytest.mark.parametrize("ranges", [RANGES, ((0.9, 1.0), (3 / 4, 4 / 3))], ids=["usual", "mostly the fallback"])
def test_boxes_are_distributed_as_torchvision_s(size, ranges):
    """Two-sample Kolmogorov-Smirnov tests; where no attempt fits, boxes are those of torchvision's fallback."""
    width, height = size
    torch.manual_seed(1)
    side, drawn = 64, 5000
    x0, y0, w, h = random_boxes(torch.full((drawn,), width / height), side, *ranges).double().unbind(1)
    ours = shares(x0 / side * width, y0 / side * height, w / side * width, h / side * height, width, height)
    picture = torch.zeros(1, 1, 1).expand(1, height, width)
    boxes = [RandomResizedCrop.get_params(picture, *map(list, ranges)) for _ in range(drawn)]
    top, left, h, w = torch.tensor(boxes).double().T
    theirs = shares(left, top, w, h, width, height)
    # Pictures are large, because torchvision's boxes have whole pixels; rounded, those of the fallback coincide.
    for what, mine, published in zip(SHARES, ours, theirs, strict=True):
        assert ks_2samp(mine.round(decimals=3), published.round(decimals=3)).pvalue > 1e-3, what


def test_the_fallback_is_the_largest_allowed_box_in_the_middle():
    """By hand: no box of nine tenths of the area fits into 2:1 or 1:3 with shapes from 3/4 to 4/3."""
    boxes = random_boxes(torch.tensor([2.0, 1 / 3, 1.0]), 60, (0.99, 1.0), (3 / 4, 4 / 3))
    # 2:1: of the full height and 4/3 as wide, two thirds of the width. 1:3: as wide, 4/9 as high.
    expected = torch.tensor([[10, 0, 40, 60], [0, 60 * 5 / 18, 60, 60 * 4 / 9]])
    torch.testing.assert_close(boxes[:2], expected, atol=1e-4, rtol=0)


def slow_box(size, corner, aspect, side, scale, ratio):
    """One box, attempt by attempt, as torchvision's loop goes."""
    for share, shape in zip(*size, strict=True):
        area = scale[0] + (scale[1] - scale[0]) * share
        wide = math.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * shape)
        width, height = math.sqrt(area * wide / aspect), math.sqrt(area / wide * aspect)
        if width <= 1 and height <= 1:
            return [corner[0] * (1 - width) * side, corner[1] * (1 - height) * side, width * side, height * side]
    if aspect < ratio[0]:
        width, height = 1, aspect / ratio[0]
    elif aspect > ratio[1]:
        width, height = ratio[1] / aspect, 1
    else:
        width, height = 1, 1
    return [(1 - width) / 2 * side, (1 - height) / 2 * side, width * side, height * side]


def test_boxes_equal_a_slow_loop():
    torch.manual_seed(0)
    count = 400
    size, corner = torch.rand(2, ATTEMPTS, count).double(), torch.rand(2, count).double()
    aspect = torch.tensor([1, 4 / 3, 2, 1 / 3, 6.0]).double().repeat(count // 5)
    found = boxes_of(size, corner, aspect, 64, *RANGES)
    expected = [
        slow_box(size[:, :, row].tolist(), corner[:, row].tolist(), float(aspect[row]), 64, *RANGES)
        for row in range(count)
    ]
    torch.testing.assert_close(found, torch.tensor(expected).double())


def test_no_value_is_asked_back_from_the_device():
    """Tensors without data have none to give: a box must not wait for what the device has computed."""
    assert random_boxes(torch.empty(5, device="meta"), 64, *RANGES).shape == (5, 4)


def test_crops_of_the_original_pixels_are_torchvision_s():
    """One maker of full-size views, whose side changes, and one of small ones; seed, epoch and id decide."""
    large, small = RandomViews(32, num_views=2), RandomViews(16, num_views=1, scale=(0.05, 0.3))
    draw = OriginalCrops([large, small], Resolutions(32, {3: 24}), seed=5)
    image = torch.randint(0, 256, (3, 40, 90), dtype=torch.uint8)
    before = torch.get_rng_state()
    first, again = draw(image, "a", 0)["crops"], draw(image, "a", 0)["crops"]
    assert torch.equal(torch.get_rng_state(), before), "training's random stream must be left alone"
    assert [tuple(crop.shape) for crop in first] == [(3, 32, 32), (3, 32, 32), (3, 16, 16)]
    assert [crop.shape[-1] for crop in draw(image, "a", 3)["crops"]] == [24, 24, 16]
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    for other in (draw(image, "b", 0), draw(image, "a", 1), OriginalCrops([large], draw.resolutions, 6)(image, "a", 0)):
        assert not torch.equal(first[0], other["crops"][0])
    assert not torch.equal(first[0], first[1])

    whole = RandomViews(8, num_views=1, scale=(1, 1), ratio=(9 / 4, 9 / 4))
    (crop,) = OriginalCrops([whole], Resolutions(8, {}), 0)(image, "a", 0)["crops"]
    assert torch.equal(crop, resize(image, [8, 8], antialias=True))


def test_views_of_crops_are_those_of_the_square_where_both_are_the_picture():
    still = RandomViews(12, 1, scale=(1, 1), ratio=(1, 1), flip=0, jitter=0, grayscale=0, **PLAIN)
    image = torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8)
    shown = Preprocessing(12, **PLAIN)
    square, original = still.of_one(image, 2, shown, 24), still.of_one(image, 2, shown, None)
    assert square.shape == original.shape == (2, 3, 12, 12)
    # The one is resized as floats, the other as bytes: they differ by what rounding to bytes costs.
    torch.testing.assert_close(square, original, atol=1.1 / 255 / 0.25, rtol=0)
    small = resize(image, [12, 12], antialias=True)
    assert torch.equal(still.of_crops(small[None])[0], original[0])


def test_every_sample_draws_its_own_parameters():
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 24, 24), dtype=torch.uint8).expand(16, -1, -1, -1)
    views = RandomViews(16, num_views=3, blur=0.5, solarize=0.5)(image, torch.ones(16))
    assert len(views) == 3
    flat = torch.cat(views).flatten(1)
    assert flat.shape == (48, 3 * 16 * 16)
    distances = torch.cdist(flat, flat) + torch.eye(48) * 100
    assert float(distances.min()) > 0.1


def test_views_of_a_still_camera_are_the_normalised_picture():
    """With every change switched off a view is the picture, resized and normalised."""
    images = torch.randint(0, 256, (4, 3, 24, 24), dtype=torch.uint8)
    still = RandomViews(
        12, 1, scale=(1, 1), ratio=(1, 1), flip=0, jitter=0, grayscale=0, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    )
    (view,) = still(images, torch.ones(4))
    expected = resize(images.float() / 255, [12, 12], antialias=True)
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    assert torch.allclose(view, (expected - mean) / std, atol=1e-5)


def test_seed_decides():
    images = torch.randint(0, 256, (4, 3, 24, 24), dtype=torch.uint8)
    views = RandomViews(16)
    torch.manual_seed(3)
    first = views(images, torch.ones(4))
    torch.manual_seed(3)
    second = views(images, torch.ones(4))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("arguments", [{"scale": (0, 1)}, {"scale": (0.5, 1.2)}, {"ratio": (2, 1)}])
def test_bad_ranges(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must satisfy"):
        RandomViews(**arguments)


def test_small_pictures_keep_a_sane_box():
    boxes = random_boxes(torch.tensor([0.01, 100.0]), 8, (0.01, 0.01), (3 / 4, 4 / 3))
    assert torch.isfinite(boxes).all()
    assert math.isfinite(float(crop_and_resize(torch.rand(2, 3, 8, 8), boxes, 8).sum()))
