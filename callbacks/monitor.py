"""What the monitors share: a curve by epochs completed, which travels in checkpoints, and followers."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from dejavu_lightning.callbacks.lightning.weight_averaging import checkpoint_weights, weight_averaging
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from dejavu_lightning.core.sets import MemorizationSets, UtilitySets
from dejavu_lightning.memorization.statistics import Terms
from dejavu_lightning.runs.history import passed_untrained, write_history

Sets = TypeVar("Sets", MemorizationSets, UtilitySets)


class Curve(Callback):
    """A callback that measures now and then and keeps what it found.

    Every training has a curve of its own: one that is not resumed begins anew, and where its folder holds the curve of
    another training, it goes to ``version_1`` there, as the files of loggers do.

    Attributes:
        name: prefix of the logged keys; two monitors in one trainer keep their histories apart by it.
        history: one row per measurement: ``epoch`` (number completed) and the metrics. A resumed run
            continues it.
        version: of the folder, 0 for the folder itself.
    """

    def __init__(self, name: str, folder: str | None) -> None:
        self.name, self.folder = name, folder
        self.history: list[dict[str, float]] = []
        self.version = 0
        self._restored = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin anew, unless this trainer trains on; a checkpoint is restored after this."""
        if stage == "fit":
            same = [other for other in _curves(trainer) if other.name == self.name]
            if len(same) > 1:
                raise ValueError(
                    f"{' and '.join(type(other).__name__ for other in same)} are both named {self.name!r}, so that "
                    "their logged keys and folders would be the same; give each a name= of its own"
                )
            if trainer.current_epoch == 0:
                self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self.history, self.version, self._restored = [], 0, False

    def choose_folder(self, trainer: Trainer) -> None:
        """Keep out of the folder of another training; to be called on all ranks before anything is written."""
        if self._restored or self.history or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        while trainer.strategy.broadcast(passed_untrained(self.output(trainer))):
            self.version += 1
        if self.version:
            rank_zero_info(f"{self.name}: the curve of another training stays, this one's is in {self.output(trainer)}")

    @property
    def state_key(self) -> str:
        """By name."""
        return self._generate_state_key(name=self.name)

    def state_dict(self) -> dict[str, Any]:
        """The curve so far."""
        return {"history": self.history, "version": self.version}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the curve."""
        self.history, self.version = list(state_dict["history"]), int(state_dict.get("version", 0))
        self._restored = True

    def measured(self, epoch: int) -> bool:
        """Whether the curve reaches this epoch."""
        return bool(self.history) and self.history[-1]["epoch"] >= epoch

    def output(self, trainer: Trainer) -> Path:
        """Where files go."""
        version = f"version_{self.version}" if self.version else ""
        return Path(self.folder) / version if self.folder else Path(trainer.default_root_dir) / version / self.name

    def save_history(self, trainer: Trainer) -> None:
        """Write ``history.csv``."""
        write_history(self.output(trainer), self.history)


class Monitor(Curve, ABC):
    """A curve of measurements of the model, which other callbacks may follow.

    Args:
        limits: further arguments that must be at least 1 where they are given, by name.

    Attributes:
        every_n_epochs: it measures whenever this many more epochs are complete, and at the end.
        begins: whether the untrained model is measured even where no other callback watches.
        headline: the metric of the latest measurement that ``name`` alone stands for; none if empty.
        terms: what every sample adds to each metric of the latest measurement. Two measurements are of the same
            samples, so what they add to differences is paired.
        followers: called after each measurement.
    """

    begins = False
    headline = ""

    def __init__(self, name: str, folder: str | None, every_n_epochs: int, **limits: int | None) -> None:
        super().__init__(name, folder)
        for argument, value in {"every_n_epochs": every_n_epochs, **limits}.items():
            if value is not None and value < 1:
                raise ValueError(f"{argument} must be at least 1, got {value}")
        self.every_n_epochs = every_n_epochs
        self.terms: Mapping[str, tuple[Terms, ...]] = {}
        self.followers: list[Callable[[Trainer], None]] = []

    @abstractmethod
    def _measure(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> Mapping[str, float]:
        """Measure on all ranks, add to the history and tell the followers; returns the metrics."""

    @abstractmethod
    def _finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Summarise on the first rank, after the last measurement."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Say where nothing is measured."""
        super().setup(trainer, pl_module, stage)
        self.followers = []
        if stage != "fit":
            rank_zero_info(
                f"{self.name}: measured while a model trains, {getattr(stage, 'value', stage)} measures nothing; a "
                "trained model is measured by measure(...), measure_utility(...) or evaluate.py"
            )
        elif trainer.fast_dev_run:  # type: ignore[attr-defined]
            rank_zero_info(f"{self.name}: with fast_dev_run nothing is measured and nothing is written")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out which weights checkpoints will hold, where files go, and whether others watch too often."""
        averaging = weight_averaging(trainer)
        if averaging is not None:
            _average_first(trainer, averaging)
            rank_zero_info(
                f"{self.name}: measures the weights that {type(averaging).__name__} averages, which checkpoints hold; "
                "until it first updates them, they are the untrained ones"
            )
        for watcher in self.watchers(trainer):
            patience = getattr(watcher, "patience", None)
            by_epoch = getattr(watcher, "_check_on_train_epoch_end", False)
            if patience is not None and by_epoch and patience < self.every_n_epochs:
                raise ValueError(
                    f"{type(watcher).__name__}(monitor={watcher.monitor!r}, patience={patience}) counts epochs, and "
                    f"with every_n_epochs={self.every_n_epochs} of {type(self).__name__} it sees one value "
                    f"{self.every_n_epochs} times, so that it would stop before the next: to wait for m measurements "
                    f"give patience={self.every_n_epochs} * m, or lower every_n_epochs"
                )
        self.choose_folder(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the untrained model, unless resuming, so that whoever watches a key finds a value from then on."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if not self.history and (self.begins or self.watchers(trainer)):
            self.measure_checkpoint(trainer, pl_module, trainer.current_epoch)
        latest = self.history[-1] if self.history else {}
        values = {f"{self.name}/{key}": torch.tensor(value) for key, value in latest.items() if key != "epoch"}
        trainer.callback_metrics.update(values)
        for watcher in self.watchers(trainer) if values else ():
            if watcher.monitor not in values and getattr(watcher, "strict", True):
                close = difflib.get_close_matches(watcher.monitor, values, n=3, cutoff=0) or list(values)
                raise ValueError(
                    f"{type(watcher).__name__}(monitor={watcher.monitor!r}) watches no key of {self.name!r}; nearest "
                    f"are {', '.join(close)}; docs/metrics.md lists all"
                )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on schedule; the values stay for EarlyStopping and ModelCheckpoint to monitor until the next."""
        completed = trainer.current_epoch + 1
        due = completed % self.every_n_epochs == 0 and not self.measured(completed)
        if due and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            for key, value in self.measure_checkpoint(trainer, pl_module, completed).items():
                pl_module.log(f"{self.name}/{key}", value, logger=False, prog_bar=key == self.headline)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the final model, if the schedule did not, and summarise."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if not self.measured(trainer.current_epoch):
            self.measure_checkpoint(trainer, pl_module, trainer.current_epoch)
        if trainer.is_global_zero:
            self._finish(trainer, pl_module)

    def measure_checkpoint(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> Mapping[str, float]:
        """Measure the weights that a checkpoint would hold now; to be called on all ranks."""
        with checkpoint_weights(trainer, pl_module):
            return self._measure(trainer, pl_module, epoch)

    def watchers(self, trainer: Trainer) -> list[Any]:
        """Callbacks that monitor a key of this one."""
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        return [other for other in callbacks if str(getattr(other, "monitor", "")).startswith(f"{self.name}/")]

    def _find_sets(self, trainer: Trainer, given: Sets | None, kind: type[Sets], method: str) -> Sets:
        """The sets that were given, else those that a method of the datamodule offers."""
        if given is not None:
            return given
        offer = getattr(getattr(trainer, "datamodule", None), method, None)
        if offer is None:
            raise ValueError(
                f"{type(self).__name__} found no data: pass sets={kind.__name__}(...), or train with a datamodule that "
                f"has a method {method}()"
            )
        found: Sets = offer()
        return found

    def tell_followers(self, trainer: Trainer) -> None:
        """To be called on all ranks, after a measurement."""
        for follower in self.followers:
            follower(trainer)


def _curves(trainer: Trainer) -> list[Curve]:
    return [callback for callback in trainer.callbacks if isinstance(callback, Curve)]  # type: ignore[attr-defined]


def _average_first(trainer: Trainer, averaging: Any) -> None:
    """Let an average that is updated at the end of an epoch be so before it is measured."""
    callbacks: list[Any] = [callback for callback in trainer.callbacks if callback is not averaging]  # type: ignore[attr-defined]
    callbacks.insert(callbacks.index(_curves(trainer)[0]), averaging)
    trainer.callbacks = callbacks  # type: ignore[attr-defined]  # hooks that are being called go on in the old order
