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

    A Sequential may hold further ones, as blocks of linear layer, batch norm and activation. Places without tensors get
    the activation, and so does the end of a block before the next linear layer. What comes behind the last tensor of
    all leaves no trace in a file: a projector that ends in an activation is rebuilt without it.

    Args:
        weights: by names such as "0.weight" or "1.running_mean", in blocks "0.1.running_mean".
        activation: "relu" or "gelu".
        origin: what errors call the weights.

    Raises:
        ValueError: the names or shapes are not those of such layers.
    """
    for key in weights:
        if not key.partition(".")[0].isdigit():
            raise ValueError(
                f"{origin}: {key!r} is not of a Sequential; projector_prefix must end where its positions begin, as in "
                "'projector.' of 'projector.0.weight'"
            )
    return _sequential(weights, ACTIVATIONS[activation], origin)


def _sequential(weights: Mapping[str, Tensor], activation: type[nn.Module], origin: str) -> nn.Sequential:
    places: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, value in weights.items():
        position, _, name = key.partition(".")
        places[int(position)][name] = value
    layers: list[nn.Module] = []
    for place in range(max(places) + 1):
        tensors = places.get(place, {})
        weight = tensors.get("weight")
        block = bool(tensors) and all(name.partition(".")[0].isdigit() for name in tensors)
        made: nn.Module
        if not tensors and place and place - 1 in places:
            made = activation()
        elif block:
            made = _sequential(tensors, activation, f"{origin}, in the block at position {place}")
        elif "running_mean" in tensors:
            made = nn.BatchNorm1d(len(tensors["running_mean"]), affine=weight is not None)
        elif weight is not None and weight.ndim == 2:
            made = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in tensors)
        else:
            raise ValueError(
                f"{origin}: at position {place} is neither a linear layer, nor batch norm, nor one activation behind "
                f"them, nor a block of these (it has {sorted(tensors) or 'no tensors'}); build the model in Python and "
                "use CallableModel"
            )
        # An activation at the end of a block has no tensors, and no place after it would tell of it.
        if layers and isinstance(layers[-1], nn.Sequential) and isinstance(_first(made), nn.Linear):
            layers[-1].append(activation())
        layers.append(made)
    return nn.Sequential(*layers)


def _first(layer: nn.Module) -> nn.Module:
    return _first(layer[0]) if isinstance(layer, nn.Sequential) else layer
