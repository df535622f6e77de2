"""What a study found: ``study.json``, ``table.csv`` and a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dejavu_lightning.core.estimate import SEEDS_FOR_SPREAD, Estimate, over_runs
from dejavu_lightning.runs.files import write_json, write_rows
from dejavu_lightning.runs.history import HISTORY, read_history, row_after
from dejavu_lightning.runs.measurement_folder import read_metrics
from dejavu_lightning.runs.run_folder import StudyFolder
from dejavu_lightning.studies.definition import Study
from dejavu_lightning.studies.runs import Run

CAPTION = (
    "95% interval: over seeds (Student's t) of three or more; of fewer, over records alone (bootstrap), which leaves "
    "out how training varies. Seconds: one pair."
)
FILE_WIDTH = 130  # columns of a table that goes into a file, and from which on a row takes one line


class Found(NamedTuple):
    """What a finished run measured."""

    metrics: dict[str, float]
    utility: dict[str, float]
    seconds: float


class Row(NamedTuple):
    """A variant over its seeds; None where no run finished."""

    variant: str
    headline: Estimate | None
    control: Estimate | None
    utility: dict[str, Estimate]
    seconds: float | None
    finished: int
    errors: list[str]

    @property
    def failed(self) -> int:
        """How many runs did not finish."""
        return len(self.errors)


def summarize(study: Study, runs: Sequence[Run], errors: Mapping[Run, str], output: Path) -> list[Row]:
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
    told = {name: getattr(study, name) for name in ("name", "default", "headline", "utility")}
    found = {run: _read(run, study) for run in runs if run not in errors}
    rows = [_row(study, variant, runs, found, errors) for variant in study.variants]
    write_json(StudyFolder(output).facts, {**told, "runs": entries})
    _save(study, rows, StudyFolder(output).table)
    _print(study, rows)
    return rows


def _read(run: Run, study: Study) -> Found:
    facts = read_metrics(run.files.comparison)
    metrics = facts["metrics"]
    if f"{study.headline}_low" not in metrics:
        offered = ", ".join(sorted(name for name in metrics if f"{name}_low" in metrics))
        raise ValueError(f"headline {study.headline!r} is no metric with an interval in {run.folder}; choose {offered}")
    folder = run.files.target.utility
    history, measured = folder / HISTORY, read_history(folder)
    utility = {name: value for name, value in row_after(measured, facts.get("epoch")).items() if name != "epoch"}
    if study.utility is not None and study.utility not in utility:
        ends = ("_low", "_high")
        names = [name for name in measured[-1] if name != "epoch" and not name.endswith(ends)] if measured else []
        offered = ", ".join(names)
        if study.utility in names:
            raise ValueError(f"{history} has no row of epoch {facts['epoch']}, whose model was compared")
        raise ValueError(
            f"utility {study.utility!r} is no metric of {history}; choose from "
            f"{offered or 'none: no config has a UtilityMonitor'}"
        )
    return Found(metrics, utility, run.record()["seconds"])


def _row(study: Study, variant: str, runs: Sequence[Run], found: Mapping[Run, Found], errors: Mapping[Run, str]) -> Row:
    own = [found[run] for run in runs if run.variant == variant and run in found]
    failures = [error for run, error in errors.items() if run.variant == variant]
    if not own:
        return Row(variant, None, None, {}, None, 0, failures)
    control = "control" if study.headline.startswith("score") else f"control_{study.headline}"
    utilities = [name for name in own[0].utility if name.removesuffix("_low").removesuffix("_high") == name]
    return Row(
        variant,
        _estimate_of([one.metrics for one in own], study.headline),
        _estimate_of([one.metrics for one in own], control)
        if all(f"{control}_low" in one.metrics for one in own)
        else None,
        {name: _estimate_of([one.utility for one in own], name) for name in utilities},
        sum(one.seconds for one in own) / len(own),
        len(own),
        failures,
    )


def _estimate_of(found: Sequence[Mapping[str, float]], name: str) -> Estimate:
    return over_runs([Estimate(one[name], one[f"{name}_low"], one[f"{name}_high"]) for one in found])


def _utility_names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.utility))


def _save(study: Study, rows: Sequence[Row], file: Path) -> None:
    lines = []
    for row in rows:
        line: dict[str, Any] = {"variant": row.variant, "default": row.variant == study.default}
        line |= {"finished": row.finished, "failed": row.failed}
        line |= _cells(study.headline, row.headline) | {"interval": _kind(row.finished)}
        line |= _cells("control", row.control)
        for name in _utility_names(rows):
            line |= _cells(name, row.utility.get(name))
        lines.append(line | {"seconds": row.seconds, "error": "; ".join(dict.fromkeys(row.errors))})
    write_rows(file, lines)


def _kind(seeds: int) -> str:
    """What the interval is over."""
    return "seeds" if seeds >= SEEDS_FOR_SPREAD else "records" if seeds else ""


def _cells(name: str, found: Estimate | None) -> dict[str, float | None]:
    mean, low, high = (found.value, found.low, found.high) if found else (None, None, None)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def _print(study: Study, rows: Sequence[Row]) -> None:
    """The study's own utility alone where it names one; ``table.csv`` has all."""
    names = _utility_names(rows) if study.utility is None else [study.utility]
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    between = " " if console.width >= FILE_WIDTH else "\n"
    table = Table(title=study.name, title_justify="left", caption=CAPTION, caption_justify="left")
    table.add_column("variant", overflow="fold")
    for heading in (study.headline, "control", *names, "seconds", "runs"):
        table.add_column(heading, justify="right")
    for row in rows:
        mark = " (default)" if row.variant == study.default != "default" else ""
        estimates = [_shown(row.headline, "+", between), _shown(row.control, "+", between)]
        estimates += [_shown(row.utility.get(name), "", between) for name in names]
        seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
        runs = f"{row.finished}" + (f", {row.failed} failed" if row.failed else "")
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
