"""A model to be measured, with the data and the measurement: as a run of ours left it, or as others published it."""

from __future__ import annotations

import difflib
import inspect
import json
import pydoc
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_type_hints

import torch
import yaml
from lightning.pytorch import LightningDataModule, LightningModule

from dejavu_lightning import pretrained
from dejavu_lightning.cli.configs import host_data
from dejavu_lightning.cli.errors import PlainLightningParser
from dejavu_lightning.core.checkpoint_folder import explain_folder, is_sharded
from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import SplitRecord
from dejavu_lightning.embedding.encoders import EncodeSpec, ModuleEncoder
from dejavu_lightning.memorization.catalog import DEFAULT_TEST
from dejavu_lightning.memorization.group_column import GroupColumn
from dejavu_lightning.memorization.protocols import MemorizationTest
from dejavu_lightning.runs.checkpoints import checkpoint_names, completed_epochs, load_checkpoint, training_progress
from dejavu_lightning.runs.run_folder import CONFIG, RunFolder, config_above
from dejavu_lightning.utility import UtilitySets


class MeasuredData(Protocol):
    """A datamodule, or a host's data, that offers the pictures of both kinds of measurement."""

    def memorization_sets(self, preprocessing: Preprocessing | None = None) -> MemorizationSets: ...

    def utility_sets(self) -> UtilitySets: ...


@dataclass(frozen=True)
class MeasurementSettings:
    """What a config's section ``memorization`` says of one measurement; arguments as in ``MemorizationMonitor``."""

    test: MemorizationTest = field(default_factory=DEFAULT_TEST)
    encode: EncodeSpec = None
    max_records: int | None = None
    max_public: int | None = None
    seed: int = 0
    groups: GroupColumn | None = None


class MeasuredModel(NamedTuple):
    """A model, what it is measured on and how.

    Attributes:
        name: what tables and errors call it.
        preprocessing: of the pictures it is shown; None for that of the data.
        model_settings, data_settings: how model and data were built, defaults included.
        checkpoint: what its run left, if it was a run of ours.
    """

    name: str
    encoder: ModuleEncoder
    data: MeasuredData
    settings: MeasurementSettings
    preprocessing: Preprocessing | None
    model_settings: Any
    data_settings: Any
    checkpoint: dict[str, Any] | None = None

    @property
    def trained_on(self) -> SplitRecord | None:
        """What the model itself says of its training data; published ones say nothing."""
        return SplitRecord.find(self.checkpoint or {})

    @property
    def decision(self) -> DecisionPart | None:
        """The samples that decided when its run stopped, None where none did."""
        return DecisionPart.find(self.checkpoint)

    @property
    def epoch(self) -> int | None:
        """How many epochs it has completed, if it was a run of ours; None within an epoch."""
        return None if self.checkpoint is None else completed_epochs(self.checkpoint)

    @property
    def progress(self) -> str | None:
        """How long it was trained, such as "8 epochs"; None where nobody can tell."""
        return None if self.checkpoint is None else training_progress(self.checkpoint)

    def sets(self, preprocessing: Preprocessing | None = None) -> MemorizationSets:
        """The attacked and public sets, those of the run's own measurements.

        Args:
            preprocessing: of another model that is shown the same pictures; this model's own if not given.
        """
        shown = preprocessing or self.preprocessing
        # A datamodule of a user's own need not offer another than its own.
        sets = self.data.memorization_sets() if shown is None else self.data.memorization_sets(shown)
        self._check(sets.trained_on)
        return sets.subsample(self.settings.max_records, self.settings.max_public, self.settings.seed)

    def utility_sets(self) -> UtilitySets:
        """The pictures that probes learn from and are tested on."""
        sets = self.data.utility_sets()
        self._check(sets.trained_on)
        return sets

    def _check(self, given: SplitRecord | None) -> None:
        if self.trained_on is not None and self.trained_on != given:
            raise ValueError(f"{self.name} was trained on {self.trained_on}, the data of its config give {given}")

    def history(self) -> list[dict[str, float]]:
        """The curve that the run measured, as far as the checkpoint."""
        states = (self.checkpoint or {}).get("callbacks", {})
        found = [state for key, state in states.items() if key.startswith("MemorizationMonitor")]
        return list(found[0]["history"]) if found else []


def load_model(
    file: str,
    config: str | None = None,
    device: str = "auto",
    test: MemorizationTest | None = None,
    k: int | None = None,
) -> MeasuredModel:
    """Rebuild a trained model from its checkpoint and its run's resolved config.

    Args:
        file: a checkpoint.
        config: the config; if not given, the nearest ``config.yaml`` in the folders above the checkpoint.
        device: where the model is put, as torch names it; "auto" is a GPU where there is one.
        test: instead of the config's.
        k: neighbours, instead of those of the config's test.
    """
    path = Path(file)
    if path.is_dir():
        raise ValueError(_explain_checkpoint_folder(path))
    if not path.is_file():
        classes = [
            name for name in pretrained.__all__ if issubclass(getattr(pretrained, name), pretrained.PretrainedModel)
        ]
        close = difflib.get_close_matches(file, classes, n=2)
        hint = f"; did you mean the class {' or '.join(close)}?" if close else ""
        raise FileNotFoundError(f"there is no checkpoint {file}{hint}")
    source = Path(config) if config else config_above(path)
    if source is None or not source.is_file():
        lacking = config or f"{CONFIG} in a folder above it"
        raise FileNotFoundError(f"no config for {file}: {lacking} does not exist")
    built = build_sections(source, ("model", "data", "memorization"), k)
    settings = replace(built.memorization, test=test or built.memorization.test)
    checkpoint = load_checkpoint(path, intact=True)
    encoder = ModuleEncoder(built.model.to(chosen_device(device)), settings.encode)
    encoder.load(checkpoint["state_dict"], file)
    given = (built.settings["model"], built.settings["data"])
    return MeasuredModel(file, encoder, built.data, settings, _own(built.data), *given, checkpoint)


