"""Networks: backbones by name, and heads."""

from dejavu_lightning.models.backbones import build_backbone, small_resnet
from dejavu_lightning.models.heads import Prototypes, bottleneck_mlp, projector

__all__ = ["Prototypes", "bottleneck_mlp", "build_backbone", "projector", "small_resnet"]
