"""What encoders give, brought into the form of one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dejavu_lightning.embedding.flaws import shape_and_advice


def side_by_side(layers: Mapping[str, Any]) -> tuple[Tensor, dict[str, int]]:
    """(B, D) of several layers' (B, d) by name, and each d.

    Raises:
        ValueError: there is none, or one is not (B, d).
    """
    found = {name: flat(value) for name, value in layers.items()}
    if not found:
        raise ValueError("the encoder must return embeddings of shape (B, D), it returned a dict of none")
    for name, value in found.items():
        if not isinstance(value, Tensor) or value.ndim != 2:
            shape, advice = shape_and_advice(value)
            raise ValueError(
                f"the encoder must return embeddings of shape (B, D), {name!r} of those that it returned is {shape}; "
                f"{advice}"
            )
    joined = torch.cat([value.float() for value in found.values()], dim=1)
    return joined, {name: value.shape[1] for name, value in found.items()}


def flat(output: Any) -> Any:
    """(B, D) of (B, D, 1, 1), as of pooled feature maps, or (B, 1, D), as of one token; others as they are."""
    if isinstance(output, Tensor) and (
        (output.ndim == 4 and output.shape[2:] == (1, 1)) or (output.ndim == 3 and output.shape[1] == 1)
    ):
        return output.flatten(1)
    return output
