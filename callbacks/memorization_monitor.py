"""Measures memorization while a model trains. What is logged: docs/reference/metrics.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from dejavu_lightning.callbacks.monitor import Monitor
from dejavu_lightning.callbacks.publish import (
    publish_figures,
    publish_gallery,
    publish_metrics,
    publish_records,
    publish_settings,
    publish_summary,
    shows_images,
)
from dejavu_lightning.callbacks.training_samples import compare_with_split
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from dejavu_lightning.core.distributed import failing_together
from dejavu_lightning.core.estimate import estimates_in
from dejavu_lightning.core.preprocessing import Shown
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.encoders import EncodeSpec, ModuleEncoder
from dejavu_lightning.figures.artifacts import (
    draw_curves,
    draw_each_series,
    draw_most_memorized,
    draw_outcome_galleries,
    gallery_rows,
    read_answers,
    save_ranking,
    save_records,
)
from dejavu_lightning.figures.result_line import page_command, result_line, where_it_lies
from dejavu_lightning.memorization.catalog import DEFAULT_TEST
from dejavu_lightning.memorization.display import GalleryRow
from dejavu_lightning.memorization.group_column import GroupColumn, read_groups_of
from dejavu_lightning.memorization.measure import Measurement, check_references, measure
from dejavu_lightning.memorization.protocols import ChoosesNeighbors, MemorizationTest, Reference
from dejavu_lightning.memorization.references.held_out import HeldOut
from dejavu_lightning.runs.measurement_folder import epoch_folder


class OffersMemorizationSets(Protocol):
    """Data that make the sets of the tests."""

    def memorization_sets(self) -> MemorizationSets: ...


class MemorizationMonitor(Monitor):
    """Run a memorization test before training, every few epochs, and at the end of training.

    Works with any LightningModule, under ``lightning.pytorch`` and ``pytorch_lightning`` trainers, and
    never changes training: weights come out bitwise as without it. All ranks share the work.

    Args:
        data: the attacked records and the public set as ``MemorizationSets``, or what offers them by a method
            ``memorization_sets()``, as ``MemorizationData`` and our datamodules do; the trainer's datamodule if not
            given.
        test: how records are attacked.
        reference: what estimates the dataset-level correlation; ``HeldOut`` needs no second model.
        extra_references: further references by name; their metrics are logged as ``<name>/<metric>``, and how far
            they agree about which records are memorized as ``agreement/<one>/<other>``.
        every_n_epochs: measure whenever this many more epochs are complete. A measurement costs about as much
            as an epoch; shorter trainings deserve a finer curve.
        encode: how images become embeddings: None for the module's ``encode``, ``backbone`` or ``encode_image``, the
            first that it has; a dotted attribute path such as "student.backbone"; or a function
            ``(module, images) -> embeddings``. Tests that encode more than images say themselves how. Of several layers
            by name, such as "encode_layers" of this package's methods gives, ``LabelInference`` attacks each.
        transform: how the data show a picture to the encoder: the host's evaluation transform, from a PIL picture to a
            tensor, or a ``Preprocessing``; for data that make their sets.
        max_records: attack at most so many records of each set, a class-balanced seeded sample.
        max_public: likewise for the public set.
        seed: of those samples.
        folder: where records and figures go; ``<trainer.default_root_dir>/memorization`` if not given.
        figures: draw the curve, the partition and the gallery: at every measurement for a logger that shows
            images, otherwise when training ends.
        name: prefix of the logged keys; give each of several monitors its own.
        groups: a column that says which group each record is of; each measurement is broken down by it, in
            ``groups.csv`` beside its records.

    Attributes:
        history: one row per measurement: ``epoch`` (number completed) and the metrics. Travels in
            checkpoints, so a resumed run continues its curve.
        names_next_step: whether the line at the end of training is followed by the command that makes a page of it;
            ``fit`` names its own.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from dejavu_lightning.data import ImageDataModule, Scenes
        >>> from dejavu_lightning.methods import OptimizerConfig, VICReg
        >>> data = ImageDataModule(Scenes(200), per_class=4, min_crop_side=8, batch_size=20)
        >>> small = {"backbone": "small_resnet", "projector_widths": (16,), "image_size": 32}
        >>> model = VICReg(optimizer=OptimizerConfig(warmup_epochs=0), **small)
        >>> monitor = MemorizationMonitor(every_n_epochs=1, figures=False)
        >>> quiet = {"enable_progress_bar": False, "enable_model_summary": False}
        >>> trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=[monitor], **quiet)
        >>> trainer.fit(model, data)
        >>> [(row["epoch"], "score" in row) for row in monitor.history]
        [(0.0, True), (1.0, True)]
    """

    begins = True

    def __init__(
        self,
        data: MemorizationSets | OffersMemorizationSets | None = None,
        test: MemorizationTest | None = None,
        reference: Reference | None = None,
        extra_references: dict[str, Reference] | None = None,
        every_n_epochs: int = 50,
        encode: EncodeSpec = None,
        transform: Shown | None = None,
        max_records: int | None = None,
        max_public: int | None = None,
        seed: int = 0,
        folder: str | None = None,
        figures: bool = True,
        name: str = "memorization",
        groups: GroupColumn | None = None,
    ) -> None:
        super().__init__(name, folder, every_n_epochs, max_records=max_records, max_public=max_public)
        self.test: MemorizationTest = test or DEFAULT_TEST()
        self.reference, self.extra_references = reference or HeldOut(), extra_references
        self.data, self.encode, self.transform = data, encode, transform
        self.max_records, self.max_public, self.seed = max_records, max_public, seed
        self.figures, self.groups, self.names_next_step = figures, groups, True
        self._found: MemorizationSets | None = None  # all of them, and those that are measured
        self._active: MemorizationSets | None = None
        self._latest: Measurement | None = None
        self._trained_on: dict[str, Any] = {}  # what checkpoints say, also those that are saved after the training

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say which split the model is trained on, and on which pictures, so that it can serve as a reference."""
        if self._trained_on:
            checkpoint["dejavu_lightning"] = self._trained_on

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the sets, and fail now if a later measurement would."""
        with failing_together():
            self._found = self._find_sets(trainer, self.data, MemorizationSets, self.transform)
            self._active = self._found.subsample(self.max_records, self.max_public, self.seed)
            self._tell_checkpoints()
            encoder = ModuleEncoder(pl_module, self.encode)
            self.test.check(encoder)
            if self.groups is not None:
                read_groups_of(self.groups, self._active)
            check_references(self.reference, self.extra_references, self.test, self._active, self._schedule(trainer))
        sizes = f"{len(self._active.attack)} records, {len(self._active.public)} public samples"
        left_out = f"; {self._active.excluded} without background left out" if self._active.excluded else ""
        # Tests of captions say themselves what encodes.
        found = self.encode is None and encoder.path in ("encode", "backbone") and hasattr(pl_module, encoder.path)
        by = f"; encoded by its {encoder.path!r}" if found else ""
        k = self.test.chosen_k(len(self._active.public)) if isinstance(self.test, ChoosesNeighbors) else None
        near = f"; k = {k} neighbours, as no k was given" if k is not None else ""
        rank_zero_info(f"{self.name}: {sizes}{left_out}{near}{by}")
        super().on_fit_start(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare what is trained on with the split, and measure the untrained model, unless resuming."""
        self._check_split(trainer)
        super().on_train_start(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of the datasets and the latest records."""
        self._found = self._active = self._latest = None

    def _measure(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> Mapping[str, float]:
        assert self._active is not None
        encoder = ModuleEncoder(pl_module, self.encode)
        extra = self.extra_references
        found = measure(encoder, self.test, self.reference, self._active, epoch, extra, groups=self.groups)
        self.headline = found.headline
        self.history.append({"epoch": float(epoch), **found.metrics})
        folder = self.output(trainer)
        if trainer.is_global_zero:
            publish_metrics(trainer.loggers, self.name, self.history[-1], trainer.global_step)
            shown = [key for key in (found.headline, self.test.headline) if key in found.metrics]
            publish_summary(trainer.loggers, self.name, shown, self.history, trainer.global_step)
            with self.writing(trainer):
                save_records(found, epoch_folder(folder, epoch))
                self.save_history(trainer)
        if trainer.is_global_zero and self.figures and shows_images(trainer.loggers):
            display = self.test.display
            figures: dict[str, Path] = {}
            rows: list[GalleryRow] = []
            with self.drawing():
                figures |= draw_curves(self.history, folder, display)
                figures |= draw_each_series(found.estimates, folder, display)
                figures |= draw_most_memorized(found, self._active, folder, display)
                rows = gallery_rows(found, self._active, display)
            publish_figures(trainer.loggers, self.name, figures, epoch, trainer.global_step)
            publish_gallery(trainer.loggers, self.name, rows, epoch, trainer.global_step)
        self._latest, self.terms = found, found.gaps
        self.tell_followers(trainer)
        return found.metrics

    def comparable(self, epoch: int) -> bool:
        """Whether there are references for an epoch that nobody had planned, such as that of an early stop."""
        assert self._active is not None
        try:
            with failing_together():
                check_references(self.reference, self.extra_references, self.test, self._active, [epoch])
        except (ValueError, OSError) as error:
            rank_zero_warn(f"{self.name}: training ended after {epoch} epochs, which are not measured: {error}")
            return False
        return True

    def _finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch, folder = int(self.latest["epoch"]), self.output(trainer)
        with self.drawing(), self.writing(trainer):
            if self.figures:
                draw_curves(self.history, folder, self.test.display)
                draw_each_series(estimates_in(self.latest), folder, self.test.display)
            # Where the run was stopped after its last measurement, that lies on the disk.
            latest = self._latest or read_answers(epoch_folder(folder, epoch))
            if self.figures and latest is not None and self._active is not None:
                draw_most_memorized(latest, self._active, folder, self.test.display)
                draw_outcome_galleries(latest, self._active, folder, self.test.display)
                save_ranking(latest, self._active, folder, self.test.display)
        publish_records(trainer.loggers, self.name, folder, epoch, trainer.global_step)
        told = result_line(self.latest, [self.headline, self.test.headline], self.test.display)
        rank_zero_info(f"{self.name}: {told}: {where_it_lies(folder)}")
        page = page_command(folder) if self.names_next_step else ""
        if page:
            rank_zero_info(f"{self.name}: all of it on one page: {page}")

    def _tell_checkpoints(self) -> None:
        assert self._active is not None
        record, shown = self._active.trained_on, self._active.preprocessing
        self._trained_on = {} if record is None else record.state() | (shown.state() if shown else {})

    def _check_split(self, trainer: Trainer) -> None:
        """Record in the split's record, which goes into checkpoints, where it cannot be told; refuse what is wrong."""
        assert self._found is not None
        assert self._active is not None
        record, finding = self._active.trained_on, compare_with_split(trainer.train_dataloader, self._found)
        if finding.contradiction:
            remedy = "train on the attacked split alone, as by a Subset of your data set"
            if record is not None:
                raise ValueError(
                    f"{self.name}: the sets say that the model is trained on split {record.split!r}, but "
                    f"{finding.contradiction}; {remedy}, or give sets without trained_on"
                )
            rank_zero_warn(f"{self.name}: {finding.contradiction}, so what is measured is not memorization; {remedy}")
        if record is None:
            return
        # A datamodule that offers sets trains on its own split.
        given = self.data is not None and self.data is not getattr(trainer, "datamodule", None)
        if finding.doubt and given:
            record = replace(record, unverified=finding.doubt)
            self._active = replace(self._active, trained_on=record)
            self._tell_checkpoints()
            rank_zero_warn(
                f"{self.name}: checkpoints say split {record.split!r}, unverified: {finding.doubt}; give the data set "
                "that is trained on an attribute ids like that of the attacked records"
            )
        publish_settings(trainer.loggers, self.name, record.state())

    def _schedule(self, trainer: Trainer) -> list[int]:
        """Epochs still to be measured, as far as they are known."""
        last = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else trainer.current_epoch
        planned = {0, last, *range(0, last + 1, self.every_n_epochs)}
        return sorted(epoch for epoch in planned if not self.measured(epoch))
