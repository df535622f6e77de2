"""What the monitors share: a curve by epochs completed, which travels in checkpoints, and followers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from dejavu_lightning.memorization.statistics import Floats
from dejavu_lightning.runs.history import write_history


class Curve(Callback):
    """A callback that measures now and then and keeps what it found.

    Attributes:
        name: prefix of the logged keys; two monitors in one trainer keep their histories apart by it.
        history: one row per measurement: ``epoch`` (number completed) and the metrics. A resumed run
            continues it.
    """

    def __init__(self, name: str, folder: str | None) -> None:
        self.name, self.folder = name, folder
        self.history: list[dict[str, float]] = []

    @property
    def state_key(self) -> str:
        """By name."""
        return self._generate_state_key(name=self.name)

    def state_dict(self) -> dict[str, Any]:
        """The curve so far."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the curve."""
        self.history = list(state_dict["history"])

    def measured(self, epoch: int) -> bool:
        """Whether the curve reaches this epoch."""
        return bool(self.history) and self.history[-1]["epoch"] >= epoch

    def output(self, trainer: Trainer) -> Path:
        """Where files go."""
        return Path(self.folder or Path(trainer.default_root_dir) / self.name)

    def save_history(self, trainer: Trainer) -> None:
        """Write ``history.csv``."""
        write_history(self.output(trainer), self.history)


class Monitor(Curve):
    """A curve of measurements of the model, which other callbacks may follow.

    Attributes:
        every_n_epochs: it measures whenever this many more epochs are complete, and at the end.
        replicates: bootstrap values (R,) of the latest measurement by metric. At every measurement they are of
            the same resamples of the same samples, so differences between two measurements are paired.
        followers: called after each measurement.
    """

    def __init__(self, name: str, folder: str | None, every_n_epochs: int) -> None:
        super().__init__(name, folder)
        self.every_n_epochs = every_n_epochs
        self.replicates: Mapping[str, Floats] = {}
        self.followers: list[Callable[[Trainer], None]] = []

    def tell_followers(self, trainer: Trainer) -> None:
        """To be called on all ranks, after a measurement."""
        for follower in self.followers:
            follower(trainer)
