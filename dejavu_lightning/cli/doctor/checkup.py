"""``doctor``: whether a config of ``fit`` will run, on what, and for how long."""

from __future__ import annotations

import argparse
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from dejavu_lightning.callbacks import MemorizationMonitor
from dejavu_lightning.cli import typed
from dejavu_lightning.cli.configs import with_found_configs
from dejavu_lightning.cli.doctor.check_results import CheckResult, checking, print_results
from dejavu_lightning.cli.doctor.data_checks import (
    check_attacked,
    check_duplicates,
    check_files,
    check_sizes,
    check_splits,
)
from dejavu_lightning.cli.doctor.machine_checks import (
    check_accelerator,
    check_folder,
    check_packages,
    check_space,
)
from dejavu_lightning.cli.doctor.training_length import batches_of_epoch, count_devices, steps_and_batches
from dejavu_lightning.cli.doctor.trial import Timing, time_measurement, time_training
from dejavu_lightning.cli.fit import DejavuCLI
from dejavu_lightning.core.samples import DisplayableSamples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.data.cached_views import FrozenPart
from dejavu_lightning.embedding.encoders import ModuleEncoder
from dejavu_lightning.figures.gallery import draw_gallery
from dejavu_lightning.memorization.display import GalleryRow
from dejavu_lightning.memorization.measure import check_references, named_references
from dejavu_lightning.runs.run_folder import SHEET

SHOWN = 8
ALONE = {"devices": 1, "num_nodes": 1, "strategy": "auto", "plugins": None, "callbacks": [], "logger": False}
# Settings of the trainer that decide how long a step takes.
TIMED = (
    "accelerator",
    "devices",
    "precision",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "benchmark",
    "deterministic",
    "limit_train_batches",
)
EPOCHS = 100  # of the trial at least, so that it is not over before it is timed


class CheckupCLI(DejavuCLI):
    """Builds what a config describes, on one device and in a folder that goes, and trains nothing.

    Args:
        found: takes what the config itself tells.
        folder: whatever is written is written there.
    """

    def __init__(self, found: list[CheckResult], folder: Path, **arguments: Any) -> None:
        self.found, self.folder = found, folder
        self.asked: dict[str, Any] = {}
        super().__init__(LightningModule, LightningDataModule, **arguments)

    def before_instantiate_classes(self) -> None:
        """Check what the config asks of the machine, then ask for less."""
        config = self.config[self.subcommand]
        self.asked = yaml.safe_load(self._parser(self.subcommand).dump(config, skip_none=False))
        trainer = self.asked["trainer"]
        self.found += [check_folder(trainer["default_root_dir"]), check_accelerator(trainer)]
        self.found += check_packages(self.asked)
        for name, value in {**ALONE, "default_root_dir": str(self.folder)}.items():
            config.trainer[name] = value
        if self.found[1].state == "problem":
            config.trainer.accelerator = "cpu"
        config.ckpt_path = None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make one that only holds the settings."""
        return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=str(self.folder))

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is run."""


def doctor(arguments: list[str]) -> None:
    """Check a config; ``arguments`` begin with "doctor", what it does not know are options of ``fit``.

    Raises:
        SystemExit: with 1, where there is a problem.
    """
    configs = list(takewhile(lambda word: not word.startswith("-"), arguments[1:]))
    parser = argparse.ArgumentParser(
        prog=f"{typed()} doctor",
        usage="%(prog)s CONFIG [CONFIG ...] [options]",
        description="Check a config of fit, without training. Takes all options of fit, such as --config FILE or "
        "--data.batch_size N.",
        allow_abbrev=False,
    )
    parser.add_argument("--sheet", default=SHEET, help="picture of eight records, with boxes and crops")
    parser.add_argument("--output", help="folder of pair, in place of the config's trainer.default_root_dir")
    parser.add_argument("--seconds", type=float, default=8.0, help="to time each of loading and training")
    options, rest = parser.parse_known_args(arguments[1 + len(configs) :])
    if options.output is not None:
        rest += ["--trainer.default_root_dir", options.output]
    if not configs and not any(word.partition("=")[0] in ("--config", "-c") for word in rest):
        raise SystemExit("error: name a config of fit: doctor CONFIG, such as configs/quickstart.yaml")
    given = with_found_configs(["fit", *(word for name in configs for word in ("--config", name)), *rest])
    found: list[CheckResult] = []
    with tempfile.TemporaryDirectory(prefix="doctor_") as folder, _without_lightnings_notices():
        _examine(given, found, Path(folder), Path(options.sheet), options.seconds)
    print_results(found)
    if any(one.state == "problem" for one in found):
        raise SystemExit(1)


