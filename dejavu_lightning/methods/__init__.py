"""Training methods: one LightningModule a file."""

from dejavu_lightning.methods.base import OptimizerConfig, SelfSupervisedMethod
from dejavu_lightning.methods.vicreg import VICReg

__all__ = ["OptimizerConfig", "SelfSupervisedMethod", "VICReg"]
