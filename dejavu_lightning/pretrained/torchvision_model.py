"""Load models of torchvision, by name."""

from __future__ import annotations

from typing import Any

import torchvision.models

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.torch_file import nothing_unpickled
from dejavu_lightning.pretrained.pretrained_model import LoadedModel, PretrainedModel


class TorchvisionModel(PretrainedModel):
    """A classification model of torchvision without its classifier.

    Args:
        name: as torchvision lists it, such as "resnet50".
        weights: published ones by name, such as "IMAGENET1K_V2" or "DEFAULT", downloaded once; random ones if not
            given, which say nothing of preprocessing.
        preprocessing: other than the weights' own.

    Raises:
        ValueError: there is no such model, or it has no such weights or no download; the message suggests names.

    Example:
        >>> import torch
        >>> model = TorchvisionModel("shufflenet_v2_x0_5").load()  # random weights
        >>> model.name, model.module.eval()(torch.zeros(2, 3, 64, 64)).shape
        ('torchvision shufflenet_v2_x0_5', torch.Size([2, 1024]))
    """

    def __init__(self, name: str, weights: str | None = None, preprocessing: Preprocessing | None = None) -> None:
        self.name, self.weights, self.preprocessing = name, weights, preprocessing

    def load(self) -> LoadedModel:
        """Load the model, its features pooled; (B, 3, H, W) -> (B, F)."""
        from dejavu_lightning.models.backbones import build_backbone  # which imports timm, a second

        chosen = self._chosen()
        try:
            with nothing_unpickled(f"torchvision {self.name}"):
                network = build_backbone(f"torchvision/{self.name}", weights=chosen)
        except OSError as error:
            raise ValueError(f"torchvision cannot give {self.name} {self.weights}: {error}") from error
        own = None
        if chosen is not None:
            shown = chosen.transforms()
            own = Preprocessing(
                shown.crop_size[0], tuple(shown.mean), tuple(shown.std), interpolation=shown.interpolation.value
            )
        return LoadedModel(f"torchvision {self.name}", network, preprocessing=self.preprocessing or own)

    def _chosen(self) -> Any:
        known = torchvision.models.list_models(module=torchvision.models)
        if self.weights is None or self.name not in known:  # build_backbone suggests the nearest names
            return None
        published = torchvision.models.get_model_weights(self.name).__members__
        if self.weights not in published:
            raise ValueError(
                f"torchvision's {self.name} has no weights={self.weights!r}; it has {', '.join(published) or 'none'}"
            )
        return published[self.weights]
