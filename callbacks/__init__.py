"""Callbacks: when to measure, and where the numbers go."""

if __name__ == "callbacks":
    raise ImportError("this folder is the package dejavu_lightning.callbacks; import that, not 'callbacks'")

from dejavu_lightning.callbacks.epoch_checkpoint import EpochCheckpoint
from dejavu_lightning.callbacks.memorization_early_stopping import MemorizationEarlyStopping
from dejavu_lightning.callbacks.memorization_monitor import MemorizationMonitor
from dejavu_lightning.callbacks.progress import EpochProgressBar
from dejavu_lightning.callbacks.random_state import RandomState
from dejavu_lightning.callbacks.requeue import RequeueBetweenBatches
from dejavu_lightning.callbacks.utility_monitor import UtilityMonitor
from dejavu_lightning.callbacks.wandb_logger import ResumableWandbLogger, WandbRunId, wandb_run_id

__all__ = [
    "EpochCheckpoint",
    "EpochProgressBar",
    "MemorizationEarlyStopping",
    "MemorizationMonitor",
    "RandomState",
    "RequeueBetweenBatches",
    "ResumableWandbLogger",
    "UtilityMonitor",
    "WandbRunId",
    "wandb_run_id",
]
