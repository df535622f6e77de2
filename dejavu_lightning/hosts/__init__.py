"""For training code that is not ours: what of its data is trained on, attacked and looked up, and its checkpoints."""

from dejavu_lightning.hosts.checkpoint_curve import measure_checkpoints
from dejavu_lightning.hosts.dataset_source import DatasetSource
from dejavu_lightning.hosts.memorization_data import MemorizationData

__all__ = ["DatasetSource", "MemorizationData", "measure_checkpoints"]
