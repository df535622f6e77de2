"""``fit``: LightningCLI with a memorization monitor, a run folder and a CSV log."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    ProgressBar,
)
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dejavu_lightning import methods
from dejavu_lightning.callbacks import (
    EpochCheckpoint,
    EpochProgressBar,
    MemorizationMonitor,
    RandomState,
    RequeueBetweenBatches,
    WandbRunId,
    wandb_run_id,
)
from dejavu_lightning.callbacks.lightning.requeue import REQUEUE_SIGNALS
from dejavu_lightning.cli.configs import read_config, with_found_configs
from dejavu_lightning.cli.errors import PlainLightningParser
from dejavu_lightning.cli.terminal.next_steps import after_fit, print_next_steps
from dejavu_lightning.cli.terminal.quiet import OWN_MODELS, pass_over
from dejavu_lightning.core.checkpoint_folder import explain_folder
from dejavu_lightning.core.progress.long_work import nothing, shown_by
from dejavu_lightning.core.progress.progress_display import VARIABLE, chosen_way, display
from dejavu_lightning.core.whole_file import write_text
from dejavu_lightning.memorization import Checkpoint
from dejavu_lightning.reconstruction import EmbeddingDiffusion
from dejavu_lightning.runs.checkpoints import load_checkpoint
from dejavu_lightning.runs.run_folder import CONFIG, RunFolder

KEYWORDS = ("best", "last", "hpc", "registry")  # of Lightning, for --ckpt_path


class LogConfig(SaveConfigCallback):
    """Saves the resolved config in the run folder and tells it to the loggers."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Called on the first rank."""
        text = self.parser.dump(self.config, skip_none=False)
        write_text(Path(trainer.default_root_dir) / CONFIG, text)
        resolved = yaml.safe_load(text)
        for logger in trainer.loggers:
            logger.log_hyperparams(resolved)


