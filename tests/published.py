"""Networks with the key layouts of other people's training scripts, and their way of saving.

Keys, entries and what lies beside the weights were read in the authors' sources: facebookresearch/vicreg
(main_vicreg.py, resnet.py), facebookresearch/barlowtwins (main.py), facebookresearch/dino (main_dino.py, utils.py,
vision_transformer.py, run_with_submitit.py), vturrisi/solo-learn (solo/methods). No code is theirs.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn
from torchvision.models import resnet18

from dejavu_lightning.embedding.encoders import preserve_state
from dejavu_lightning.memorization import ModuleEncoder

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def embedded(model, images=IMAGES):
    """What the tests see of a model."""
    loaded = model.load()
    encoder = ModuleEncoder(loaded.module, loaded.encode)
    with preserve_state(loaded.module):
        return encoder(images)


def agree(model, original, images=IMAGES):
    with torch.no_grad():
        expected = original.eval()(images)
    found = embedded(model, images)
    assert expected.std(dim=0).mean() > 1e-3, "what does not depend on the images would agree with anything"
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


class DistributedDataParallel(nn.Module):
    """Names its only child as torch's does, without a process group."""

    def __init__(self, module):
        super().__init__()
        self.module = module


def scrambled(module, seed=0):
    """Random weights and running statistics, so that no key can be left out or exchanged unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            scales = name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1)
            value.copy_(0.5 + noise.abs() if scales else noise * 0.1)
    return module.eval()


def headless_resnet():
    network = resnet18()
    network.fc = nn.Identity()
    return network


def mlp(*widths, bias=True, last_bias=False):
    layers = []
    for before, width in pairwise(widths[:-1]):
        layers += [nn.Linear(before, width, bias=bias), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*widths[-2:], bias=last_bias))


class JointEmbedding(nn.Module):
    """VICReg and Barlow Twins of facebookresearch: backbone, projector; the latter also ``bn`` without weights."""

    def __init__(self, vicreg):
        super().__init__()
        self.backbone = headless_resnet()
        self.projector = mlp(512, 32, 32, 24, bias=vicreg)
        if not vicreg:
            self.bn = nn.BatchNorm1d(24, affine=False)

    def forward(self, images):
        return self.projector(self.backbone(images))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, tokens):
        batch, length, width = tokens.shape
        qkv = self.attn["qkv"](self.norm1(tokens)).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (qkv[0] @ qkv[1].transpose(2, 3) * (width // self.heads) ** -0.5).softmax(dim=3)
        attended = (weights @ qkv[2]).transpose(1, 2).reshape(batch, length, width)
        tokens = tokens + self.attn["proj"](attended)
        return tokens + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(tokens))))


class DinoTransformer(nn.Module):
    """DINO's vision transformer of two blocks for pictures of 32 pixels: the class token of the last layer."""

    def __init__(self, width=192, heads=3):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, 16, 16)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, width))
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(2)])
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images):
        patches = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 0]


class DinoHead(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, 48), nn.GELU(), nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 16))
        self.last_layer = nn.utils.weight_norm(nn.Linear(16, 40, bias=False))


class DinoNetwork(nn.Module):
    """DINO's backbone and head; ``forward`` stops where the head normalises, before its prototypes."""

    def __init__(self):
        super().__init__()
        self.backbone = DinoTransformer()
        self.head = DinoHead(192)

    def forward(self, images):
        return nn.functional.normalize(self.head.mlp(self.backbone(images)), dim=1)


def exclude_bias_and_norm(parameter):
    raise AssertionError("files of weights run nothing")


exclude_bias_and_norm.__module__ = "__main__"


def save_joint_embedding(model, path):
    """As main_vicreg.py and Barlow Twins' main.py do: their LARS keeps a function of the script in its settings.

    The published files name it too, see issues 6 of facebookresearch/vicreg and 36 of facebookresearch/barlowtwins.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for name in ("weight_decay_filter", "lars_adaptation_filter"):
        optimizer.param_groups[0][name] = exclude_bias_and_norm
    state = DistributedDataParallel(model).state_dict()
    with mock.patch.object(sys.modules["__main__"], "exclude_bias_and_norm", exclude_bias_and_norm, create=True):
        torch.save({"epoch": 7, "model": state, "optimizer": optimizer.state_dict()}, path)


def save_dino(student, teacher, path):
    """As main_dino.py does: NumPy scalars of the schedule in the optimizer, and ``args``, with a path of submitit."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    optimizer.param_groups[0]["lr"] = np.linspace(1e-3, 1e-4, 5)[2]
    torch.save(
        {
            "student": DistributedDataParallel(student).state_dict(),
            "teacher": teacher.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epoch": 100,
            "args": Namespace(arch="vit_small", global_crops_scale=(0.4, 1.0), use_fp16=True, output_dir=Path("runs")),
            "dino_loss": {"center": torch.zeros(1, 40)},
            "fp16_scaler": {"scale": 65536.0, "growth_factor": 2.0},
        },
        path,
    )


def build_network(width=6):
    """What CallableModel is told to build."""
    return nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def build_nothing():
    return [1, 2]
