"""Pictures and labels as users' own data sets give them."""

import numpy as np
import pytest
import torch
from PIL import Image

from dejavu_lightning.embedding.embed import embed
from dejavu_lightning.embedding.host_samples import class_number, image_tensor

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10  # 2 rows, 3 columns, RGB
EXPECTED = (
    torch.tensor([[[0, 30, 60], [90, 120, 150]], [[10, 40, 70], [100, 130, 160]], [[20, 50, 80], [110, 140, 170]]])
    / 255
)


@pytest.mark.parametrize(
    "given",
    [
        Image.fromarray(PIXELS),
        Image.fromarray(PIXELS).convert("RGBA"),
        PIXELS,
        PIXELS.transpose(2, 0, 1),
        (PIXELS / 255).astype(np.float32),
        (PIXELS / 255).transpose(2, 0, 1),
    ],
    ids=["PIL", "PIL RGBA", "HWC", "CHW", "HWC floats", "CHW doubles"],
)
def test_pictures_become_channels_in_0_to_1(given):
    found = image_tensor(given, 0, "public")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, EXPECTED, atol=1e-7, rtol=0)


def test_grey_pictures_keep_one_channel():
    grey = Image.fromarray(PIXELS[:, :, 0])
    for given in (grey, PIXELS[:, :, 0]):
        torch.testing.assert_close(image_tensor(given, 0, "public"), EXPECTED[:1], atol=1e-7, rtol=0)
    assert image_tensor(grey.convert("P"), 0, "public").shape == (3, 2, 3)


def test_tensors_are_left_alone():
    given = torch.arange(12, dtype=torch.uint8).reshape(2, 2, 3)
    assert image_tensor(given, 0, "public") is given


@pytest.mark.parametrize(
    "given",
    [2, 2.0, np.int64(2), torch.tensor(2), torch.tensor([2]), [0, 0, 1], torch.tensor([0.0, 0.0, 1.0]), np.eye(4)[2]],
)
def test_labels_are_numbers_or_one_hot(given):
    assert class_number(given, 0, "public") == 2


def test_pil_and_tensors_embed_alike():
    tensors = [(torch.from_numpy(PIXELS + n).permute(2, 0, 1) / 255, n) for n in range(5)]
    pictures = [(Image.fromarray(PIXELS + n), np.eye(5)[n]) for n in range(5)]
    first, second = (embed(lambda images: images.flatten(1), given, "public", 2, 0) for given in (tensors, pictures))
    torch.testing.assert_close(first.embeddings, second.embeddings)
    assert first.labels.tolist() == second.labels.tolist() == [0, 1, 2, 3, 4]
