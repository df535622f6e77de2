"""What the monitors share: when the model is measured, with which weights, and who follows."""

from __future__ import annotations

import difflib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from dejavu_lightning.callbacks.epoch_curve import EpochCurve, curves
from dejavu_lightning.callbacks.lightning.measurement_progress import measurement_progress
from dejavu_lightning.callbacks.lightning.other_averages import other_averages
from dejavu_lightning.callbacks.lightning.weight_averaging import checkpoint_weights, weight_averaging
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from dejavu_lightning.core.preprocessing import Shown
from dejavu_lightning.core.sets import MemorizationSets, UtilitySets
from dejavu_lightning.embedding.host_samples import UnreadableFileError
from dejavu_lightning.memorization.statistics import Terms
from dejavu_lightning.runs.history import measured_rows

Sets = TypeVar("Sets", MemorizationSets, UtilitySets)
OFFERS: Mapping[type, str] = {MemorizationSets: "memorization_sets", UtilitySets: "utility_sets"}


class Monitor(EpochCurve, ABC):
    """A curve of measurements of the model, which other callbacks may follow.

    Args:
        limits: further arguments that must be at least 1 where they are given, by name.

    Attributes:
        every_n_epochs: it measures whenever this many more epochs are complete, and at the end.
        begins: whether the untrained model is measured even where no other callback watches.
        headline: the metric of the latest measurement that ``name`` alone stands for; none if empty.
        terms: what every sample adds to each metric of the latest measurement. Two measurements are of the same
            samples, so what they add to differences is paired.
        followers: called after each measurement; they add themselves when a training begins, which empties the list.
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

    def _finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave on the first rank what is left to be done after the last measurement."""

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
        else:
            told = other_averages(trainer, pl_module, getattr(self, "encode", None))
            if told:
                rank_zero_warn(f"{self.name}: measures the module's own weights, which checkpoints hold; {told}")
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
        latest = self.latest
        values = {f"{self.name}/{key}": torch.tensor(value) for key, value in latest.items() if key != "epoch"}
        trainer.callback_metrics.update(values)
        for watcher in self.watchers(trainer) if values else ():
            if watcher.monitor not in values and getattr(watcher, "strict", True):
                close = difflib.get_close_matches(watcher.monitor, values, n=3, cutoff=0) or list(values)
                raise ValueError(
                    f"{type(watcher).__name__}(monitor={watcher.monitor!r}) watches no key of {self.name!r}; nearest "
                    f"are {', '.join(close)}; docs/reference/metrics.md lists all"
                )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on schedule; the values stay for EarlyStopping and ModelCheckpoint to monitor until the next."""
        completed = trainer.current_epoch + 1
        due = completed % self.every_n_epochs == 0 and not self.measured(completed)
        # Lightning also ends an epoch here that max_steps or a timer cut short.
        if due and trainer.is_last_batch and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            for key, value in self.attempt(trainer, pl_module, completed).items():
                # All ranks have the same value: the largest is exactly that, a mean might round.
                synced: Any = {"sync_dist": True, "reduce_fx": "max"}
                pl_module.log(f"{self.name}/{key}", value, logger=False, prog_bar=key == self.headline, **synced)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the final model, if the schedule did not, and finish."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        epoch = trainer.current_epoch
        if self.ended_between_epochs(trainer) and not self.measured(epoch) and self.comparable(epoch):
            self.attempt(trainer, pl_module, epoch)
        if trainer.is_global_zero and self.latest:
            self._finish(trainer, pl_module)

    def comparable(self, epoch: int) -> bool:
        """Whether an epoch that nobody had planned, such as that of an early stop, can be measured."""
        return True

    def ended_between_epochs(self, trainer: Trainer) -> bool:
        """Whether the training that ends here ends with a whole epoch; says so if it does not."""
        if not trainer.is_last_batch:
            rank_zero_info(
                f"{self.name}: training ended within an epoch, which is not measured; the curve ends with the last "
                "whole one"
            )
        return trainer.is_last_batch

    def attempt(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> Mapping[str, float]:
        """Measure; of a curve that has begun the measurement is missing where files cannot be read.

        All ranks raise alike. What is wrong from the start, and anything else, is raised.
        """
        try:
            return self.measure_checkpoint(trainer, pl_module, epoch)
        except TimeoutError:  # of ranks that wait for each other
            raise
        except (UnreadableFileError, OSError) as error:
            if not self.latest:
                raise
            self.history.append({"epoch": float(epoch)})
            missing = len(self.history) - len(measured_rows(self.history))
            rank_zero_warn(
                f"{self.name}: no measurement after epoch {epoch}, {missing} of {len(self.history)} are missing now: "
                f"{error}. Training goes on, and measures again when the files are back"
            )
        if trainer.is_global_zero:
            with self.writing(trainer):
                self.save_history(trainer)
        return {}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of a run that was stopped when all its epochs were through, leave now what is left at the end of training.

        Lightning passes over the training then, its hooks too, and its loop still counts as resuming.
        """
        if trainer.fit_loop.is_resuming and not trainer.should_stop and self.history:
            self.on_train_end(trainer, pl_module)

    def measure_checkpoint(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> Mapping[str, float]:
        """Measure the weights that a checkpoint would hold now; to be called on all ranks."""
        after = measurement_progress(trainer, f"{self.name} after {epoch} epochs")
        with checkpoint_weights(trainer, pl_module), after:
            return self._measure(trainer, pl_module, epoch)

    def watchers(self, trainer: Trainer) -> list[Any]:
        """Callbacks that monitor a key of this one."""
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        return [other for other in callbacks if str(getattr(other, "monitor", "")).startswith(f"{self.name}/")]

    def _find_sets(self, trainer: Trainer, data: Any, kind: type[Sets], transform: Shown | None = None) -> Sets:
        """The sets that were given, or that the data, else the datamodule, offer by a method."""
        method = OFFERS[kind]
        if isinstance(data, kind):
            if transform is not None:
                raise ValueError(
                    f"transform is for data that make their sets, such as MemorizationData; this {kind.__name__} shows "
                    "pictures as they are: apply it in its data sets"
                )
            return data
        offer = getattr(getattr(trainer, "datamodule", None) if data is None else data, method, None)
        if offer is None:
            given = "" if data is None else f" in data={type(data).__name__}(...)"
            raise ValueError(
                f"{type(self).__name__} found no data{given}: give data={kind.__name__}(...) or MemorizationData, or "
                f"train with a datamodule that has a method {method}()"
            )
        if transform is not None and not _takes_argument(offer):
            where = type(trainer.datamodule if data is None else data).__name__  # type: ignore[attr-defined]
            raise ValueError(
                f"transform is given, and {where}.{method}() takes none: give the method a parameter for it, or apply "
                "the transform in its data sets"
            )
        found: Sets = offer() if transform is None else offer(transform)
        return found

    def tell_followers(self, trainer: Trainer) -> None:
        """To be called on all ranks, after a measurement."""
        for follower in self.followers:
            follower(trainer)


def _takes_argument(method: Callable[..., Any]) -> bool:
    """Whether a method can be called with one argument."""
    try:
        inspect.signature(method).bind(None)
    except TypeError:
        return False
    return True


def _average_first(trainer: Trainer, averaging: Any) -> None:
    """Let an average that is updated at the end of an epoch be so before it is measured."""
    callbacks: list[Any] = [callback for callback in trainer.callbacks if callback is not averaging]  # type: ignore[attr-defined]
    callbacks.insert(callbacks.index(curves(trainer)[0]), averaging)
    trainer.callbacks = callbacks  # type: ignore[attr-defined]  # hooks that are being called go on in the old order
