"""Build backbones by name: those of timm and torchvision, and a small network for the built-in scenes."""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torch
import torchvision.models
from timm.models import register_model
from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1


def small_resnet(widths: tuple[int, ...] = (16, 32, 64, 128)) -> nn.Sequential:
    """Build a residual network for 32-pixel images: a stride-2 stem, then one basic block a width.

    It takes images (B, 3, H, W) and gives features (B, widths[-1]).

    Args:
        widths: channels of the blocks; each after the first halves the side.

    Example:
        >>> import torch
        >>> small_resnet(widths=(4, 8))(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 8])
    """
    blocks: list[nn.Module] = []
    for before, width in zip(widths[:1] + widths, widths, strict=False):
        if before == width:
            blocks.append(BasicBlock(before, width))
        else:
            shortcut = nn.Sequential(conv1x1(before, width, 2), nn.BatchNorm2d(width))
            blocks.append(BasicBlock(before, width, 2, shortcut))
    stem = (nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@register_model
def dejavu_small_resnet(num_classes: int = 0, **_: Any) -> nn.Sequential:
    """Build :func:`small_resnet` as timm builds models, for configs of open_clip that name one."""
    network = small_resnet()
    if num_classes:
        network.append(nn.Linear(128, num_classes, bias=False))
    return network


def build_backbone(name: str, **options: Any) -> nn.Module:
    """Build a network from images (B, 3, H, W) to features (B, F).

    Args:
        name: ``"small_resnet"``; ``"torchvision/<model>"`` such as ``"torchvision/resnet101"``, its
            classifier replaced by the identity; or any timm model name.
        options: passed to the model's constructor.

    Raises:
        ValueError: there is no such model; the message suggests the nearest names.

    Example:
        >>> import torch
        >>> build_backbone("small_resnet")(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 128])
        >>> build_backbone("torchvision/resnet19")
        Traceback (most recent call last):
        ValueError: unknown backbone 'torchvision/resnet19'; did you mean 'resnet18'...
    """
    if name == "small_resnet":
        return small_resnet(**options)
    library, _, model = name.rpartition("/")
    if library == "torchvision":
        known = torchvision.models.list_models(module=torchvision.models)
        if model in known:
            network: nn.Module = torchvision.models.get_model(model, **options)
            for classifier in ("fc", "heads", "head", "classifier"):
                if hasattr(network, classifier):
                    setattr(network, classifier, nn.Identity())
                    return network
            raise ValueError(f"backbone {name!r}: no classifier to remove was found; use timm's model instead")
    elif timm.is_model(name):
        created: nn.Module = timm.create_model(name, num_classes=0, **options)
        return created
    else:
        known = ["small_resnet", *timm.list_models()]
    close = difflib.get_close_matches(model if library == "torchvision" else name, known, n=3)
    hint = f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    raise ValueError(
        f"unknown backbone {name!r}{hint} Choose 'small_resnet', 'torchvision/<model>' or a name that timm lists"
    )


def feature_width(backbone: nn.Module, image_size: int) -> int:
    """Find F of a backbone by running it once on zeros; its state is left alone."""
    training = backbone.training
    with torch.no_grad():
        features = backbone.eval()(torch.zeros(1, 3, image_size, image_size))
    backbone.train(training)
    if features.ndim != 2:
        raise ValueError(f"the backbone returns shape {tuple(features.shape)}, expected pooled features (B, F)")
    return int(features.shape[1])
