"""Training objectives: one file each, the function first, a thin module second."""

from dejavu_lightning.losses.barlow_twins import BarlowTwinsLoss, barlow_twins_loss
from dejavu_lightning.losses.byol import BYOLLoss, byol_loss
from dejavu_lightning.losses.clip import clip_loss
from dejavu_lightning.losses.dino import DINOLoss, dino_loss
from dejavu_lightning.losses.nt_xent import NTXentLoss, nt_xent_loss
from dejavu_lightning.losses.supervised import supervised_loss
from dejavu_lightning.losses.vicreg import VICRegLoss, vicreg_loss

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
    "supervised_loss",
    "vicreg_loss",
]
