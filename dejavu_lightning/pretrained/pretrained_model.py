"""Define published models: something that can be loaded, and then encodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import nn

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.embedding.encoders import EncodeSpec


class LoadedModel(NamedTuple):
    """A model with its weights, ready to encode.

    Attributes:
        name: what tables and errors call it.
        module: the network.
        encode: how it encodes, as in ``ModuleEncoder``.
        preprocessing: of the pictures that it takes; None where nothing says which it was trained on.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from dejavu_lightning.memorization import ModuleEncoder
        >>> model = LoadedModel("pixels", nn.Flatten())
        >>> ModuleEncoder(model.module, model.encode)(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 48])
    """

    name: str
    module: nn.Module
    encode: EncodeSpec = None
    preprocessing: Preprocessing | None = None


class PretrainedModel(ABC):
    """A published model; subclasses say by their arguments where it comes from.

    A base class rather than a protocol, so that the command line finds the subclasses by their short names.

    Example:
        >>> from torch import nn
        >>> class Pixels(PretrainedModel):
        ...     def load(self):
        ...         return LoadedModel("pixels", nn.Flatten())
        >>> Pixels().load().name
        'pixels'
    """

    @abstractmethod
    def load(self) -> LoadedModel:
        """Build the model on the CPU and give it its weights, all of them and no others."""
