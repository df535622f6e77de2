"""Plan the runs of a study, and keep the record of each in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from dejavu_lightning.core.decision_part import DECIDE_ON
from dejavu_lightning.core.whole_file import write_json
from dejavu_lightning.runs.files import read_json
from dejavu_lightning.runs.run_folder import PairFolder, StudyFolder
from dejavu_lightning.studies.jobs import Outcome
from dejavu_lightning.studies.study_definition import Study

SHOWN_DIFFERENCES = 5
STOPS_EARLY = "MemorizationEarlyStopping"  # decides on some of the samples, on which then no variant is judged


@dataclass(frozen=True, eq=False)
class StudyRun:
    """One pair of models: a variant with a seed.

    Attributes:
        variant, seed: which.
        folder: of ``reference/``, ``target/``, ``comparison/``, ``log.txt`` and ``run.json``, the record of how it
            was started.
        arguments: of ``pair``.
        settings: what the arguments say, with the contents of the config files.
        leave_out: share of the samples that the comparison leaves out, since they decide in one of the variants.
    """

    variant: str
    seed: int
    folder: Path
    arguments: list[str]
    settings: dict[str, Any]
    leave_out: float | None = None

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def files(self) -> PairFolder:
        """Where they lie."""
        return PairFolder(self.folder)

    @property
    def finished(self) -> bool:
        """Whether its models are trained and compared, on the samples that judge all variants."""
        return self.files.compared(self.leave_out)

    def record(self) -> dict[str, Any]:
        """Read ``run.json``; empty before the first start."""
        file = self.files.record
        return dict(read_json(file)) if file.is_file() else {}

    def begin(self) -> None:
        """Make the folder and write its arguments and settings to ``run.json``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        started = {"arguments": self.arguments, "settings": self.settings}
        write_json(self.files.record, {"seconds": 0.0} | self.record() | started)

    def end(self, outcome: Outcome) -> None:
        """Write its seconds, over all attempts, and its error to ``run.json``."""
        before = self.record()
        write_json(self.files.record, before | {"seconds": before["seconds"] + outcome.seconds, "error": outcome.error})


def plan_runs(study: Study, output: Path, find: Callable[[str], str]) -> list[StudyRun]:
    """List the runs of a study: every variant with the first seed, then with the next.

    Args:
        study: what to run.
        output: folder of all runs.
        find: the path of a config file as the study names it.
    """
    runs = [
        _plan(study, variant, seed, StudyFolder(output).run(variant, seed), find)
        for seed in study.seeds
        for variant in study.variants
    ]
    share = max((found for run in runs for found in _deciding(run.settings)), default=None)
    if share is None:
        return runs
    asked = ["--leave_out", str(share)]
    return [replace(run, leave_out=share, arguments=[*run.arguments, *asked]) for run in runs]


def _plan(study: Study, name: str, seed: int, folder: Path, find: Callable[[str], str]) -> StudyRun:
    variant = study.variants[name]
    options = {"config": [*study.base, *variant.configs], "target_config": variant.target_configs}
    arguments: list[str] = []
    contents: dict[str, Any] = {}
    for option, files in options.items():
        for file in files:
            path = find(file)
            contents[file] = yaml.safe_load(Path(path).read_text())
            arguments += [f"--{option}", path]
    overrides = variant.overrides | dict.fromkeys(study.seed_keys, seed)
    arguments += [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in overrides.items()
    ]
    settings = {**options, "contents": contents, "overrides": overrides}
    return StudyRun(name, seed, folder, arguments, json.loads(json.dumps(settings, default=str)))


def _deciding(settings: Any) -> Iterator[float]:
    """The shares of samples that decide in every early stopping that settings name."""
    if isinstance(settings, dict):
        if str(settings.get("class_path")).rpartition(".")[2] == STOPS_EARLY:
            yield float((settings.get("init_args") or {}).get("decide_on", DECIDE_ON))
        settings = list(settings.values())
    if isinstance(settings, list):
        for inner in settings:
            yield from _deciding(inner)


def refuse_changed(runs: Sequence[StudyRun]) -> None:
    """Raise if a run in its folder was trained with other settings than it has now.

    Raises:
        ValueError: naming the run and what differs.
    """
    for run in runs:
        before = run.record().get("settings")
        if not (run.files.trained or run.files.finished) or before == run.settings:
            continue
        if before is None:
            raise ValueError(f"{run.folder} holds models that no study trained; name another output")
        differences = list(_differences(before, run.settings))
        more = len(differences) - SHOWN_DIFFERENCES
        shown = "; ".join(differences[:SHOWN_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")
        raise ValueError(
            f"{run.folder} was trained with other settings: {shown}. Give the variant another name, name another "
            "output, or remove the folder"
        )


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            inner = f"{name}.{key}" if name else str(key)
            yield from _differences(before.get(key, "not given"), now.get(key, "not given"), inner)
    elif before != now:
        yield f"{name} was {before}, is {now}"
