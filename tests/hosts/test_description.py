"""What is told of arguments: the same of objects that are made alike, whatever process makes them."""

import functools
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import transforms

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.embedding.encoders import ModuleEncoder
from dejavu_lightning.hosts.description import described
from dejavu_lightning.memorization import Checkpoint, LabelInference
from tests.callbacks.hosts import memorization_sets


class Plain:
    """Without a text of its own."""

    def __init__(self):
        self.side, self._cache = 3, object()


def by_pixels(module, images):
    return images.flatten(1)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None),
        ("student.backbone", "student.backbone"),
        (Path("a/b"), "a/b"),
        ((1, 2.5), [1, 2.5]),
        ({"b", "a"}, ["a", "b"]),
        (by_pixels, "<function by_pixels>"),
        (functools.partial(by_pixels, 3), "functools.partial(<function by_pixels>, 3)"),
        (Plain(), {"class": "Plain", "side": 3}),
        (nn.Linear(2, 2), "Linear"),
        (nn.Flatten(), "Flatten(start_dim=1, end_dim=-1)"),
        (torch.zeros(2, 3), "Tensor (2, 3)"),
        (memorization_sets(), "MemorizationSets"),
        (transforms.CenterCrop(4), "CenterCrop(size=(4, 4))"),
    ],
)
def test_values(value, told):
    assert described(value) == told
    json.dumps(described(value))


def test_tests_and_references():
    assert described(LabelInference(k=5, batch_size=3), leave_out=("batch_size", "num_workers")) == {
        "class": "LabelInference",
        "k": 5,
        "ks": [],
    }
    told = described(Checkpoint("b.ckpt", ModuleEncoder(nn.Linear(2, 2), "encode"), preprocessing=Preprocessing(32)))
    assert told["path"] == "b.ckpt"
    assert told["encoder"]["module"] == "Linear"
    assert told["encoder"]["encode"] == "encode"
    assert told["preprocessing"].startswith("Preprocessing(image_size=32, ")
