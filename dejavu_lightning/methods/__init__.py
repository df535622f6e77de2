"""Training methods: one LightningModule a file."""

import difflib
from typing import Any

from dejavu_lightning.methods.barlow_twins import BarlowTwins
from dejavu_lightning.methods.base import OptimizerConfig, SelfSupervisedMethod
from dejavu_lightning.methods.byol import BYOL
from dejavu_lightning.methods.clip import CLIP
from dejavu_lightning.methods.clip_settings import ClipOptimizerConfig, Temperature
from dejavu_lightning.methods.dino import DINO
from dejavu_lightning.methods.momentum import MomentumMethod
from dejavu_lightning.methods.simclr import SimCLR
from dejavu_lightning.methods.supervised import Supervised
from dejavu_lightning.methods.vicreg import VICReg

METHODS = ("BYOL", "BarlowTwins", "CLIP", "DINO", "SimCLR", "Supervised", "VICReg")

__all__ = [
    "BYOL",
    "CLIP",
    "DINO",
    "BarlowTwins",
    "ClipOptimizerConfig",
    "MomentumMethod",
    "OptimizerConfig",
    "SelfSupervisedMethod",
    "SimCLR",
    "Supervised",
    "Temperature",
    "VICReg",
]


def __getattr__(name: str) -> Any:
    close = difflib.get_close_matches(name, METHODS, n=2, cutoff=0.4)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise AttributeError(f"there is no method {name!r}{hint} Choose from {', '.join(METHODS)}")
