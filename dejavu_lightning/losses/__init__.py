"""Training objectives: one file each, the function first, a thin module second."""

from dejavu_lightning.losses.vicreg import VICRegLoss, vicreg_loss

__all__ = ["VICRegLoss", "vicreg_loss"]
