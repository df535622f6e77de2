"""``memorization``: measure a model against a reference, along the path that the callback takes in training."""

from __future__ import annotations

import math
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from dejavu_lightning import __version__
from dejavu_lightning.cli.evaluation.layer_utility import read_layer_utility
from dejavu_lightning.cli.evaluation.leave_out import chosen_part, stored_left_out, told_left_out
from dejavu_lightning.cli.evaluation.provenance import keep_embeddings
from dejavu_lightning.cli.evaluation.several_devices import several_devices
from dejavu_lightning.cli.evaluation.trained import MeasuredModel, load_model, load_published
from dejavu_lightning.cli.memorization_options import (
    OF_CONFIG,
    check_class_names,
    check_options,
    full_name,
    memorization_parser,
    read_references,
)
from dejavu_lightning.cli.terminal.next_steps import Step, print_next_steps, report_step, utility_step
from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.core.distributed import world
from dejavu_lightning.core.estimate import Estimate, flatten
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.kept import KeptEmbeddings
from dejavu_lightning.figures.artifacts import (
    draw_curves,
    draw_each_series,
    draw_most_memorized,
    draw_outcome_galleries,
    save_ranking,
    save_records,
)
from dejavu_lightning.figures.group_intervals import draw_groups, print_groups
from dejavu_lightning.figures.tables import (
    print_agreement,
    print_references,
    print_sample_gaps,
    print_series,
    print_table,
)
from dejavu_lightning.memorization import Checkpoint, GroupColumn, Reference, SecondModel, symmetric_average
from dejavu_lightning.memorization.measure import Measurement, check_references, measure
from dejavu_lightning.pretrained import PretrainedModel
from dejavu_lightning.runs.measurement_folder import METRICS, write_metrics
from dejavu_lightning.runs.run_folder import RunFolder, config_above

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
    parser = memorization_parser()
    check_class_names(arguments)
    options = parser.parse_args([full_name(before, word) for before, word in pairwise(arguments)])
    output = Path(options.output) if options.output else None
    if output is not None and output.exists() and not (options.overwrite and (output / METRICS).is_file()):
        earlier = " and holds no earlier evaluation" if options.overwrite else ""
        raise SystemExit(f"error: --output {output} exists{earlier}; name a new folder, or --overwrite true")
    built = parser.instantiate_classes(options)
    check_options(built)
    with several_devices(built.device, built.devices, built.num_nodes) as device:
        built.device = device
        _evaluate(built, output, options.as_dict(), arguments)


def _evaluate(built: Any, output: Path | None, options: dict[str, Any], arguments: list[str]) -> None:
    kept = None
    if built.embeddings:
        kept = KeptEmbeddings(built.embeddings, {"versions": _versions()}, built.embeddings_precision)
    target = _encoding(
        built.encode,
        load_model(built.target, built.config, built.device, built.test, built.k)
        if isinstance(built.target, str)
        else load_published(built.target, built.config, built.device, test=built.test, k=built.k),
    )
    utility = read_layer_utility(built.utility, target.name) if built.utility else {}
    named = _find_reference(built.reference, built.reference_config, built, target)
    given = read_references(built.extra_references)
    extra = {name: _find_reference(one, None, built, target) for name, one in given.items()}
    second = {"reference": named.model} | {name: one.model for name, one in extra.items()}
    models = {"target": target} | {role: model for role, model in second.items() if model is not None}
    for role, model in models.items():
        if not built.allow_unequal_epochs:
            _check_epochs(target, role, model)
        print(f"{role} {model.name}: {_shown(model)}")
    keep = partial(keep_embeddings, kept, models.values()) if kept else None
    further = {name: one.reference for name, one in extra.items()}
    curves = [one for one in (named.reference, *further.values()) if isinstance(one, Checkpoint)]
    decided = [*(model.decision for model in models.values()), *(one.decision(target.epoch) for one in curves)]
    part = chosen_part(built.leave_out, decided)
    groups = target.settings.groups if built.groups == OF_CONFIG else built.groups
    found, sets = _measure(target, named.reference, part, further, keep, groups)
    if part is not None:
        print(told_left_out(found.left_out, part))
    test, estimates = target.settings.test, dict(found.estimates)
    if built.symmetric:
        assert named.model is not None
        exchanged = _second_model(target, named.model, built.allow_unverified_split)
        swapped, _ = _measure(named.model, exchanged, part, keep=keep)
        estimates |= symmetric_average(found.comparison, swapped.comparison)
    if kept is not None:
        print(kept)
    print_table(estimates, test.display, f"{target.name} against {named.name}")
    for series in test.display.series(estimates):
        print_series(series, estimates, utility, test.display)
    if found.extra_references:
        print_references(found.extra_references, test)
    if found.groups is not None:
        print_groups(found.groups, found.headline)
    if found.agreement:
        print_agreement(found.agreement)
    if found.comparison.sample_gaps is not None:
        gaps, kept_in = found.comparison.sample_gaps.to_pylist(), None if output is None else output / METRICS
        print_sample_gaps(gaps, found.comparison.settings.get("k"), kept_in)
    if output is not None and world()[0] == 0:
        facts = {
            "metrics": flatten(estimates),
            "headline": found.headline,
            "epoch": target.epoch,
            "left_out": stored_left_out(found.left_out, part),
            "preprocessing": {role: _shown(model) for role, model in models.items()},
            "options": options,
        }
        if utility:
            facts["utility"] = flatten(utility)
        _write(output, facts, found, sets, target, utility)
    print_next_steps({"target": target.name}, _next_steps(built, output, arguments))


