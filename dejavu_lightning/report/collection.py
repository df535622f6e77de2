"""The runs that a report is about, by variant, and whether they can be compared at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dejavu_lightning.core.estimate import SEEDS_FOR_SPREAD, Estimate, net_parts, over_runs
from dejavu_lightning.memorization.compare import headline
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.report.comparable import Candidate, check_comparable
from dejavu_lightning.report.runs import Run, read_run
from dejavu_lightning.runs.files import read_json
from dejavu_lightning.runs.run_folder import StudyFolder

UTILITIES = ("linear_top1", "zero_shot_top1", "knn_top1")  # in the order in which one of them is chosen
FIELDS = {"name": str, "default": str, "headline": str, "runs": list}  # and "utility", which may be null
RUN_FIELDS = {"variant": str, "seed": int, "folder": str}


@dataclass(frozen=True)
class Entry:
    """One run of a variant: what it left, or why it left nothing."""

    variant: str
    seed: int | None
    run: Run | None
    error: str | None = None

    @property
    def name(self) -> str:
        """Of the variant, and the seed where there is one."""
        return self.variant if self.seed is None else f"{self.variant} · seed {self.seed}"


@dataclass(frozen=True)
class Collection:
    """Runs to be shown together.

    Args:
        title: of the page.
        entries: in the order of the page.
        default: the variant that the others are compared with; ``marked`` if it was named so, else just the first.
        metric: the memorization metric that is drawn; the net value where all runs have one and none is named.
        utility: the utility metric that is drawn; None where no run has one.
    """

    title: str
    entries: Sequence[Entry]
    default: str
    metric: str
    utility: str | None
    marked: bool = True

    @property
    def display(self) -> Display | None:
        """How the test of all the runs is shown; None where all failed."""
        return next((run.display for _, run in self.measured()), None)

    @property
    def variants(self) -> list[str]:
        """Names, in the order of the page."""
        return list(dict.fromkeys(entry.variant for entry in self.entries))

    def measured(self) -> Iterator[tuple[Entry, Run]]:
        """Entries that did not fail, with their run."""
        for entry in self.entries:
            if entry.run is not None:
                yield entry, entry.run

    def runs(self, variant: str) -> list[Run]:
        """Of one variant, those that did not fail."""
        return [run for entry, run in self.measured() if entry.variant == variant]

    def shown(self) -> Iterator[tuple[str, list[Run]]]:
        """Variants of which at least one run did not fail, with these."""
        for variant in self.variants:
            if runs := self.runs(variant):
                yield variant, runs

    @property
    def beside(self) -> list[str]:
        """What stands beside the metric: of net value, gap of the attacked records and control the others."""
        known = {name for _, run in self.measured() for name in run.metrics}
        return [name for name in net_parts(self.metric) if name != self.metric and name in known]

    @property
    def reference(self) -> str:
        """What kind of reference all runs have; empty where all failed."""
        return next((run.reference_kind for _, run in self.measured()), "")

    @property
    def without_held_out(self) -> bool:
        """Whether a run has a reference that answers for the attacked records, and no control."""
        gap, control = net_parts(self.metric)[1:]
        return any(
            run.comparison is not None and gap in run.metrics and control not in run.metrics
            for _, run in self.measured()
        )

    def final(self, variant: str, name: str) -> Estimate | None:
        """A memorization metric of the final models; None where no run of the variant has it."""
        return _over_runs([run.estimates for run in self.runs(variant)], name)

    def useful(self, variant: str, name: str) -> Estimate | None:
        """A utility metric of the final models; None where no run of the variant has it."""
        return _over_runs([run.final_utility for run in self.runs(variant)], name)

    def intervals(self) -> str:
        """What kind of interval values of a variant have."""
        over_seeds = {len(runs) >= SEEDS_FOR_SPREAD for _, runs in self.shown()}
        if over_seeds == {True}:
            return "95% Student t over seeds"
        if True not in over_seeds:
            return "95% over records"
        return f"95% Student t over seeds; of variants with fewer than {SEEDS_FOR_SPREAD} runs 95% over records"


def _over_runs(found: Sequence[Mapping[str, Estimate]], name: str) -> Estimate | None:
    known = [estimates[name] for estimates in found if name in estimates]
    return over_runs(known) if known else None


def read_collection(
    folders: Sequence[str | Path],
    names: Sequence[str] | None = None,
    default: str | None = None,
    metric: str | None = None,
    utility: str | None = None,
    title: str | None = None,
) -> Collection:
    """Read runs, each a variant of its own, or a study, and refuse what cannot be compared.

    Raises:
        ValueError: a folder holds no run, names are not distinct, runs differ in what was attacked or how, or
            ``default``, ``metric`` or ``utility`` is not there.
    """
    if not folders:
        raise ValueError("no RUN given; give at least one folder")
    studies = [Path(folder) for folder in folders if StudyFolder(folder).facts.is_file()]
    if studies and (len(folders) > 1 or names):
        raise ValueError(f"RUN {studies[0]} is a study: give it alone, without --names; its variants have names")
    if studies:
        facts, entries = _read_study(StudyFolder(studies[0]).facts)
    else:
        entries, facts = _read_runs(folders, names), {}
    check_comparable([Candidate(entry.name, entry.seed, entry.run) for entry in entries if entry.run is not None])
    variants = list(dict.fromkeys(entry.variant for entry in entries))
    named = default or facts.get("default")
    base = _one_of("default", named or variants[0], variants)
    runs = [entry.run for entry in entries if entry.run is not None]
    offered = _metrics(run.estimates for run in runs)
    useful = _metrics(run.final_utility for run in runs)
    metric = metric or facts.get("headline") or _headline(runs)
    utility = utility or facts.get("utility") or next((name for name in (*UTILITIES, *useful) if name in useful), None)
    if runs:
        _one_of("metric", metric, offered)
        if utility is not None and (useful or not facts):
            _one_of("utility", utility, useful)
    title = title or (f"Study: {facts['name']}" if facts else "Memorization report")
    return Collection(title, entries, base, metric, utility if useful else None, named is not None)


def read_variant(study: str | Path, variant: str | None = None) -> list[Entry]:
    """Read the runs of one variant of a study, whatever state those of the others are in.

    Args:
        study: its folder.
        variant: its name; the study's default if not given.

    Raises:
        ValueError: ``study.json`` is not what it should be, there is no such variant, or its runs cannot be compared.
    """
    file = StudyFolder(study).facts
    facts = _study_facts(file)
    chosen = variant or facts["default"]
    rows = [row for row in facts["runs"] if row["variant"] == chosen]
    if not rows:
        offered = ", ".join(dict.fromkeys(row["variant"] for row in facts["runs"]))
        raise ValueError(f"variant {chosen!r} is not in the study {study}; it has {offered}")
    entries = [_study_entry(file.parent / row["folder"], row) for row in rows]
    check_comparable([Candidate(entry.name, entry.seed, entry.run) for entry in entries if entry.run is not None])
    return entries


def _headline(runs: Sequence[Run]) -> str:
    """The net value where all runs have it: of some with and some without it the gap of the attacked records."""
    if not runs:
        return ""
    return headline(runs[0].test, dict.fromkeys(set.intersection(*(set(run.metrics) for run in runs))))


def _metrics(found: Iterator[Mapping[str, Estimate]]) -> list[str]:
    return list(dict.fromkeys(name for estimates in found for name in estimates if name != "epoch"))


def _one_of(argument: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        listed = ", ".join(choices) or "nothing"
        raise ValueError(f"{argument} {value!r} is in none of the runs; they have {listed}")
    return value


def _read_runs(folders: Sequence[str | Path], names: Sequence[str] | None) -> list[Entry]:
    if names is not None and len(names) != len(folders):
        raise ValueError(f"--names has {len(names)} names ({', '.join(names)}) for {len(folders)} runs; give one each")
    called = list(names) if names is not None else [Path(folder).resolve().name for folder in folders]
    twice = sorted({name for name in called if called.count(name) > 1})
    if twice:
        whose = "--names" if names is not None else "the folders' names"
        raise ValueError(f"{twice[0]!r} names more than one run; {whose} must be distinct, give --names A B ...")
    return [Entry(name, None, read_run(folder)) for name, folder in zip(called, folders, strict=True)]


def _read_study(path: Path) -> tuple[dict[str, Any], list[Entry]]:
    facts = _study_facts(path)
    return facts, [_study_entry(path.parent / row["folder"], row) for row in facts["runs"]]


def _study_facts(path: Path) -> dict[str, Any]:
    """What ``study.json`` says, with a row for each run."""
    facts: dict[str, Any] = read_json(path)
    _check_fields(path, "it", facts, FIELDS)
    met: set[tuple[str, int]] = set()
    for number, row in enumerate(facts["runs"]):
        _check_fields(path, f"runs[{number}]", row, RUN_FIELDS)
        if (row["variant"], row["seed"]) in met:
            raise ValueError(f"{path}: runs[{number}] is a second {row['variant']!r} of seed {row['seed']}")
        met.add((row["variant"], row["seed"]))
    if not met:
        raise ValueError(f"{path}: runs is empty")
    return facts


def _study_entry(folder: Path, row: Mapping[str, Any]) -> Entry:
    run, error = None, row.get("error")
    if not error:
        try:
            run = read_run(folder)
        except ValueError as unreadable:  # of a run that has not finished, the others are shown all the same
            error = str(unreadable)
    return Entry(row["variant"], row["seed"], run, error)


def _check_fields(path: Path, what: str, facts: Any, fields: Mapping[str, type]) -> None:
    for name, kind in fields.items():
        value = facts.get(name) if isinstance(facts, dict) else None
        if not isinstance(value, kind):
            raise ValueError(f"{path}: {what} must have {name!r}, of type {kind.__name__}; got {value!r}")
