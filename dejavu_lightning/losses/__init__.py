"""Training objectives: one file each, the function first, a thin module second."""

from dejavu_lightning.losses.barlow_twins_loss import BarlowTwinsLoss, barlow_twins_loss
from dejavu_lightning.losses.byol_loss import BYOLLoss, byol_loss
from dejavu_lightning.losses.clip_loss import clip_loss
from dejavu_lightning.losses.dino_loss import DINOLoss, dino_loss
from dejavu_lightning.losses.nt_xent_loss import NTXentLoss, nt_xent_loss
from dejavu_lightning.losses.siglip_loss import siglip_loss
from dejavu_lightning.losses.supervised_loss import supervised_loss
from dejavu_lightning.losses.vicreg_loss import VICRegLoss, vicreg_loss

__all__ = [
    "BYOLLoss",
    "BarlowTwinsLoss",
    "DINOLoss",
    "NTXentLoss",
    "VICRegLoss",
    "barlow_twins_loss",
    "byol_loss",
    "clip_loss",
    "dino_loss",
    "nt_xent_loss",
    "siglip_loss",
    "supervised_loss",
    "vicreg_loss",
]