def _next_steps(built: Any, output: Path | None, arguments: list[str]) -> list[Step]:
    """A page about the measurement, or its files first; and what the features are good for."""
    kept = Step("keep records and figures", [*arguments, "--output", "memorization"])
    steps = [kept if output is None else report_step(output)]
    run = config_above(Path(built.target)) if isinstance(built.target, str) else None
    return steps if run is None else [*steps, *utility_step(RunFolder(run.parent), Path(built.target))]


def _find_reference(
    given: PretrainedModel | Reference | str, config: str | None, built: Any, target: MeasuredModel
) -> NamedReference:
    if not isinstance(given, PretrainedModel | str):
        return NamedReference(type(given).__name__, given)
    model = _encoding(
        built.encode,
        load_model(given, config, built.device, built.test, built.k)
        if isinstance(given, str)
        else load_published(given, device=built.device, like=target),
    )
    return NamedReference(model.name, _second_model(model, target, built.allow_unverified_split), model)


def _encoding(encode: str | None, model: MeasuredModel) -> MeasuredModel:
    """A model that encodes as ``--encode`` says, in its own way where that says nothing."""
    return model if encode is None else model._replace(encoder=model.encoder.using(encode))


def _check_epochs(target: MeasuredModel, role: str, model: MeasuredModel) -> None:
    """Of two models the one that was trained longer remembers more; of published ones nobody can tell."""
    told = (target.progress, model.progress)
    if None not in told and told[0] != told[1]:
        raise ValueError(
            f"the target {target.name} was saved after {told[0]}, the {role} {model.name} after {told[1]}. Name "
            "checkpoints of one epoch, such as checkpoints/epoch=0040.ckpt of both, or --allow_unequal_epochs true"
        )


def _second_model(model: MeasuredModel, target: MeasuredModel, allow_unverified_split: bool) -> SecondModel:
    """A model as the reference of a target, shown the target's pictures in its own preprocessing."""
    own = None if model.preprocessing in (None, target.preprocessing) else target.sets(model.preprocessing)
    return SecondModel(model.encoder, model.trained_on, own, model.name, allow_unverified_split)


def _measure(
    target: MeasuredModel,
    reference: Reference,
    part: DecisionPart | None,
    extra: Mapping[str, Reference] | None = None,
    keep: Callable[[MeasuredModel, MemorizationSets], None] | None = None,
    groups: GroupColumn | None = None,
) -> tuple[Measurement, MemorizationSets]:
    test, sets = target.settings.test, target.sets()
    if keep is not None:
        keep(target, sets)
    test.check(target.encoder)
    check_references(reference, extra, test, sets, [] if target.epoch is None else [target.epoch])
    return measure(target.encoder, test, reference, sets, target.epoch, extra, part, groups), sets


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
    output: Path,
    facts: dict[str, Any],
    found: Measurement,
    sets: MemorizationSets,
    target: MeasuredModel,
    utility: Mapping[str, Estimate],
) -> None:
    if output.exists():
        shutil.rmtree(output)
    save_records(found, output)
    display = target.settings.test.display
    figures = draw_most_memorized(found, sets, output, display) | save_ranking(found, sets, output, display)
    figures |= draw_outcome_galleries(found, sets, output, display)
    figures |= draw_each_series(found.estimates, output, display, utility)
    if found.groups is not None:
        figures |= draw_groups(found.groups, output, found.headline, display)
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