def _explain_checkpoint_folder(folder: Path) -> str:
    held = RunFolder(folder).checkpoints if RunFolder(folder).checkpoints.is_dir() else folder
    files = checkpoint_names(held)
    if is_sharded(folder) or not files:
        return explain_folder(folder)
    return f"{folder} is a folder; name one of the checkpoints in {held}: {', '.join(files[-5:])}"


def load_published(
    model: pretrained.PretrainedModel,
    config: str | None = None,
    device: str = "auto",
    like: MeasuredModel | None = None,
    test: MemorizationTest | None = None,
    k: int | None = None,
) -> MeasuredModel:
    """A model that others trained.

    Args:
        config: of ``fit``, for the sections ``data`` and ``memorization``.
        device: where the model is put, as in :func:`load_model`.
        like: take its data and measurement instead of a config's.
        test, k: as in :func:`load_model`.
    """
    if like is not None:
        data, settings, data_settings = like.data, like.settings, like.data_settings
    elif config is None or not Path(config).is_file():
        raise FileNotFoundError(
            f"{type(model).__name__} does not say on which pictures it is measured: name by --config a config of fit, "
            f"whose sections data and memorization are used; got {config}"
        )
    else:
        built = build_sections(Path(config), ("data", "memorization"), k)
        data, settings = built.data, replace(built.memorization, test=test or built.memorization.test)
        data_settings = built.settings["data"]
    loaded = model.load()
    shown = loaded.preprocessing or _own(data)
    if isinstance(data, host_data()) and data.transform is not None:
        shown = getattr(model, "preprocessing", None)  # the host's own transform, unless the user says another
    encoder = ModuleEncoder(loaded.module.to(chosen_device(device)), loaded.encode)
    made_with = {"class": f"{type(model).__module__}.{type(model).__qualname__}", **vars(model)}
    return MeasuredModel(loaded.name, encoder, data, settings, shown, made_with, data_settings)


def build_sections(config: Path, sections: tuple[str, ...], k: int | None = None) -> Any:
    """Build some sections of a config of ``fit``, as attributes; ``memorization`` as :class:`MeasurementSettings`.

    The attribute ``settings`` has what model and data were made with.

    Args:
        k: replaces that of the config's test.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it lacks a section.
    """
    if not config.is_file():
        raise FileNotFoundError(f"there is no config {config}")
    try:
        saved = yaml.safe_load(config.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{config} is no YAML: {error}") from error
    lacking = [section for section in sections if section not in saved]
    if lacking:
        raise ValueError(f"{config} has no section {', '.join(lacking)}; it has {', '.join(saved)}")
    given = {section: saved[section] for section in sections}
    if "memorization" in given:
        known = {setting.name for setting in fields(MeasurementSettings)}
        given["memorization"] = {key: value for key, value in (given["memorization"] or {}).items() if key in known}
        if k is not None:
            _replace_k(given["memorization"], k)
    parser = PlainLightningParser(exit_on_error=True)
    if "model" in sections:
        parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    add_data(parser, given["data"])
    parser.add_class_arguments(MeasurementSettings, "memorization")
    parsed = parser.parse_object(given)
    built = parser.instantiate_classes(parsed)
    parsed.pop("memorization")  # whose default test is no text
    built.settings = json.loads(parser.dump(parsed, format="json", skip_validation=True))
    if isinstance(built.data, host_data()):
        built.settings["data"]["transform_from"] = _module_file(built.settings["data"]["init_args"].get("transform"))
    return built


def _module_file(transform: Any) -> str | None:
    """The file that a transform is named in, by whose content kept embeddings tell it from others."""
    path = transform.get("class_path") if isinstance(transform, Mapping) else transform
    module, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    return getattr(sys.modules.get(module), "__file__", None) if name else None


def add_data(parser: PlainLightningParser, section: Any) -> None:
    """Let a parser take the section ``data``: a datamodule, or what makes a host's ``MemorizationData``.

    Args:
        section: what a config has there. A parser that took either would not tell what is wrong with one.
    """
    path = section.get("class_path") if isinstance(section, Mapping) else section
    kind = host_data() if _makes_host_data(str(path)) else LightningDataModule
    parser.add_subclass_arguments(kind, "data", fail_untyped=False, required=True)


def _makes_host_data(path: str) -> bool:
    """Whether a dotted path names a function that says that it returns ``MemorizationData``."""
    try:
        found = pydoc.locate(path)
        return inspect.isroutine(found) and get_type_hints(found).get("return") is host_data()
    except (pydoc.ErrorDuringImport, NameError, TypeError):
        return False


def _replace_k(memorization: dict[str, Any], k: int) -> None:
    default = f"{DEFAULT_TEST.__module__}.{DEFAULT_TEST.__name__}"
    test = memorization.get("test") or {"class_path": default}
    memorization["test"] = {**test, "init_args": {**(test.get("init_args") or {}), "k": k}}


def _own(data: MeasuredData) -> Preprocessing | None:
    """What a datamodule shows of itself; one of a user's own need not say."""
    shown = getattr(data, "preprocessing", None)
    return shown if isinstance(shown, Preprocessing) else None


def chosen_device(name: str) -> str:
    """What ``--device`` means: "auto" is a GPU where there is one.

    Raises:
        ValueError: there is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"--device {name} cannot be used: {reason}; say auto, cpu, or such as cuda:1") from error
    return name