def _examine(given: list[str], found: list[CheckResult], folder: Path, sheet: Path, seconds: float) -> None:
    built: CheckupCLI | None = None
    with checking("config", found, "correct the config; --debug shows the traceback"):
        built = CheckupCLI(
            found,
            folder,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            trainer_defaults={"default_root_dir": "runs/default", "enable_model_summary": False},
            seed_everything_default=0,
            load_from_checkpoint_support=False,
            auto_configure_optimizers=False,
            args=given,
        )
    if built is None:
        return
    config, data, model = built.config["fit"], built.datamodule, built.model
    monitor: MemorizationMonitor = built._get(built.config_init, "memorization")
    asked = built.asked["data"].get("init_args") or {}
    with checking("data", found, "see the message"):
        found.append(check_files(data))
        found += [*check_splits(data, asked), *check_sizes(data), *check_duplicates(data)]
    sets: MemorizationSets | None = None
    with checking("attacked records", found, "see the message"):
        offered: MemorizationSets = data.memorization_sets()
        sets = offered.subsample(monitor.max_records, monitor.max_public, monitor.seed)
        found += check_attacked(sets, asked, monitor.test)
    if sets is not None:
        with checking("measurement", found, "correct the section memorization"):
            monitor.test.check(ModuleEncoder(model, monitor.encode))
            check_references(monitor.reference, monitor.extra_references, monitor.test, sets, [])
        with checking("sheet", found, "every picture must open; broken: skip leaves out files that do not"):
            found.append(_draw(sets, sheet))
    settings = {name: config.trainer[name] for name in TIMED}
    epochs = _epochs(built.asked["trainer"])
    timing = Timing()
    with checking("training", found, "the run would end like this"):
        timing = time_training({**settings, "max_epochs": max(EPOCHS, epochs or 0)}, model, data, seconds, folder)
        found += _training(timing, built.asked, epochs)
    if cached := getattr(data, "cached_views", 0):
        with checking("cached views", found, "see the message"):
            found.append(_cached(cached, data, model))
    if sets is not None and not math.isnan(timing.batch):
        with checking("measuring", found, "the run would end like this"):
            found.append(_measuring(model, monitor, sets, epochs))
    if timing.checkpoint:
        kept = 1 + len(_measured(epochs or 0, monitor.every_n_epochs))
        found.append(check_space(built.asked["trainer"]["default_root_dir"], timing.checkpoint, kept))


def _training(timing: Timing, asked: Mapping[str, Any], epochs: int | None) -> list[CheckResult]:
    """How fast samples come and steps are, and how long the training takes on the devices that are asked for."""
    batch = (asked["data"].get("init_args") or {}).get("batch_size")
    loader = f"{timing.samples:.0f} samples a second from the loader alone"
    found = []
    if math.isnan(timing.samples):
        found.append(CheckResult("loader", "not timed: an epoch has too few batches"))
    elif batch and timing.samples and batch / timing.samples > timing.batch / 2:
        share = min(1.0, batch / timing.samples / timing.batch)
        remedy = "data.num_workers near the number of cores"
        found.append(CheckResult("loader", f"{loader}, {share:.0%} of a step's time", "note", remedy))
    else:
        found.append(CheckResult("loader", loader))
    trainer = asked["trainer"]
    together = int(trainer.get("accumulate_grad_batches") or 1)
    told = f"{timing.batch * together:.3g} s a step"
    devices = count_devices(trainer) * int(trainer.get("num_nodes") or 1)
    each = batches_of_epoch(timing.batches, devices, trainer.get("limit_train_batches"))
    if epochs is None or math.isinf(each):
        unknown = "trainer.max_epochs says not how long" if epochs is None else "the length of an epoch is unknown"
        return [*found, CheckResult("training", f"{told}; {unknown}", "note")]
    steps, batches = steps_and_batches(int(each), epochs, together, trainer.get("max_steps"))
    on = f" on {devices} devices" if devices > 1 else ""
    told += f", {steps:,} steps in {epochs} epochs{on}: {_hours(batches * timing.batch)}"
    return [*found, CheckResult("training", told + (", if devices do not slow each other" if on else ""))]


def _cached(views: int, data: LightningDataModule, model: LightningModule) -> CheckResult:
    """What the trial leaves out where training is on cached features; raises where the model has no frozen part."""
    if isinstance(model, FrozenPart):
        side = data.preprocessing.image_size  # type: ignore[attr-defined]
        with torch.no_grad():
            model.frozen_features(torch.zeros(2, 3, side, side, device=model.device))
        told = (
            f"the training was timed on pictures: with data.cached_views={views} its steps are faster, and before the "
            f"first {views} views of every training picture are computed, which is not in the hours above"
        )
        return CheckResult("cached views", told)
    remedy = "train a model that has it, such as ours with model.freeze=backbone, or leave data.cached_views out"
    told = f"data.cached_views={views}, and {type(model).__name__} has no frozen_features(images)"
    return CheckResult("cached views", told, "problem", remedy)


def _measuring(
    model: LightningModule, monitor: MemorizationMonitor, sets: MemorizationSets, epochs: int | None
) -> CheckResult:
    references = named_references(monitor.reference, monitor.extra_references).values()
    # A second model is attacked as the target is; whatever else answers is about as fast.
    models = 1 + sum(reference.paired for reference in references)
    each = time_measurement(model, monitor.encode, monitor.test, sets, models)
    times = len(_measured(epochs or 0, monitor.every_n_epochs))
    told = f"about {_hours(each)} a measurement, {times} of them: {_hours(each * times)}"
    return CheckResult("measuring", told)


def _measured(epochs: int, every: int) -> set[int]:
    """The epochs that are measured: before training, at the cadence and at the end."""
    return {0, epochs, *range(0, epochs + 1, every)}


def _draw(sets: MemorizationSets, sheet: Path) -> CheckResult:
    attack = sets.attack
    if not isinstance(attack, DisplayableSamples):
        return CheckResult("sheet", f"a {type(attack).__name__} cannot show its records", "note", "add display()")
    count = min(SHOWN, len(attack))
    rows = []
    for position in (number * len(attack) // count for number in range(count)):
        record = attack.display(position)
        right = frozenset(record.named if record.caption else record.objects)
        rows.append(GalleryRow(str(attack.ids[position]), record, right, (), ()))
    drawn = draw_gallery(rows, sheet, f"{count} of {len(attack)} attacked records")
    return CheckResult("sheet", f"wrote {drawn}: do boxes, crops, labels and captions fit?")


def _epochs(trainer: Mapping[str, Any]) -> int | None:
    epochs = trainer.get("max_epochs")
    return int(epochs) if epochs and epochs > 0 else None


def _hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


@contextmanager
def _without_lightnings_notices() -> Iterator[None]:
    """The trial is not the run: what Lightning says of it is of no use."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
