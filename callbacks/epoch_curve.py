"""What a callback measures by epochs completed, in its folder and in checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dejavu_lightning.callbacks.lightning.started_processes import give_back, wait_for_return
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from dejavu_lightning.runs.history import measured_rows, passed_untrained, write_history


class EpochCurve(Callback):
    """A callback that measures now and then and keeps what it found.

    Every training has a curve of its own: one that is not resumed begins anew, and where its folder holds the curve of
    another training, it goes to ``version_1`` there, as the files of loggers do.

    Attributes:
        name: prefix of the logged keys; two monitors in one trainer keep their histories apart by it.
        history: one row per measurement: ``epoch`` (number completed) and the metrics; of one that is missing,
            because what it needs could not be read, the epoch alone. A resumed run continues it.
        version: of the folder, 0 for the folder itself.
    """

    def __init__(self, name: str, folder: str | None) -> None:
        self.name, self.folder = name, folder
        self.history: list[dict[str, float]] = []
        self.version = 0
        self._restored = False
        self._name_here = wait_for_return(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy; what a training of the copy finds is given back to the copy, not to this one."""
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        vars(copied).update(copy.deepcopy(vars(self), memo))
        copied._name_here = wait_for_return(copied)
        return copied

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin anew, unless this trainer trains on; a checkpoint is restored after this."""
        if stage == "fit":
            same = [other for other in curves(trainer) if other.name == self.name]
            if len(same) > 1:
                raise ValueError(
                    f"{' and '.join(type(other).__name__ for other in same)} are both named {self.name!r}, so that "
                    "their logged keys and folders would be the same; give each a name= of its own"
                )
            if trainer.current_epoch == 0:
                self.reset()
            give_back(trainer, self._name_here, lambda: (self.history, self.version))

    def receive(self, found: tuple[list[dict[str, float]], int]) -> None:
        """Take the curve of the process that trained, where ``ddp_spawn`` or ``ddp_fork`` started it."""
        self.history, self.version = found

    def reset(self) -> None:
        """Forget what was measured."""
        self.history, self.version, self._restored = [], 0, False

    def choose_folder(self, trainer: Trainer) -> None:
        """Keep out of the folder of another training; to be called on all ranks before anything is written."""
        if self._restored or self.history or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        while trainer.strategy.broadcast(trainer.is_global_zero and passed_untrained(self.output(trainer))):
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
    def drawing(self) -> Iterator[None]:
        """Let a training end as it would where pictures for figures cannot be read, whatever raises."""
        try:
            yield
        except Exception as error:
            rank_zero_warn(
                f"{self.name}: figures in {self.folder or self.name} are missing: {type(error).__name__}: {error}"
            )


def curves(trainer: Trainer) -> list[EpochCurve]:
    """The callbacks of a trainer that keep a curve, in their order."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, EpochCurve)]
