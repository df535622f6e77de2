"""``memorization``: measure a model against a reference, along the path that the callback takes in training."""

from __future__ import annotations

import difflib
import math
import platform
import shlex
import shutil
import sys
from argparse import ArgumentError
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import ArgumentParser

import dejavu_lightning.memorization
from dejavu_lightning import __version__, pretrained
from dejavu_lightning.cli.provenance import keep_embeddings
from dejavu_lightning.cli.trained import MeasuredModel, load_model, load_published
from dejavu_lightning.core.estimate import flatten
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.kept import KeptEmbeddings
from dejavu_lightning.figures.artifacts import draw_curves, draw_most_memorized, save_ranking, save_records
from dejavu_lightning.figures.tables import print_agreement, print_references, print_sample_gaps, print_table
from dejavu_lightning.memorization import MemorizationTest, Reference, SecondModel, symmetric_average
from dejavu_lightning.memorization.measure import Measurement, check_references, measure
from dejavu_lightning.pretrained import PretrainedModel
from dejavu_lightning.runs.measurement_folder import METRICS, write_metrics

LIBRARIES = (
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "open_clip_torch",
    "numpy",
    "transformers",
    "sentence-transformers",
)


class NamedReference(NamedTuple):
    """A reference, what the table calls it, and the second model where it is one."""

    name: str
    reference: Reference
    model: MeasuredModel | None = None


def memorization(arguments: list[str]) -> None:
    """Measure a model; ``arguments`` begin with "memorization"."""
    parser = _parser()
    _check_class_names(arguments)
    options = parser.parse_args([_full_name(before, word) for before, word in pairwise(arguments)])
    output = Path(options.output) if options.output else None
    if output is not None and output.exists() and not (options.overwrite and (output / METRICS).is_file()):
        earlier = " and holds no earlier evaluation" if options.overwrite else ""
        raise SystemExit(f"error: --output {output} exists{earlier}; name a new folder, or --overwrite true")
    built = parser.instantiate_classes(options)
    _check_options(built)
    kept = KeptEmbeddings(built.embeddings, {"versions": _versions()}) if built.embeddings else None
    target = (
        load_model(built.target, built.config, built.device, built.test, built.k)
        if isinstance(built.target, str)
        else load_published(built.target, built.config, built.device, test=built.test, k=built.k)
    )
    named = _find_reference(built.reference, built.reference_config, built, target)
    given = read_references(built.extra_references)
    extra = {name: _find_reference(one, None, built, target) for name, one in given.items()}
    second = {"reference": named.model} | {name: one.model for name, one in extra.items()}
    models = {"target": target} | {role: model for role, model in second.items() if model is not None}
    for role, model in models.items():
        print(f"{role} {model.name}: {_shown(model)}")
    keep = partial(keep_embeddings, kept, models.values()) if kept else None
    further = {name: one.reference for name, one in extra.items()}
    found, sets = _measure(target, named.reference, further, keep)
    test, estimates = target.settings.test, dict(found.estimates)
    if built.symmetric:
        assert named.model is not None
        exchanged = _second_model(target, named.model, built.allow_unverified_split)
        swapped, _ = _measure(named.model, exchanged, keep=keep)
        average = symmetric_average(found.comparison, swapped.comparison)
        estimates |= {f"symmetric_{metric}": average[metric] for metric in test.controls.values()}
    if kept is not None:
        print(kept)
    print_table(estimates, test.display, f"{target.name} against {named.name}")
    if found.extra_references:
        print_references(found.extra_references, test)
    if found.agreement:
        print_agreement(found.agreement)
    if found.comparison.sample_gaps is not None:
        print_sample_gaps(found.comparison.sample_gaps.to_pylist())
    if output is not None:
        shown = {role: _shown(model) for role, model in models.items()}
        facts = {
            "metrics": flatten(estimates),
            "headline": test.headline,
            "controls": dict(test.controls),
            "epoch": target.epoch,
            "preprocessing": shown,
            "options": options.as_dict(),
        }
        _write(output, facts, found, sets, target)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="memorization", description="Measure what a model memorized, against a reference.")
    parser.add_argument(
        "--target",
        type=PretrainedModel | str,
        required=True,
        help="checkpoint of fit or pair, or a class of dejavu_lightning.pretrained, its arguments as --target.name",
    )
    parser.add_argument(
        "--reference",
        type=PretrainedModel | Reference | str,
        required=True,
        help="the same of a model that was not trained on the attacked records, or a class such as "
        "dejavu_lightning.memorization.NaiveBayes, its arguments as --reference.tags FILE",
    )
    parser.add_argument(
        "--config",
        type=str | None,
        help="the target's config; of a checkpoint, config.yaml above it if not given. Of a model that others trained, "
        "a config of fit whose sections data and memorization say what is measured and how",
    )
    parser.add_argument(
        "--extra_references",
        type=str | None,
        help="YAML file of further references by name, each what --reference takes: the path of a checkpoint, or "
        "class_path and init_args",
    )
    parser.add_argument("--reference_config", type=str | None, help="likewise for a reference that is a checkpoint")
    parser.add_argument(
        "--test",
        type=MemorizationTest | None,
        help="another memorization test than the config's, such as LabelInference, its arguments as --test.k 50",
    )
    parser.add_argument("--k", type=int | None, help="neighbours, in place of those of the config's test")
    parser.add_argument("--symmetric", type=bool, default=False, help="also exchange the roles, and average")
    parser.add_argument(
        "--allow_unverified_split",
        type=bool,
        default=False,
        help="take a second model of which it cannot be told that it was not trained on the attacked records",
    )
    parser.add_argument("--device", type=str, default="auto", help="such as cpu or cuda:1; auto takes a GPU if any")
    parser.add_argument(
        "--embeddings", type=str | None, help="folder that keeps embeddings, for another k or reference in seconds"
    )
    parser.add_argument("--output", type=str | None, help="a new folder for metrics.json, records and figures")
    parser.add_argument("--overwrite", type=bool, default=False, help="replace the evaluation that --output holds")
    return parser


