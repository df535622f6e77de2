"""Callbacks: when to measure, and where the numbers go."""

if __name__ == "callbacks":
    raise ImportError("this folder is the package dejavu_lightning.callbacks; import that, not 'callbacks'")

from dejavu_lightning.callbacks.lightning.epoch_checkpoint import EpochCheckpoint
from dejavu_lightning.callbacks.lightning.progress import EpochProgressBar
from dejavu_lightning.callbacks.lightning.random_state import RandomState
from dejavu_lightning.callbacks.lightning.requeue import RequeueBetweenBatches
from dejavu_lightning.callbacks.lightning.wandb_logger import ResumableWandbLogger, WandbRunId, wandb_run_id
from dejavu_lightning.callbacks.memorization_early_stopping import MemorizationEarlyStopping
from dejavu_lightning.callbacks.memorization_monitor import MemorizationMonitor
from dejavu_lightning.callbacks.utility_monitor import UtilityMonitor

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
