"""Read and check the YAML file of a study."""

from __future__ import annotations

import re
from argparse import ArgumentError
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

FOLDER_NAME = re.compile(r"\w[\w .+=@-]*(?<! )(?<!\.)")


@dataclass
class Variant:
    """One way to train.

    Args:
        configs: config files stacked behind the study's base.
        target_configs: config files of the target alone, such as an early stopping that needs a reference trained
            in full.
        overrides: values by dotted name, as options of ``fit``.
    """

    configs: list[str] = field(default_factory=list)
    target_configs: list[str] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass
class Study:
    """Variants of a training, each with several seeds.

    Args:
        name: what the report calls it.
        base: config files that all variants share.
        variants: by name, which is the name of a folder.
        default: the variant that the others are compared with.
        seeds: a pair of models is trained for each variant and seed.
        seed_keys: what a seed sets, by dotted name; data that are generated have a seed of their own.
        headline: the metric of ``comparison/metrics.json`` that the table and the report show; the net value of the
            runs' test if not given.
        utility: the metric of ``target/utility/history.csv`` that the report draws it against.
        curves: setting -> variant -> its value there: headline and utility are drawn against it, in
            ``<setting>.png`` beside the table.
        curves_utility: the utility metric that is drawn there; ``utility`` if not given.
        report: whether there are a report and a ranking of all variants; false where they attack other records on
            purpose.
        output: folder of all runs; ``runs/studies/<name>`` if not given.
        slurm: of ``--launcher slurm``, arguments of submitit's ``AutoExecutor.update_parameters``.
    """

    name: str
    base: list[str]
    variants: dict[str, Variant]
    default: str
    seeds: list[int]
    seed_keys: list[str] = field(default_factory=lambda: ["seed_everything", "data.split_seed"])
    headline: str | None = None
    utility: str | None = None
    curves: dict[str, dict[str, float]] = field(default_factory=dict)
    curves_utility: str | None = None
    report: bool = True
    output: str | None = None
    slurm: dict[str, Any] = field(default_factory=dict)


def read_study(file: str | Path, seeds: list[int] | None = None) -> Study:
    """Read and check a study's YAML file.

    Args:
        file: the YAML file.
        seeds: instead of the file's.

    Raises:
        ValueError: naming the file, the key and what is wrong with it.
    """
    try:
        text = Path(file).read_text()
        root, given = yaml.compose(text), yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no YAML: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise ValueError(f"{file}: a study has the keys name, base, variants, default and seeds; there are none")
    _refuse_duplicates(root, str(file))
    _refuse_unknown(given, str(file))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Study)
    try:
        parser.parse_string(text)
    except ArgumentError as error:
        raise ValueError(f"{file}: {error}") from None
    # Not what the parser made of it: it would build the classes that overrides name.
    study = Study(**given | {"variants": {name: Variant(**value) for name, value in given["variants"].items()}})
    if seeds is not None:
        study = replace(study, seeds=seeds)
    _check(study, str(file))
    return study


def _refuse_duplicates(node: yaml.Node, file: str) -> None:
    """Raise for a key that stands twice; PyYAML would keep the last and say nothing."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ValueError(f"{file}: {key.value!r} in line {line} is already in line {lines[key.value]}")
            lines[str(key.value)] = line
            _refuse_duplicates(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicates(value, file)


def _refuse_unknown(given: dict[str, Any], file: str) -> None:
    """Raise for an unknown key, also for one with an empty value, which the parser would take."""
    variants = given.get("variants")
    places: list[tuple[str, Any, type]] = [("", given, Study)]
    if isinstance(variants, dict):
        for name, value in variants.items():
            if not isinstance(name, str):
                raise ValueError(f"{file}: the variant {name!r} must be text; put it in quotes")
            if not isinstance(value, dict):
                raise ValueError(f"{file}: variants.{name} must hold keys such as overrides, or be {{}}; got {value!r}")
            for key, needed in (("configs", list), ("target_configs", list), ("overrides", dict)):
                if key in value and not isinstance(value[key], needed):
                    what = needed.__name__
                    raise ValueError(f"{file}: variants.{name}: {key} must be a {what}, got {value[key]!r}")
        places += [(f"variants.{name}: ", value, Variant) for name, value in variants.items()]
    for where, value, kind in places:
        offered = [known.name for known in fields(kind)]
        unknown = [key for key in value if key not in offered] if isinstance(value, dict) else []
        if unknown:
            raise ValueError(f"{file}: {where}unknown key {unknown[0]!r}; choose from {', '.join(offered)}")


def _check(study: Study, file: str) -> None:
    for key, given in (("base", study.base), ("variants", study.variants), ("seeds", study.seeds)):
        if not given:
            raise ValueError(f"{file}: {key} is empty; a study needs at least one")
    for key, values in (("seeds", study.seeds), ("seed_keys", study.seed_keys)):
        twice = [value for position, value in enumerate(values) if value in values[:position]]
        if twice:
            raise ValueError(f"{file}: {key} has {twice[0]!r} twice")
    for name in study.variants:
        if not FOLDER_NAME.fullmatch(name):
            raise ValueError(
                f"{file}: the variant {name!r} cannot be the name of a folder; use letters, digits, spaces and "
                "_ . + = @ -, beginning with a letter or digit"
            )
    for setting, places in study.curves.items():
        unknown = [variant for variant in places if variant not in study.variants]
        if unknown:
            raise ValueError(
                f"{file}: curves.{setting} names {unknown[0]!r}, which is no variant; choose from "
                f"{', '.join(study.variants)}"
            )
        if len(set(places.values())) < 2 or not FOLDER_NAME.fullmatch(setting):
            raise ValueError(f"{file}: curves.{setting} needs two values or more and a name that can be a file's")
    if study.default not in study.variants:
        raise ValueError(f"{file}: default {study.default!r} is no variant; choose from {', '.join(study.variants)}")
    for name, variant in study.variants.items():
        clash = sorted(set(variant.overrides) & set(study.seed_keys))
        if clash:
            raise ValueError(f"{file}: the variant {name!r} overrides {clash[0]!r}, which each seed sets (seed_keys)")
