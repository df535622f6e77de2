"""Networks: backbones by name, and heads."""

from dejavu_lightning.models.backbones import build_backbone, small_resnet
from dejavu_lightning.models.heads import projector

__all__ = ["build_backbone", "projector", "small_resnet"]