class DejavuCLI(LightningCLI):
    """``model``, ``data`` and ``trainer`` as in any LightningCLI; ``memorization`` configures the monitor.

    The run folder is ``trainer.default_root_dir``. Measured epochs have a checkpoint each.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks that every run has."""
        parser.add_lightning_class_args(MemorizationMonitor, "memorization")
        parser.add_lightning_class_args(EpochCheckpoint, "checkpoint")
        parser.link_arguments("memorization.every_n_epochs", "checkpoint.every_n_epochs")

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a parser whose errors are short."""
        self.parser_class = PlainLightningParser
        return super().init_parser(**kwargs)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Only ``fit``; evaluation has commands of its own."""
        return {"fit": LightningCLI.subcommands()["fit"]}

    def before_instantiate_classes(self) -> None:
        """Refuse to mix two runs in one folder."""
        config = self.config[self.subcommand]
        _check_trainer(config.trainer)
        if config.trainer.fast_dev_run:
            # Whatever writes, writes where nobody keeps it.
            config.trainer.default_root_dir = tempfile.mkdtemp(prefix="fast_dev_run_")
            atexit.register(shutil.rmtree, config.trainer.default_root_dir, ignore_errors=True)
            config.memorization.folder = config.checkpoint.dirpath = None
        run = RunFolder(config.trainer.default_root_dir)
        if config.get("ckpt_path") == "last":  # Lightning's last is that of whichever callback saved last
            config["ckpt_path"] = str(run.last)
        if not config.get("ckpt_path") and SLURMEnvironment.detect():
            requeued = run.requeued_checkpoint()
            config["ckpt_path"] = None if requeued is None else str(requeued)
        resumed = config.get("ckpt_path")
        if resumed:
            _check_resumed(str(resumed), str(config.trainer.strategy))
        # What a run that failed before it trained left is no run.
        if getattr(rank_zero_only, "rank", 0) == 0 and run.trained:
            if not resumed:
                raise SystemExit(
                    f"error: the run folder {run.path} exists and holds a run. Name another with "
                    f"--trainer.default_root_dir, continue this one with --ckpt_path {run.resumable() or 'hpc'}, or "
                    "remove it"
                )
            run.keep_metrics()
        for logger in _as_list(config.trainer.logger):
            arguments = getattr(logger, "init_args", None)
            if arguments is not None and arguments.get("save_dir") in (None, "."):
                arguments.save_dir = str(run.path)
            if resumed and str(logger.get("class_path")).endswith("WandbLogger"):
                _continue_run(arguments, Path(resumed), run.path)

    def instantiate_classes(self) -> None:
        """Show that pictures are scanned, unless progress is not wanted."""
        silent = self.config[self.subcommand].trainer.enable_progress_bar is False
        with shown_by(nothing if silent else display):
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Put a CSV log in the run folder, beside whatever loggers are configured."""
        config = self._get(self.config_init, "trainer")
        if config.logger is not False:
            own: list[Logger] = [CSVLogger(config.default_root_dir, name="", version="")]
            kwargs["logger"] = own + _as_list(config.logger)
        callbacks = _as_list(config.callbacks)
        if config.enable_progress_bar is False or os.environ.get(VARIABLE) == "none":
            kwargs["enable_progress_bar"] = False
            # Beside one of a config Lightning would refuse to train.
            callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
        elif chosen_way() != "bars" and not any(isinstance(callback, ProgressBar) for callback in callbacks):
            callbacks.append(EpochProgressBar())  # which writes lines into a log
        for callback in callbacks:
            if isinstance(callback, (BatchSizeFinder, LearningRateFinder, GradientAccumulationScheduler)):
                raise ValueError(
                    f"trainer.callbacks: {type(callback).__name__} changes what is trained after config.yaml and the "
                    "scaled learning rate are written, and may change it otherwise in target and reference. Search "
                    "beforehand, and set data.batch_size, the optimizer's learning rate or "
                    "trainer.accumulate_grad_batches"
                )
            # Lightning would take the folder of EpochCheckpoint, whose files are told by their names.
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(RunFolder(config.default_root_dir).user_checkpoints)
        kwargs["callbacks"] = [*callbacks, RandomState(), RequeueBetweenBatches(), WandbRunId()]
        made: Any = super().instantiate_trainer(**kwargs)
        if isinstance(self.model, EmbeddingDiffusion):  # encodes nothing that could be measured
            made.callbacks[:] = [one for one in made.callbacks if not isinstance(one, MemorizationMonitor)]
        trainer: Trainer = made
        return trainer

    def before_fit(self) -> None:
        """Leave next steps to :meth:`after_fit`, and pass over what Lightning says of the loss of our models.

        Of a user's own model it may be right.
        """
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            if isinstance(callback, MemorizationMonitor):
                callback.names_next_step = False
        if type(self.model).__module__.startswith("dejavu_lightning."):
            for notice in OWN_MODELS:
                pass_over(notice)

    def after_fit(self) -> None:
        """Say where the files are and what to do next."""
        if (
            "SLURM_JOB_ID" in os.environ
        ):  # a requeue signal that comes now would end a job that is complete as a failed one
            for number in REQUEUE_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        config = self.config[self.subcommand]
        if not self.trainer.is_global_zero or config.trainer.fast_dev_run:
            return
        run = RunFolder(config.trainer.default_root_dir)
        if isinstance(self.model, EmbeddingDiffusion):
            print_next_steps({"run": run.path, "checkpoints": run.checkpoints}, [])
            return
        reference = self._get(self.config_init, "memorization").reference
        folder = Path(reference.path) if isinstance(reference, Checkpoint) else None
        split = getattr(self.datamodule, "train_on", None)
        after_fit(run, split, folder, not _as_list(config.trainer.logger))


def fit(arguments: list[str]) -> None:
    """Train one model; ``arguments`` begin with "fit"."""
    arguments = with_found_configs(arguments)
    _check_method_names(arguments)
    try:
        _run(arguments)
    except SIGTERMException as error:  # a SystemExit without a code, which would pass for a training that ended
        raise SystemExit(
            "error: stopped by SIGTERM; continue with --ckpt_path, or by the same command again"
        ) from error


def _run(arguments: list[str]) -> None:
    DejavuCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=LogConfig,
        save_config_kwargs={"save_to_log_dir": False},
        trainer_defaults={"default_root_dir": "runs/default", "enable_model_summary": False},
        seed_everything_default=0,
        load_from_checkpoint_support=False,
        auto_configure_optimizers=False,
        args=arguments,
    )


def _check_method_names(arguments: list[str]) -> None:
    """A method may be named without its package; a misspelt one should be told what there is."""
    named = []
    for name, value in pairwise([*(part for a in arguments for part in a.split("=", 1)), ""]):
        if name in ("--model", "--model.class_path"):
            named.append(value)
        elif name in ("--config", "-c") and Path(value).is_file():
            model = read_config(value).get("model")
            named.append(model.get("class_path", "") if isinstance(model, dict) else str(model or ""))
    for name in named:
        own = name.removeprefix("dejavu_lightning.methods.")
        if own and "." not in own:
            try:
                getattr(methods, own)
            except AttributeError as error:
                raise SystemExit(f"error: {error}") from None


def _check_resumed(name: str, strategy: str) -> None:
    """Refuse now a checkpoint that Lightning could not resume from.

    Raises:
        FileNotFoundError, ValueError: it is not there, is a folder that the strategy does not read, or no checkpoint.
    """
    path = Path(name)
    if name in KEYWORDS or "://" in name:
        return
    if not path.exists():
        raise FileNotFoundError(f"--ckpt_path {name}: there is no such checkpoint")
    if path.is_dir():
        if not re.search("fsdp|deepspeed|modelparallel", strategy.replace("_", "").lower()):
            raise ValueError(f"--ckpt_path: {explain_folder(path)}")
    else:
        load_checkpoint(path)


def _continue_run(arguments: Any, checkpoint: Path, folder: Path) -> None:
    """Log to the W&B run that a checkpoint of this very run folder is of, unless another is named."""
    named = arguments.get("id") or arguments.get("version") or os.environ.get("WANDB_RUN_ID")
    if not named and checkpoint.is_file() and folder.resolve() in checkpoint.resolve().parents:
        arguments.id = wandb_run_id(load_checkpoint(checkpoint))


def _check_trainer(options: Any) -> None:
    """Refuse options of Lightning's trainer with which nothing would be trained, kept or measured.

    Raises:
        ValueError: naming the option.
    """
    refused = {
        "barebones": (options.barebones, "leaves out every callback, so that nothing is measured or kept"),
        "enable_checkpointing": (
            options.enable_checkpointing is False,
            "keeps nothing to resume from or to compare; to keep little, raise checkpoint.every_n_epochs; to try "
            "whether a config runs, trainer.fast_dev_run",
        ),
        "limit_train_batches": (options.limit_train_batches == 0, "trains on nothing"),
        "max_epochs": (options.max_epochs == 0, "trains on nothing"),
        "max_steps": (options.max_steps == 0, "trains on nothing"),
    }
    for name, (given, reason) in refused.items():
        if given:
            raise ValueError(f"trainer.{name}={str(options[name]).lower()} {reason}")


def _as_list(value: Any) -> list[Any]:
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
