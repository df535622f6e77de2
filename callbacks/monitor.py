"""What the monitors share: a curve by epochs completed, which travels in checkpoints, and followers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from dejavu_lightning.core.sets import MemorizationSets, UtilitySets
from dejavu_lightning.embedding.host_samples import UnreadableFileError
from dejavu_lightning.memorization.statistics import Terms
from dejavu_lightning.runs.history import measured_rows, write_history

Sets = TypeVar("Sets", MemorizationSets, UtilitySets)


class Curve(Callback):
    """A callback that measures now and then and keeps what it found.

    Attributes:
        name: prefix of the logged keys; two monitors in one trainer keep their histories apart by it.
        history: one row per measurement: ``epoch`` (number completed) and the metrics; of one that is missing,
            because what it needs could not be read, the epoch alone. A resumed run continues it.
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

    @property
    def latest(self) -> Mapping[str, float]:
        """The last row with a measurement; empty before the first."""
        return next(iter(measured_rows(self.history)[-1:]), {})

    @contextmanager
    def writing(self, trainer: Trainer) -> Iterator[None]:
        """Let training go on where the folder is full, read-only or gone: checkpoints have the curve too."""
        try:
            yield
        except OSError as error:
            rank_zero_warn(
                f"{self.name}: {self.output(trainer)} cannot be written: {error}. Training goes on without these "
                "files; checkpoints have the curve"
            )

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Let training go on where a logger fails, whatever it raises: the files have the numbers too."""
        try:
            yield
        except Exception as error:
            rank_zero_warn(
                f"{self.name}: a logger failed and is not told of this: {type(error).__name__}: {error}. Training goes "
                "on; history.csv has the numbers"
            )


class Monitor(Curve, ABC):
    """A curve of measurements of the model, which other callbacks may follow.

    Args:
        limits: further arguments that must be at least 1 where they are given, by name.

    Attributes:
        every_n_epochs: it measures whenever this many more epochs are complete, and at the end.
        headline: the metric of the latest measurement that ``name`` alone stands for; none if empty.
        terms: what every sample adds to each metric of the latest measurement. Two measurements are of the same
            samples, so what they add to differences is paired.
        followers: called after each measurement.
    """

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

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on schedule; the values are then there for EarlyStopping and ModelCheckpoint to monitor."""
        completed = trainer.current_epoch + 1
        # Lightning also ends an epoch here that max_steps or a timer cut short.
        if trainer.is_last_batch and completed % self.every_n_epochs == 0 and not self.measured(completed):
            for key, value in self.attempt(trainer, pl_module, completed).items():
                pl_module.log(f"{self.name}/{key}", value, logger=False, prog_bar=key == self.headline)

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
            return self._measure(trainer, pl_module, epoch)
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
