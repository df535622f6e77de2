"""``records``: which records are memorized, over seeds and over epochs, and what predicts it."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

from dejavu_lightning.cli import typed
from dejavu_lightning.cli.errors import PlainParser
from dejavu_lightning.cli.evaluation.record_facts import Facts, config_of, facts_of_tables, read_data
from dejavu_lightning.core.intervals import RecordTerms
from dejavu_lightning.figures.record_figures import draw_events, draw_records
from dejavu_lightning.figures.tables import print_values
from dejavu_lightning.memorization.forgotten_records import forgetting
from dejavu_lightning.memorization.records_over_seeds import RecordsOverSeeds, over_seeds
from dejavu_lightning.report.collection import read_variant
from dejavu_lightning.report.panels.record_events import epoch_terms
from dejavu_lightning.report.runs import Run, named_runs
from dejavu_lightning.runs.files import write_rows
from dejavu_lightning.runs.measurement_folder import figure_file
from dejavu_lightning.runs.run_folder import StudyFolder

RECORDS, STABILITY, PREDICTORS = "records.csv", "stability.csv", "predictors.csv"


def records(arguments: list[str]) -> None:
    """Write tables and figures of single records; ``arguments`` begin with "records"."""
    options = _parser().parse_args(arguments[1:])
    output = Path(options.output)
    if output.exists() and not (
        options.overwrite and (output / RECORDS).is_file() and figure_file(output, "records").is_file()
    ):
        raise SystemExit(f"error: --output {output} exists; name a new folder, or --overwrite true for an earlier one")
    runs = _read(options)
    seeds = _terms(runs)
    facts = _facts(runs, options.data, options.distance)
    found = over_seeds(seeds, facts)
    shared = _sharing(runs)
    if shared:
        print(f"no stability of runs that share a reference, which agree for that alone: {len(shared)} pairs of runs")
    stability = [one for one in found.stability if (one.first, one.second) not in shared]
    found = found._replace(stability=stability)
    if output.exists():
        for run in options.run:
            if Path(run).resolve().is_relative_to(output.resolve()):
                raise SystemExit(f"error: --output {output} holds the run {run}; name another folder")
        shutil.rmtree(output)
    output.mkdir(parents=True)
    _write(output, found, facts)
    for name, run in runs.items():
        measured, other_records = epoch_terms(run)
        if other_records:
            print(f"{name}: {other_records}")
        if len(measured) > 1:
            events, folder = forgetting(measured), output / name
            folder.mkdir()
            write_rows(folder / "events_by_epoch.csv", [one._asdict() for one in events.epochs])
            write_rows(folder / "events_by_record.csv", [one._asdict() for one in events.records])
            draw_events(events.epochs, figure_file(folder, "events"))
    _print(found, len(runs))
    print(f"wrote {output}")


def _parser() -> PlainParser:
    parser = PlainParser(
        prog=f"{typed()} records", description="Tell which records are memorized over seeds, and what predicts it."
    )
    parser.add_argument(
        "run",
        nargs="+",
        metavar="RUN",
        help="folders of pairs, or of fits against a checkpoint, that differ in their seed; or one folder of a study",
    )
    parser.add_argument("--variant", type=str | None, help="of the study; its default if not given")
    parser.add_argument("--output", type=str, required=True, help="a new folder for tables and figures")
    parser.add_argument(
        "--data", type=bool, default=True, help="also look at crops, captions and copies, in the data of the configs"
    )
    parser.add_argument(
        "--distance",
        type=bool,
        default=True,
        help="of the data, also the distance to the nearest public picture: all attacked and public ones are decoded",
    )
    parser.add_argument("--overwrite", type=bool, default=False, help="replace the tables that --output holds")
    return parser


def _read(options: Any) -> dict[str, Run]:
    """The runs by name."""
    study = StudyFolder(options.run[0]).facts.is_file()
    if options.variant is not None and not study:
        raise SystemExit("error: --variant is of a study; of other runs give those of one variant")
    if not study:
        return named_runs([str(folder) for folder in options.run])
    if len(options.run) > 1:
        raise SystemExit(f"error: RUN {options.run[0]} is a study: give it alone, or with --variant NAME")
    folder = StudyFolder(options.run[0])
    entries = read_variant(folder.path, options.variant)
    variant = entries[0].variant
    found = {folder.run(variant, entry.seed or 0).name: entry.run for entry in entries if entry.run is not None}
    lost = [str(entry.seed) for entry in entries if entry.run is None]
    if lost:
        print(f"left out, since they failed: seed {', '.join(lost)}")
    if not found:
        raise SystemExit(f"error: all runs of {variant!r} failed")
    return found


def _terms(runs: dict[str, Run]) -> dict[str, RecordTerms]:
    """What the records of each run add to the headline gap.

    Raises:
        ValueError: a run tells nothing of single records, or runs were attacked in different ways.
    """
    found: dict[str, RecordTerms] = {}
    known: dict[str, Any] = {}
    (first, one), *_ = runs.items()
    for name, run in runs.items():
        samples = run.terms(run.test.headline)
        if run.comparison is None or len(samples) != 1:
            raise ValueError(
                f"{name}: its reference ({run.reference_kind}) does not answer for the attacked records, so nothing is "
                "known of single ones; give pairs, or fits whose reference is a checkpoint"
            )
        ours, theirs = one.target.settings, run.target.settings
        differing = {key for key in ours | theirs if ours.get(key) != theirs.get(key)}
        if differing or run.reference_kind != one.reference_kind:
            raise ValueError(f"{first} and {name} were attacked in different ways: {_listed(one, run, differing)}")
        truth = run.display.truth
        if truth:
            told = dict(zip(run.target.ids, run.target.table[truth].to_pylist(), strict=True))
            odd = [each for each in told if known.setdefault(each, told[each]) != told[each]]
            if odd:
                raise ValueError(
                    f"{name} has {odd[0]!r} as {told[odd[0]]}, runs before it as {known[odd[0]]}: an id must name one "
                    "picture in all runs, as it does not where a seed paints other pictures"
                )
        found[name] = samples[0]
    return found


def _sharing(runs: dict[str, Run]) -> set[tuple[str, str]]:
    """Pairs of runs whose references answered the same."""
    return {
        (first, second)
        for first, second in combinations(runs, 2)
        if runs[first].reference.table.equals(runs[second].reference.table)
    }


def _listed(one: Run, other: Run, keys: set[str]) -> str:
    ours, theirs = one.target.settings, other.target.settings
    told = [f"{key}: {ours.get(key)} against {theirs.get(key)}" for key in sorted(keys)]
    if one.reference_kind != other.reference_kind:
        told.append(f"reference: {one.reference_kind} against {other.reference_kind}")
    return ", ".join(told)


def _facts(runs: dict[str, Run], with_data: bool, with_distance: bool) -> Facts:
    """Of tables the mean over the runs, of the data what they say."""
    met: dict[str, dict[str, list[float]]] = {}
    for run in runs.values():
        for fact, values in facts_of_tables(run).items():
            for identifier, value in values.items():
                met.setdefault(fact, {}).setdefault(identifier, []).append(value)
    found = {fact: {one: sum(each) / len(each) for one, each in values.items()} for fact, values in met.items()}
    configs = {name: config for name, run in runs.items() if (config := config_of(run)) is not None}
    return found | (read_data(configs, with_distance) if with_data and configs else {})


def _write(output: Path, found: RecordsOverSeeds, facts: Facts) -> None:
    rows = [one.row() | {fact: values.get(one.id, "") for fact, values in facts.items()} for one in found.records]
    write_rows(output / RECORDS, rows)
    for name, correlations in ((STABILITY, found.stability), (PREDICTORS, found.predictors)):
        if correlations:
            write_rows(output / name, [one.row() for one in correlations])
    draw_records(found, figure_file(output, "records"))


def _print(found: RecordsOverSeeds, runs: int) -> None:
    attacked = Counter(one.seeds for one in found.records)
    told = ", ".join(f"{count} in {seeds} of {runs}" for seeds, count in sorted(attacked.items(), reverse=True))
    print(f"{len(found.records)} records were attacked: {told} runs")
    always = sum(one.memorized == one.seeds > 1 for one in found.records)
    if runs > 1:
        print(f"memorized in every run that attacked them, two at least: {always}")
    for title, correlations in (("Stability", found.stability), ("What predicts it", found.predictors)):
        known = {(one.second if one.first == "mean" else f"{one.first} and {one.second}"): one for one in correlations}
        values = {name: one.estimate for name, one in known.items() if one.estimate is not None}
        silent = [f"{name} ({one.records} records)" for name, one in known.items() if one.estimate is None]
        caption = f"no correlation, too few or without variation: {', '.join(silent)}" if silent else ""
        if known:
            print_values(values, f"{title}: rank correlations over records", caption)