def _check_class_names(arguments: list[str]) -> None:
    """A word with arguments of its own must be a class; jsonargparse would not say which there are.

    Raises:
        ValueError: there is no such class.
    """
    models, references, tests = (
        [name for name in home.__all__ if hasattr(getattr(home, name), method)]
        for home, method in (
            (pretrained, "load"),
            (dejavu_lightning.memorization, "records"),
            (dejavu_lightning.memorization, "prepare"),
        )
    )
    choices = {"--target": models, "--reference": [*models, *references], "--test": tests}
    for option, word in pairwise(arguments):
        known = choices.get(option, [])
        if not known or not word.isidentifier() or not any(one.startswith(f"{option}.") for one in arguments):
            continue
        if word not in known:
            close = difflib.get_close_matches(word, known, n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else f"; choose from {', '.join(known)}"
            raise ValueError(f"{option} {word}: there is no such class{hint}")


def _full_name(before: str, word: str) -> str:
    return _full_class(word) if before in ("--reference", "--test") else word


def _full_class(name: str) -> str:
    """Tests and references go by their short names too; jsonargparse finds only subclasses by theirs."""
    known = isinstance(getattr(dejavu_lightning.memorization, name, None), type)
    return f"dejavu_lightning.memorization.{name}" if known else name


def read_references(file: str | None) -> dict[str, PretrainedModel | Reference | str]:
    """Further references by name, from a YAML file; none where no file is named.

    Raises:
        FileNotFoundError, ValueError: the file is not there, no YAML, or does not hold references.
    """
    if file is None:
        return {}
    if not Path(file).is_file():
        raise FileNotFoundError(f"--extra_references {file} is not a file")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--extra_references", type=dict[str, PretrainedModel | Reference | str])
    try:
        given = yaml.safe_load(Path(file).read_text())
        for one in given.values() if isinstance(given, dict) else ():
            if isinstance(one, dict) and isinstance(one.get("class_path"), str):
                one["class_path"] = _full_class(one["class_path"])
        also = parser.parse_object({"extra_references": given})
    except (yaml.YAMLError, ArgumentError) as error:
        raise ValueError(f"--extra_references {file}: {error}") from error
    found: dict[str, PretrainedModel | Reference | str] = parser.instantiate_classes(also).extra_references
    return found


def _check_options(built: Any) -> None:
    if built.k is not None and built.k < 1:
        raise SystemExit(f"error: --k must be at least 1, got {built.k}")
    if built.k is not None and built.test is not None:
        raise SystemExit("error: --k is of the config's test; of another one give --test.k")
    if built.symmetric and not (isinstance(built.target, str) and isinstance(built.reference, str)):
        raise SystemExit("error: --symmetric needs checkpoints of fit or pair as --target and --reference")
    if built.reference_config and not isinstance(built.reference, str):
        raise SystemExit("error: --reference_config needs a checkpoint as --reference")
    if built.allow_unverified_split and not (
        built.extra_references or isinstance(built.reference, PretrainedModel | str)
    ):
        raise SystemExit("error: --allow_unverified_split needs a second model as --reference, or --extra_references")


def _find_reference(
    given: PretrainedModel | Reference | str, config: str | None, built: Any, target: MeasuredModel
) -> NamedReference:
    if not isinstance(given, PretrainedModel | str):
        return NamedReference(type(given).__name__, given)
    model = (
        load_model(given, config, built.device)
        if isinstance(given, str)
        else load_published(given, device=built.device, like=target)
    )
    return NamedReference(model.name, _second_model(model, target, built.allow_unverified_split), model)


def _second_model(model: MeasuredModel, target: MeasuredModel, allow_unverified_split: bool) -> SecondModel:
    """A model as the reference of a target, shown the target's pictures in its own preprocessing."""
    own = None if model.preprocessing in (None, target.preprocessing) else target.sets(model.preprocessing)
    return SecondModel(model.encoder, model.trained_on, own, model.name, allow_unverified_split)


def _measure(
    target: MeasuredModel,
    reference: Reference,
    extra: Mapping[str, Reference] | None = None,
    keep: Callable[[MeasuredModel, MemorizationSets], None] | None = None,
) -> tuple[Measurement, MemorizationSets]:
    test, sets = target.settings.test, target.sets()
    if keep is not None:
        keep(target, sets)
    test.check(target.encoder)
    check_references(reference, extra, test, sets, [] if target.epoch is None else [target.epoch])
    return measure(target.encoder, test, reference, sets, target.epoch, extra), sets


def _versions() -> dict[str, str]:
    """Of this package, of Python, and of the libraries that are installed."""
    found = {"dejavu_lightning": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def _shown(model: MeasuredModel) -> str:
    return f"pictures of {model.preprocessing}" if model.preprocessing else "pictures as the data give them"


def _write(
    output: Path, facts: dict[str, Any], found: Measurement, sets: MemorizationSets, target: MeasuredModel
) -> None:
    if output.exists():
        shutil.rmtree(output)
    save_records(found, output)
    display = target.settings.test.display
    figures = draw_most_memorized(found, sets, output, display) | save_ranking(found, sets, output, display)
    if target.epoch is not None:
        row = {"epoch": float(target.epoch), **found.metrics}
        history = target.history()
        # The run's curve ends in this very measurement, unless it had another reference or k.
        same = bool(history) and history[-1] == row
        figures = draw_curves(history if same else [row], output, display) | figures
    facts |= {
        "sample_gaps": found.comparison.sample_gaps.to_pylist() if found.comparison.sample_gaps is not None else [],
        "agreement": [_finite(pair._asdict()) for pair in found.agreement],
        "settings": found.comparison.settings,
        "command": shlex.join(sys.orig_argv),
        "versions": _versions(),
    }
    written = write_metrics(output, facts)
    print("wrote " + ", ".join(str(path) for path in [written, *figures.values()]))
