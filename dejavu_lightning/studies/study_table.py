"""Write the results of a study: ``study.json``, ``table.csv`` and a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dejavu_lightning.core.estimate import SEEDS_FOR_SPREAD, Estimate, estimates_in, over_runs
from dejavu_lightning.runs.files import write_json, write_rows
from dejavu_lightning.runs.history import HISTORY, read_history
from dejavu_lightning.runs.measurement_folder import left_out_part, read_metrics
from dejavu_lightning.runs.run_folder import StudyFolder
from dejavu_lightning.runs.utility_samples import read_utility
from dejavu_lightning.studies.study_definition import Study
from dejavu_lightning.studies.study_runs import StudyRun

CAPTION = (
    "95% interval: over seeds (Student's t) of three or more; of fewer, over records alone (bootstrap), which leaves "
    "out how training varies. Seconds: one pair."
)
FILE_WIDTH = 130  # columns of a table that goes into a file, and from which on a row takes one line


class RunResult(NamedTuple):
    """The metrics, utility and duration of a finished run; ``control`` names the control of its headline, if any."""

    metrics: dict[str, Estimate]
    utility: dict[str, Estimate]
    seconds: float
    control: str | None


class VariantRow(NamedTuple):
    """The row of a variant, over its seeds; None where no run finished."""

    variant: str
    headline: Estimate | None
    control: Estimate | None
    utility: dict[str, Estimate]
    seconds: float | None
    finished: int
    errors: list[str]


def summarize_study(
    study: Study, runs: Sequence[StudyRun], errors: Mapping[StudyRun, str], output: Path
) -> list[VariantRow]:
    """Write ``study.json`` and ``table.csv``, print the table.

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
    rows = [_row(study, variant, runs, found, errors) for variant in study.variants]
    write_json(StudyFolder(output).facts, {**told, "runs": entries})
    _save(study, rows, StudyFolder(output).table)
    _print(study, rows)
    return rows


def _headline(finished: Sequence[StudyRun]) -> str:
    """That of the test which the finished runs were measured by."""
    facts = [read_metrics(run.files.comparison) for run in finished[:1]]
    if facts and "headline" not in facts[0]:
        raise ValueError(f"{finished[0].folder} was compared before headlines were kept: give the study a headline")
    return str(facts[0]["headline"]) if facts else "headline"


def _read(run: StudyRun, study: Study) -> RunResult:
    facts = read_metrics(run.files.comparison)
    metrics = estimates_in(facts["metrics"])
    if study.headline not in metrics or metrics[study.headline].low is None:
        offered = ", ".join(sorted(name for name, estimate in metrics.items() if estimate.low is not None))
        raise ValueError(f"headline {study.headline!r} is no metric with an interval in {run.folder}; choose {offered}")
    folder = run.files.target.utility
    history, measured = folder / HISTORY, read_history(folder)
    utility = read_utility(folder, facts.get("epoch"), left_out_part(facts))
    if study.utility is not None and study.utility not in utility:
        names = [name for name in estimates_in(measured[-1]) if name != "epoch"] if measured else []
        offered = ", ".join(names)
        if study.utility in names:
            raise ValueError(f"{history} has no row of epoch {facts['epoch']}, whose model was compared")
        raise ValueError(
            f"utility {study.utility!r} is no metric of {history}; choose from "
            f"{offered or 'none: no config has a UtilityMonitor'}"
        )
    controls = facts.get("controls", {})
    control = next((name for name, metric in controls.items() if metric == study.headline and name in metrics), None)
    return RunResult(metrics, utility, run.record()["seconds"], control)


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
        return VariantRow(variant, None, None, {}, None, 0, failures)
    control = own[0].control
    return VariantRow(
        variant,
        over_runs([one.metrics[str(study.headline)] for one in own]),
        over_runs([one.metrics[control] for one in own]) if control and all(one.control for one in own) else None,
        {name: over_runs([one.utility[name] for one in own]) for name in own[0].utility},
        sum(one.seconds for one in own) / len(own),
        len(own),
        failures,
    )


def _utility_names(rows: Sequence[VariantRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.utility))


def _save(study: Study, rows: Sequence[VariantRow], file: Path) -> None:
    lines = []
    for row in rows:
        line: dict[str, Any] = {"variant": row.variant, "default": row.variant == study.default}
        line |= {"finished": row.finished, "failed": len(row.errors)}
        line |= _cells(str(study.headline), row.headline) | {"interval": _kind(row.finished)}
        line |= _cells("control", row.control)
        for name in _utility_names(rows):
            line |= _cells(name, row.utility.get(name))
        lines.append(line | {"seconds": row.seconds, "error": "; ".join(dict.fromkeys(row.errors))})
    write_rows(file, lines)


def _kind(seeds: int) -> str:
    """Name what the interval is over: seeds or records."""
    return "seeds" if seeds >= SEEDS_FOR_SPREAD else "records" if seeds else ""


def _cells(name: str, found: Estimate | None) -> dict[str, float | None]:
    mean, low, high = found[:3] if found else (None, None, None)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def _print(study: Study, rows: Sequence[VariantRow]) -> None:
    """Print the table; where the study names a utility, that one alone (``table.csv`` has all)."""
    names = _utility_names(rows) if study.utility is None else [study.utility]
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    between = " " if console.width >= FILE_WIDTH else "\n"
    table = Table(title=study.name, title_justify="left", caption=CAPTION, caption_justify="left")
    table.add_column("variant", overflow="fold")
    for heading in (str(study.headline), "control", *names, "seconds", "runs"):
        table.add_column(heading, justify="right")
    for row in rows:
        mark = " (default)" if row.variant == study.default != "default" else ""
        estimates = [_shown(row.headline, "+", between), _shown(row.control, "+", between)]
        estimates += [_shown(row.utility.get(name), "", between) for name in names]
        seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
        runs = f"{row.finished}" + (f", {len(row.errors)} failed" if row.errors else "")
        table.add_row(escape(row.variant) + mark, *estimates, seconds, runs)
    console.print(table)
    for row in rows:
        for error in dict.fromkeys(row.errors):
            console.print(f"{row.variant}: {error}", markup=False, highlight=False, soft_wrap=True)


def _shown(found: Estimate | None, sign: str, between: str) -> str:
    if found is None:
        return ""
    ends = "" if found.low is None else escape(f"{between}[{found.low:{sign}.3f}, {found.high:{sign}.3f}]")
    return f"{found.value:{sign}.3f}{ends}"
