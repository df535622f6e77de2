"""Define published models: something that can be loaded, and then encodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import nn

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.embedding.encoders import EncodeSpec


class LoadedModel(NamedTuple):
    """A model with its weights, ready to encode.

    ``name`` is what tables and errors call it; ``encode`` as in ``ModuleEncoder``; ``preprocessing`` is None where
    nothing says which pictures the model was trained on.
    """

    name: str
    module: nn.Module
    encode: EncodeSpec = None
    preprocessing: Preprocessing | None = None


class PretrainedModel(ABC):
    """A published model. Subclasses say by their arguments where it comes from.

    A base class rather than a protocol, so that the command line finds the subclasses by their short names.
    """

    @abstractmethod
    def load(self) -> LoadedModel:
        """Build the model on the CPU and give it its weights, all of them and no others."""
