"""``memorization``: measure a checkpoint against a reference, along the path that the callback takes in training."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from dejavu_lightning.cli.trained import TrainedModel, load_model
from dejavu_lightning.memorization import Checkpoint, EmbeddingCache, MemorizationSets, Reference, symmetric_average
from dejavu_lightning.memorization.measure import Measurement, measure
from dejavu_lightning.memorization.references import completed_epochs
from dejavu_lightning.report.findings import draw_curves, draw_most_memorized, save_records
from dejavu_lightning.report.table import print_sample_gaps, print_table


def compare_checkpoints(
    target: TrainedModel, reference: TrainedModel, *, k: int | None = None, allow_unverified_split: bool = False
) -> tuple[Measurement, MemorizationSets]:
    """Measure a trained target against a trained reference, as the target's own monitor does."""
    return compare_with(target, Checkpoint(reference.file, reference.encoder, allow_unverified_split), k=k)


def compare_with(
    target: TrainedModel, reference: Reference, *, k: int | None = None
) -> tuple[Measurement, MemorizationSets]:
    """Measure a trained target against any reference, as the target's own monitor does."""
    test = target.monitor.test
    test.k = k or test.k
    sets = target.sets()
    epoch = completed_epochs(target.checkpoint)
    reference.check(sets, [epoch])
    return measure(target.encoder, test, reference, sets, epoch), sets


def memorization(arguments: list[str]) -> None:
    """Measure a checkpoint; ``arguments`` begin with "memorization"."""
    parser = ArgumentParser(prog="memorization", description="Measure a checkpoint of fit or pair against a reference.")
    parser.add_argument("--target", type=str, required=True, help="checkpoint of the model under test")
    parser.add_argument(
        "--reference",
        type=Reference | str,
        required=True,
        help="checkpoint of a model trained on the other split, or a class such as "
        "dejavu_lightning.memorization.NaiveBayes, its arguments as --reference.tags FILE",
    )
    parser.add_argument("--config", type=str | None, help="the target's config; config.yaml above it if not given")
    parser.add_argument("--reference_config", type=str | None, help="likewise for a reference that is a checkpoint")
    parser.add_argument("--k", type=int | None, help="neighbours that vote; the run's own number if not given")
    parser.add_argument("--symmetric", type=bool, default=False, help="also exchange the roles, and average")
    parser.add_argument("--allow_unverified_split", type=bool, default=False, help="see the class Checkpoint")
    parser.add_argument("--device", type=str, default="auto", help="such as cpu or cuda:1; auto takes a GPU if any")
    parser.add_argument("--cache", type=str | None, help="folder of embeddings, for another k or reference in seconds")
    parser.add_argument("--output", type=str | None, help="a new folder for metrics.json, records and figures")
    options = parser.parse_args(arguments[1:])
    output = Path(options.output) if options.output else None
    if output is not None and output.exists():
        raise SystemExit(f"error: --output {output} exists; name a new folder")
    cache = EmbeddingCache(options.cache) if options.cache else None
    target = load_model(options.target, options.config, options.device)
    target.encoder.cache = cache
    if isinstance(options.reference, str):
        reference = load_model(options.reference, options.reference_config, options.device)
        reference.encoder.cache = cache
        keywords = {"k": options.k, "allow_unverified_split": options.allow_unverified_split}
        found, sets = compare_checkpoints(target, reference, **keywords)
        name = options.reference
    elif options.symmetric or options.reference_config or options.allow_unverified_split:
        raise SystemExit(
            "error: --symmetric, --reference_config and --allow_unverified_split need a checkpoint as --reference"
        )
    else:
        found, sets = compare_with(target, parser.instantiate_classes(options).reference, k=options.k)
        name = options.reference.class_path.rpartition(".")[-1]
    metrics = dict(found.metrics)
    if options.symmetric:
        exchanged, _ = compare_checkpoints(reference, target, **keywords)
        average = symmetric_average(found.comparison, exchanged.comparison)
        for metric in target.monitor.test.controls.values():
            metrics |= {f"symmetric_{metric}{end}": average[f"{metric}{end}"] for end in ("", "_low", "_high")}
    if cache is not None:
        print(cache)
    print_table(metrics, f"{options.target} against {name}")
    if found.comparison.sample_gaps is not None:
        print_sample_gaps(found.comparison.sample_gaps.to_pylist())
    if output is not None:
        _write(output, metrics, found, sets, target, options.as_dict())


def _write(
    output: Path,
    metrics: dict[str, float],
    found: Measurement,
    sets: MemorizationSets,
    target: TrainedModel,
    options: dict[str, Any],
) -> None:
    save_records(found, output)
    row = {"epoch": float(completed_epochs(target.checkpoint)), **found.metrics}
    history = target.history()
    # The run's curve ends in this very measurement, unless it had another reference or k.
    same = bool(history) and history[-1] == row
    figures = draw_curves(history if same else [row], output) | draw_most_memorized(found, sets, output)
    facts = {
        "metrics": metrics,
        "sample_gaps": found.comparison.sample_gaps.to_pylist() if found.comparison.sample_gaps is not None else [],
        "settings": found.comparison.settings,
        "options": options,
        "command": shlex.join(sys.argv),
        "versions": {name: version(name) for name in ("torch", "lightning", "torchvision", "numpy")},
    }
    (output / "metrics.json").write_text(json.dumps(facts, indent=2))
    print("wrote " + ", ".join(str(path) for path in [output / "metrics.json", *figures.values()]))
