"""Distances of pictures that are worked out by hand."""

import math

import pytest
import torch

from dejavu_lightning.cli.evaluation.public_distance import public_distances
from dejavu_lightning.data.caption_dataset import CaptionDataset


class Pictures:
    def __init__(self, *images):
        self.images = images

    def image(self, index):
        return self.images[index]


def flat(red, green, blue, height=20, width=40):
    return torch.tensor([red, green, blue], dtype=torch.uint8)[:, None, None].expand(3, height, width)


def test_of_flat_pictures_it_is_the_difference_of_their_colours():
    dark_red, white = flat(51, 0, 0), flat(255, 255, 255, 48, 32)
    source = Pictures(dark_red, white, flat(0, 0, 0), flat(0, 0, 102, 64, 16))
    found = public_distances(CaptionDataset(source, [0, 1], None), CaptionDataset(source, [2, 3], None))
    # 51 / 255 in one of three channels from black; 1, 1 and 153 / 255 from the blue one, nearer than 1 from black.
    assert found == pytest.approx([0.2 / math.sqrt(3), math.sqrt((1 + 1 + 0.6**2) / 3)])


def test_where_things_are_counts():
    left = torch.zeros(3, 32, 32, dtype=torch.uint8)
    left[:, :, :16] = 255
    source = Pictures(left, left.flip(2), left.clone())

    def distance(*public):
        (found,) = public_distances(CaptionDataset(source, [0], None), CaptionDataset(source, list(public), None))
        return found

    assert 0.8 < distance(1) <= 1
    assert distance(1, 2) == 0
