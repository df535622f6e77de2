"""Build heads, the layers between the features and a self-supervised loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def projector(width_in: int, widths: Sequence[int]) -> nn.Sequential:
    """Build a projector: linear layers with batch norm and ReLU in between; the last one is bare.

    It takes features (B, width_in) and gives embeddings (B, widths[-1]).

    Args:
        width_in: of the features.
        widths: of the layers' outputs; without any the projector is the identity.

    Example:
        >>> import torch
        >>> projector(16, widths=(32, 8))(torch.zeros(4, 16)).shape
        torch.Size([4, 8])
    """
    layers: list[nn.Module] = []
    for width in widths[:-1]:
        layers += [nn.Linear(width_in, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        width_in = width
    if widths:
        layers.append(nn.Linear(width_in, widths[-1], bias=False))
    return nn.Sequential(*layers)


def projection_width(layers: nn.Sequential, width_in: int) -> int:
    """Find D of a projector: the outputs of its last linear layer, or ``width_in`` of the identity."""
    widths = [layer.out_features for layer in layers.modules() if isinstance(layer, nn.Linear)]
    return widths[-1] if widths else width_in


def projector_layers(features: Tensor, layers: nn.Sequential, until: str | None = None) -> dict[str, Tensor]:
    """Give the features and the output of each linear layer of a projector, by name.

    Args:
        features: (B, F) of the backbone.
        layers: of the projector.
        until: the name of the last output that is wanted; all if not given.

    Returns:
        ``backbone`` (B, F) and ``projector.1``, ``projector.2``, ... (B, D) of each linear layer, before what
        follows it.

    Example:
        >>> import torch
        >>> found = projector_layers(torch.zeros(4, 16), projector(16, widths=(32, 8)))
        >>> {name: value.shape[1] for name, value in found.items()}
        {'backbone': 16, 'projector.1': 32, 'projector.2': 8}
    """
    found, value = {"backbone": features}, features
    linear = 0
    for layer in layers:
        if until in found:
            break
        value = layer(value)
        if isinstance(layer, nn.Linear):
            linear += 1
            # Layers after it may work in place.
            found[f"projector.{linear}"] = value.clone()
    return found


class Normalize(nn.Module):
    """A layer that scales rows to length 1."""

    def forward(self, value: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        return nn.functional.normalize(value, dim=1)


def bottleneck_mlp(width_in: int, widths: Sequence[int], norm: bool = False) -> nn.Sequential:
    """Build DINO's projector: linear layers with GELU in between, the last one's output scaled to length 1.

    It takes features (B, width_in) and gives directions (B, widths[-1]). See Caron et al. (2021, arXiv 2104.14294,
    section 3.1).

    Args:
        width_in: of the features.
        widths: of the layers' outputs, at least one.
        norm: put batch norm before each GELU.

    Example:
        >>> import torch
        >>> directions = bottleneck_mlp(16, widths=(32, 8))(torch.ones(4, 16))
        >>> directions.shape, bool((directions.norm(dim=1) - 1).abs().max() < 1e-5)
        (torch.Size([4, 8]), True)
    """
    layers: list[nn.Module] = []
    for width in widths[:-1]:
        layers += [nn.Linear(width_in, width), *([nn.BatchNorm1d(width)] if norm else []), nn.GELU()]
        width_in = width
    layers += [nn.Linear(width_in, widths[-1]), Normalize()]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


class Prototypes(nn.Module):
    """Cosines with learned directions: DINO's weight-normalised last layer, its gains fixed at 1.

    Args:
        width_in: D.
        count: K.

    Example:
        >>> import torch
        >>> cosines = Prototypes(width_in=8, count=32)(torch.eye(8)[:4])
        >>> cosines.shape, bool(cosines.abs().max() <= 1)
        (torch.Size([4, 32]), True)
    """

    def __init__(self, width_in: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, width_in))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, directions: Tensor) -> Tensor:
        """(B, D) of length 1 -> (B, K) in [-1, 1]."""
        return nn.functional.linear(directions, nn.functional.normalize(self.weight, dim=1))
