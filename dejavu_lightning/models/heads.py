"""Projectors: what self-supervised losses see instead of the features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def projector(width_in: int, widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with batch norm and ReLU in between; the last one is bare.

    (B, width_in) -> (B, widths[-1]); without widths the identity.
    """
    layers: list[nn.Module] = []
    for width in widths[:-1]:
        layers += [nn.Linear(width_in, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        width_in = width
    if widths:
        layers.append(nn.Linear(width_in, widths[-1], bias=False))
    return nn.Sequential(*layers)
