"""Measures utility while a model trains. What is logged: docs/reference/metrics.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dejavu_lightning.callbacks.epoch_curve import curves
from dejavu_lightning.callbacks.memorization_monitor import MemorizationMonitor
from dejavu_lightning.callbacks.monitor import Monitor
from dejavu_lightning.callbacks.publish import publish_metrics, publish_summary
from lightning.pytorch import LightningModule, Trainer

from dejavu_lightning.core.distributed import failing_together
from dejavu_lightning.core.estimate import estimates_in
from dejavu_lightning.core.preprocessing import Shown
from dejavu_lightning.embedding.encoders import EncodeSpec, ModuleEncoder
from dejavu_lightning.runs.utility_samples import write_utility_samples
from dejavu_lightning.utility import (
    LinearProbe,
    NearestNeighborProbe,
    PairMeasure,
    Probe,
    UtilitySets,
    check_features,
    utility_measurement,
)

EVERY = 50  # epochs, where neither this nor another monitor is told


class OffersUtilitySets(Protocol):
    """Data that make the sets of the probes."""

    def utility_sets(self) -> UtilitySets: ...


class UtilityMonitor(Monitor):
    """Fit probes on frozen features every few epochs and at the end of training.

    Works with any LightningModule and never changes training. All ranks share the work.

    Args:
        data: labelled pictures as ``UtilitySets``, or what offers them by a method ``utility_sets()``, as
            ``MemorizationData`` and our datamodules do; the trainer's datamodule if not given.
        probes: what to measure; a linear probe and nearest neighbours if not given.
        every_n_epochs: measure whenever this many more epochs are complete; if not given, as often as the trainer's
            ``MemorizationMonitor``, so that both curves have the same epochs, or every 50 without one.
        encode: as in ``MemorizationMonitor``; of a function or method that returns several layers' features
            by name, such as "encode_layers" of this package's methods, each layer is measured.
        transform: how the data show a picture to the encoder, as in ``MemorizationMonitor``.
        max_train, max_validation: use at most so many pictures, a class-balanced seeded sample.
        seed: of those samples.
        batch_size: pictures the encoder sees at once.
        num_workers: processes that decode pictures.
        folder: where ``history.csv`` and what each sample adds go; ``<trainer.default_root_dir>/utility`` if not given.
        name: prefix of the logged keys.

    Attributes:
        history: one row per measurement: ``epoch`` (number completed) and the metrics; kept in checkpoints.

    Example:
        >>> from dejavu_lightning.utility import NearestNeighborProbe
        >>> monitor = UtilityMonitor(probes=[NearestNeighborProbe(k=20)], every_n_epochs=10)  # for the Trainer
        >>> [probe.name for probe in monitor.probes]
        ['knn']
    """

    def __init__(
        self,
        data: UtilitySets | OffersUtilitySets | None = None,
        probes: Sequence[Probe | PairMeasure] | None = None,
        every_n_epochs: int | None = None,
        encode: EncodeSpec = "backbone",
        transform: Shown | None = None,
        max_train: int | None = None,
        max_validation: int | None = None,
        seed: int = 0,
        batch_size: int = 250,
        num_workers: int = 0,
        folder: str | None = None,
        name: str = "utility",
    ) -> None:
        super().__init__(
            name,
            folder,
            EVERY if every_n_epochs is None else every_n_epochs,
            max_train=max_train,
            max_validation=max_validation,
        )
        self.probes: list[Probe | PairMeasure] = (
            list(probes) if probes is not None else [LinearProbe(), NearestNeighborProbe()]
        )
        self.data, self.encode, self.transform = data, encode, transform
        self.max_train, self.max_validation, self.seed = max_train, max_validation, seed
        self.batch_size, self.num_workers = batch_size, num_workers
        self._active: UtilitySets | None = None
        self._follows = every_n_epochs is None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Measure as often as memorization is measured, where nothing else was asked for."""
        super().setup(trainer, pl_module, stage)
        if self._follows:
            others = [other for other in curves(trainer) if isinstance(other, MemorizationMonitor)]
            self.every_n_epochs = others[0].every_n_epochs if others else EVERY

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the pictures, and fail now if a later measurement would."""
        with failing_together():
            found = self._find_sets(trainer, self.data, UtilitySets, self.transform)
            self._active = found.subsample(self.max_train, self.max_validation, self.seed)
            ModuleEncoder(pl_module, self.encode).resolve()
        super().on_fit_start(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Encode a picture of each set, and measure the untrained model where another callback watches."""
        assert self._active is not None
        check_features(ModuleEncoder(pl_module, self.encode), self.probes, self._active)
        super().on_train_start(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of the datasets."""
        self._active = None

    def _measure(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> dict[str, float]:
        assert self._active is not None
        metrics, self.terms = utility_measurement(
            ModuleEncoder(pl_module, self.encode),
            self.probes,
            self._active,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
        )
        self.history.append({"epoch": float(epoch), **metrics})
        if trainer.is_global_zero:
            publish_metrics(trainer.loggers, self.name, self.history[-1], trainer.global_step)
            shown = list(estimates_in(metrics))
            publish_summary(trainer.loggers, self.name, shown, self.history, trainer.global_step)
            with self.writing(trainer):
                added = {name: terms for name, (terms,) in self.terms.items()}
                write_utility_samples(self.output(trainer), epoch, added)
                self.save_history(trainer)
        self.tell_followers(trainer)
        return metrics
