"""Write the results of a study: ``study.json``, ``table.csv``, ``ranking.csv`` and tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from dejavu_lightning.core.estimate import (
    OVER_SEEDS,
    SEEDS_FOR_SPREAD,
    Estimate,
    estimates_in,
    format_p,
    net_parts,
    over_runs,
)
from dejavu_lightning.core.intervals import difference_p_value, holm, record_difference
from dejavu_lightning.core.whole_file import write_json
from dejavu_lightning.runs.files import write_rows
from dejavu_lightning.runs.history import HISTORY, measured_rows, read_history
from dejavu_lightning.runs.measurement_folder import left_out_part, read_metrics, read_terms
from dejavu_lightning.runs.run_folder import StudyFolder
from dejavu_lightning.runs.utility_samples import read_utility
from dejavu_lightning.studies.ranking import TOO_FEW, SeedResult, rank_variants
from dejavu_lightning.studies.ranking_table import print_ranking, write_ranking
from dejavu_lightning.studies.study_definition import Study
from dejavu_lightning.studies.study_runs import StudyRun
from dejavu_lightning.studies.table_cells import file_cells, shown, table_console


class RunResult(NamedTuple):
    """The metrics, utility and duration of a finished run; ``terms``: what the records of each sample add."""

    metrics: dict[str, Estimate]
    utility: dict[str, Estimate]
    seconds: float
    terms: list[dict[str, float]]


class VariantRow(NamedTuple):
    """The row of a variant, over its seeds; None where no run finished, or where there is no such number.

    ``beside`` are the gap of the attacked records and the control, by name; ``difference`` from the default, seed by
    seed, and ``p_adjusted`` of "differs from the default".
    """

    variant: str
    headline: Estimate | None
    beside: dict[str, Estimate]
    difference: Estimate | None
    p_adjusted: float | None
    utility: dict[str, Estimate]
    seconds: float | None
    finished: int
    errors: list[str]


def summarize_study(
    study: Study, runs: Sequence[StudyRun], errors: Mapping[StudyRun, str], output: Path
) -> list[VariantRow]:
    """Write ``study.json`` and ``table.csv``, print the table; likewise the ranking of variants by ``study.utility``.

    Raises:
        ValueError: a finished run lacks the study's headline or utility metric.
    """
    entries = [
        {
            "variant": run.variant,
            "seed": run.seed,
            "folder": run.folder.relative_to(output).as_posix(),
            "error": errors.get(run),
        }
        for run in runs
    ]
    finished = [run for run in runs if run not in errors]
    study = replace(study, headline=study.headline or _headline(finished))
    told = {name: getattr(study, name) for name in ("name", "default", "headline", "utility")}
    found = {run: _read(run, study) for run in finished}
    rows = _with_differences(study, [_row(study, variant, runs, found, errors) for variant in study.variants], found)
    write_json(StudyFolder(output).facts, {**told, "runs": entries})
    _save(study, rows, StudyFolder(output).table)
    _print(study, rows)
    _rank(study, found, StudyFolder(output).ranking)
    return rows


def _headline(finished: Sequence[StudyRun]) -> str:
    """That of the test which the finished runs were measured by: its net value where all of them have it."""
    facts = [read_metrics(run.files.comparison) for run in finished]
    if facts and "headline" not in facts[0]:
        raise ValueError(f"{finished[0].folder} was compared before headlines were kept: give the study a headline")
    if not facts:
        return "headline"
    headline = str(facts[0]["headline"])
    return headline if all(headline in each["metrics"] for each in facts) else net_parts(headline)[1]


def _read(run: StudyRun, study: Study) -> RunResult:
    facts = read_metrics(run.files.comparison)
    metrics = estimates_in(facts["metrics"])
    if study.headline not in metrics or metrics[study.headline].low is None:
        offered = ", ".join(sorted(name for name, estimate in metrics.items() if estimate.low is not None))
        raise ValueError(f"headline {study.headline!r} is no metric with an interval in {run.folder}; choose {offered}")
    folder = run.files.target.utility
    history, measured = folder / HISTORY, measured_rows(read_history(folder))
    utility = read_utility(folder, facts.get("epoch"), left_out_part(facts))
    for key, name in (("utility", study.utility), ("curves_utility", study.curves_utility)):
        if name is None or name in utility:
            continue
        names = [name for name in estimates_in(measured[-1]) if name != "epoch"] if measured else []
        if name in names:
            raise ValueError(f"{history} has no row of epoch {facts['epoch']}, whose model was compared")
        offered = ", ".join(names) or "none: no config has a UtilityMonitor"
        raise ValueError(f"{key} {name!r} is no metric of {history}; choose from {offered}")
    terms = read_terms(run.files.comparison, str(study.headline))
    return RunResult(metrics, utility, run.record()["seconds"], terms)


def _row(
    study: Study,
    variant: str,
    runs: Sequence[StudyRun],
    found: Mapping[StudyRun, RunResult],
    errors: Mapping[StudyRun, str],
) -> VariantRow:
    own = [found[run] for run in runs if run.variant == variant and run in found]
    failures = [error for run, error in errors.items() if run.variant == variant]
    if not own:
        return VariantRow(variant, None, {}, None, None, {}, None, 0, failures)
    headline = str(study.headline)
    parts = [name for name in net_parts(headline) if name != headline and all(name in one.metrics for one in own)]
    return VariantRow(
        variant,
        over_runs([one.metrics[headline] for one in own]),
        {name: over_runs([one.metrics[name] for one in own]) for name in parts},
        None,
        None,
        {name: over_runs([one.utility[name] for one in own]) for name in own[0].utility},
        sum(one.seconds for one in own) / len(own),
        len(own),
        failures,
    )


def _with_differences(
    study: Study, rows: Sequence[VariantRow], found: Mapping[StudyRun, RunResult]
) -> list[VariantRow]:
    """Add how much each variant differs from the default over the seeds that finished of both."""
    by_variant: dict[str, dict[int, RunResult]] = {}
    for run, result in found.items():
        by_variant.setdefault(run.variant, {})[run.seed] = result
    base = by_variant.get(study.default, {})
    differences: list[Estimate | None] = []
    for row in rows:
        own = {} if row.variant == study.default else by_variant.get(row.variant, {})
        apart = [_difference(result, base[seed], str(study.headline)) for seed, result in own.items() if seed in base]
        differences.append(over_runs(apart) if apart else None)
    p_values = holm([None if difference is None else difference_p_value(difference) for difference in differences])
    return [
        row._replace(difference=difference, p_adjusted=p_value)
        for row, difference, p_value in zip(rows, differences, p_values, strict=True)
    ]


def _difference(one: RunResult, other: RunResult, headline: str) -> Estimate:
    """Of runs of the same seed: over the records that both attacked, without interval where these are not the same."""
    paired = record_difference(one.terms, other.terms)
    return paired or Estimate(one.metrics[headline].value - other.metrics[headline].value)


def _rank(study: Study, found: Mapping[StudyRun, RunResult], file: Path) -> None:
    """Write and print the ranking, where variants are attacked alike and have a utility and seeds enough."""
    file.unlink(missing_ok=True)  # of earlier runs
    if study.utility is None or len(study.variants) < 2 or not study.report:
        return
    results: dict[str, dict[int, SeedResult]] = {variant: {} for variant in study.variants}
    for run, result in found.items():
        headline, utility = result.metrics[str(study.headline)], result.utility[study.utility]
        results[run.variant][run.seed] = SeedResult(headline.value, utility.value)
    ranked = rank_variants(results, study.default)
    if all(row.group == TOO_FEW for row in ranked):
        print(f"no ranking of variants: they and the default need {SEEDS_FOR_SPREAD} seeds that finished of both")
        return
    write_ranking(ranked, file)
    print_ranking(study, ranked)


def _utility_names(rows: Sequence[VariantRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.utility))


def _parts(rows: Sequence[VariantRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.beside))


def _save(study: Study, rows: Sequence[VariantRow], file: Path) -> None:
    lines = []
    for row in rows:
        line: dict[str, Any] = {"variant": row.variant, "default": row.variant == study.default}
        line |= {"finished": row.finished, "failed": len(row.errors)}
        headline = str(study.headline)
        line |= file_cells(headline, row.headline) | {f"{headline}_p_value": row.headline and row.headline.p_value}
        line |= {"interval": _kind(row.headline)}
        for name in _parts(rows):
            line |= file_cells(name, row.beside.get(name))
        line |= file_cells("difference", row.difference)
        line |= {"difference_p_adjusted": row.p_adjusted, "difference_interval": _kind(row.difference)}
        for name in _utility_names(rows):
            line |= file_cells(name, row.utility.get(name))
        lines.append(line | {"seconds": row.seconds, "error": "; ".join(dict.fromkeys(row.errors))})
    write_rows(file, lines)


def _kind(found: Estimate | None) -> str:
    """Name what the interval is over: seeds or records."""
    if found is None or found.low is None:
        return ""
    return "seeds" if found.kind == OVER_SEEDS else "records"


def _print(study: Study, rows: Sequence[VariantRow]) -> None:
    """Print the table; where the study names a utility, that one alone (``table.csv`` has all)."""
    names = _utility_names(rows) if study.utility is None else [study.utility]
    console, between = table_console()
    headline, parts = str(study.headline), _parts(rows)
    control = net_parts(headline)[2]
    parts += [] if control in parts else [control]
    title, caption = study.name, _caption(study, rows, names)
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("variant", overflow="fold")
    for heading in (headline, "p", *parts, f"minus {study.default}", "adjusted p", *names, "seconds", "runs"):
        table.add_column(heading, justify="right")
    for row in rows:
        mark = " (default)" if row.variant == study.default != "default" else ""
        cells = [shown(row.headline, "+", between), _p_value(row.headline.p_value if row.headline else None)]
        cells += [_part(row, name) for name in parts]
        cells += [shown(row.difference, "+", between), _p_value(row.p_adjusted)]
        cells += [shown(row.utility.get(name), "", between) for name in names]
        seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
        runs = f"{row.finished}" + (f", {len(row.errors)} failed" if row.errors else "")
        table.add_row(escape(row.variant) + mark, *cells, seconds, runs)
    console.print(table)
    for row in rows:
        for error in dict.fromkeys(row.errors):
            console.print(f"{row.variant}: {error}", markup=False, highlight=False, soft_wrap=True)


def _caption(study: Study, rows: Sequence[VariantRow], names: Sequence[str]) -> str:
    shown = [found for row in rows for found in (row.headline, row.difference, *map(row.utility.get, names))]
    intervals = sum(found is not None and found.low is not None for found in shown)
    compared = sum(row.p_adjusted is not None for row in rows)
    lines = [
        f"Intervals: {intervals}, each 95% for itself, over seeds (Student's t) of three or more; of fewer over "
        "records alone, which leaves out how training varies.",
        'p: one-sided, of "nothing is memorized", of each value by itself.',
        f'Adjusted p: two-sided, of "differs from {study.default}", Holm\'s for {compared} variants together: those '
        "below .05 hold at once. Differences are of the same seed, of fewer than three over the records that both "
        "attacked.",
        "Seconds: one pair.",
    ]
    control = net_parts(str(study.headline))[2]
    if any(row.headline is not None and control not in row.beside for row in rows):
        lines.append(
            "No held-out records: without them there is no net value, and two models that differ in ability differ "
            "here without any memory."
        )
    return " ".join(lines)


def _part(row: VariantRow, name: str) -> str:
    """The value of what stands beside the headline; its interval is in ``table.csv``."""
    if row.headline is None:
        return ""
    return f"{row.beside[name].value:+.3f}" if name in row.beside else "no held-out"


def _p_value(p_value: float | None) -> str:
    return "" if p_value is None else format_p(p_value)
