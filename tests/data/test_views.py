import math

import pytest
import torch
from torchvision.transforms.v2.functional import resize, resized_crop

from dejavu_lightning.data import RandomViews
from dejavu_lightning.data.views import crop_and_resize, random_boxes


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
