"""Rebuild a projector from its weights: names and shapes of its tensors tell the layers of a Sequential."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

Activation = Literal["relu", "gelu"]
ACTIVATIONS: Mapping[Activation, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


def rebuild_projector(weights: Mapping[str, Tensor], activation: Activation, origin: str) -> nn.Sequential:
    """Build the Sequential of linear layers and batch norms that has these weights; (B, F) -> (B, D).

    Places without tensors get the activation. What comes behind the last tensor leaves no trace in a file: a projector
    that ends in an activation is rebuilt without it.

    Args:
        weights: by names such as "0.weight" or "1.running_mean".
        activation: "relu" or "gelu".
        origin: what errors call the weights.

    Raises:
        ValueError: the names or shapes are not those of such layers.
    """
    places: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, value in weights.items():
        position, _, name = key.partition(".")
        if not position.isdigit():
            raise ValueError(
                f"{origin}: {key!r} is not of a Sequential; projector_prefix must end where its positions begin, as in "
                "'projector.' of 'projector.0.weight'"
            )
        places[int(position)][name] = value
    layers: list[nn.Module] = []
    for place in range(max(places) + 1):
        tensors = places.get(place, {})
        weight = tensors.get("weight")
        if not tensors and place and place - 1 in places:
            layers.append(ACTIVATIONS[activation]())
        elif "running_mean" in tensors:
            layers.append(nn.BatchNorm1d(len(tensors["running_mean"]), affine=weight is not None))
        elif weight is not None and weight.ndim == 2:
            layers.append(nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in tensors))
        else:
            raise ValueError(
                f"{origin}: at position {place} is neither a linear layer, nor batch norm, nor one activation behind "
                f"them (it has {sorted(tensors) or 'no tensors'}); build the model in Python and use CallableModel"
            )
    return nn.Sequential(*layers)
