"""A callback for Hugging Face's ``Trainer``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dejavu_lightning.core.preprocessing import Shown
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.encoders import EncodeSpec, ModuleEncoder
from dejavu_lightning.hosts.memorization_data import MemorizationData
from dejavu_lightning.memorization.catalog import DEFAULT_TEST
from dejavu_lightning.memorization.measure import measure
from dejavu_lightning.memorization.protocols import MemorizationTest, Reference
from dejavu_lightning.memorization.references.held_out import HeldOut
from dejavu_lightning.runs.history import passed_untrained, read_history, write_history

PREFIX = "memorization/"  # of the logged keys


class MemorizationCallback(TrainerCallback):
    """Measure before training and after epochs, and log through the Trainer, so that its TensorBoard and W&B have it.

    Metrics are logged as ``memorization/<metric>``; ``<output_dir>/memorization/history.csv`` has them by epoch, of a
    second training in that folder ``<output_dir>/version_1/memorization/history.csv``. A resumed training goes on with
    the curve that its checkpoint's log tells of. The numbers of a measurement do not depend on the number of processes,
    which all take part.

    Args:
        trainer: that it is added to, which logs.
        data: as of ``MemorizationMonitor``.
        encode: how a batch of pictures becomes embeddings, as of ``MemorizationMonitor``; of a model whose output is
            no tensor a function, such as ``lambda model, images: model.resnet(images).pooler_output``.
        transform: how the data show a picture, as of ``MemorizationMonitor``.
        test, reference: label inference and the model itself on held-out records if not given.
        every_n_epochs: measure whenever this many more epochs are complete.

    Raises:
        ValueError: ``every_n_epochs`` is below 1.

    Example:
        .. code-block:: python

            trainer.add_callback(MemorizationCallback(trainer, data, encode="resnet", transform=my_eval_transform))
    """

    def __init__(
        self,
        trainer: Trainer,
        data: MemorizationSets | MemorizationData,
        encode: EncodeSpec = None,
        transform: Shown | None = None,
        test: MemorizationTest | None = None,
        reference: Reference | None = None,
        every_n_epochs: int = 1,
    ) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, got {every_n_epochs}")
        self.trainer, self.encode, self.every_n_epochs = trainer, encode, every_n_epochs
        self.sets = data.memorization_sets(transform) if isinstance(data, MemorizationData) else data
        self.test: MemorizationTest = test or DEFAULT_TEST()
        self.reference: Reference = reference or HeldOut()
        self.history: list[dict[str, float]] = []
        self.folder = Path("memorization")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **more: Any
    ) -> None:
        """Measure the untrained model, unless resuming."""
        home = Path(args.output_dir or ".")
        self.folder = next(folder for folder in _folders(home) if not passed_untrained(folder))  # others' curves stay
        self.history = []
        if state.epoch:
            self._resume(home, state.epoch, _logged(state.log_history))
        else:
            self._measure(control, state, model, 0)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **more: Any
    ) -> None:
        """Measure on schedule."""
        epoch = state.epoch or 0.0
        completed = round(epoch)
        whole = abs(epoch - completed) < 1e-6  # the Trainer also ends an epoch that max_steps cuts short
        if whole and completed % self.every_n_epochs == 0:
            self._measure(control, state, model, completed)

    def _resume(self, home: Path, epoch: float, logged: list[dict[str, float]]) -> None:
        """Go on with the latest curve that begins with what the resumed training logged, else from that alone.

        The file may have more: a checkpoint that is saved at the last step of an epoch is saved before its measurement.
        """
        self.history = logged
        for folder in takewhile(passed_untrained, _folders(home)):
            try:
                rows = [row for row in read_history(folder) if row["epoch"] <= epoch]
            except ValueError:  # a damaged file, which stays
                continue
            if logged and rows[: len(logged)] == logged:
                self.folder, self.history = folder, rows

    def _measure(self, control: TrainerControl, state: TrainerState, model: Any, epoch: int) -> None:
        due = control.should_log
        found = measure(ModuleEncoder(model, self.encode), self.test, self.reference, self.sets, epoch)
        self.history.append({"epoch": float(epoch), **found.metrics})
        self.trainer.log({f"{PREFIX}{name}": value for name, value in found.metrics.items()})
        control.should_log = due  # which logging takes back: the Trainer's own numbers are still to be logged
        if state.is_world_process_zero:
            write_history(self.folder, self.history)


def _folders(home: Path) -> Iterator[Path]:
    """Where the curves of the trainings in an output folder go, in their order."""
    yield home / "memorization"
    for version in count(1):
        yield home / f"version_{version}" / "memorization"


def _logged(log: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """The rows of the history that a Trainer's log tells of, which its checkpoints hold."""
    rows = []
    for entry in log:
        metrics = {name.removeprefix(PREFIX): value for name, value in entry.items() if name.startswith(PREFIX)}
        if metrics:
            rows.append({"epoch": float(round(entry.get("epoch", 0))), **metrics})
    return rows
