"""What a run left on disk: its final measurement, its curves and its record tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.core.estimate import Estimate, estimates_in
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization.catalog import find_test
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.protocols import MemorizationTest
from dejavu_lightning.runs.history import HISTORY, History, measured_rows, read_history
from dejavu_lightning.runs.measurement_folder import (
    METRICS,
    epoch_folder,
    figure_file,
    left_out_part,
    read_class_names,
    read_metrics,
    read_records,
    read_table,
    read_terms,
    table_file,
)
from dejavu_lightning.runs.run_folder import PairFolder, RunFolder
from dejavu_lightning.runs.utility_samples import read_utility


@dataclass(frozen=True)
class Run:
    """One target model and what was measured of it.

    Args:
        folder: that was asked for.
        tables: folder of the tables of its final measurement.
        metrics: of the final measurement; names as in docs/reference/metrics.md.
        history: a row per measurement of memorization, and ``utility`` likewise; empty where none was kept.
        target, reference: records of the final measurement; of other samples with ``HeldOut``.
        comparison: both models' answers record by record; None with ``HeldOut``.
        sample_gaps: gaps of the top records beside their null, of object retrieval.
        curves: folder of what its monitor measured by epoch, if it has one.
        gallery: picture of the most memorized records, where one was drawn.
        class_names: what labels, or objects, are called; empty where it was not kept.
        epochs: how many the measured model had completed, where that is known.
        final_utility: that of the measured model, on the samples that the final measurement did not leave out; empty
            where it was not measured.
    """

    folder: Path
    tables: Path
    metrics: Mapping[str, float]
    history: History
    utility: History
    target: Records
    reference: Records
    comparison: pa.Table | None
    sample_gaps: pa.Table | None
    curves: Path | None
    gallery: Path | None
    class_names: Sequence[str]
    epochs: float | None
    final_utility: Mapping[str, Estimate]

    @property
    def test(self) -> type[MemorizationTest]:
        """The test that its records are of."""
        return find_test(self.target.settings)

    @property
    def display(self) -> Display:
        """How its test is shown."""
        return self.test.display

    @property
    def reference_kind(self) -> str:
        """What made the reference's records, such as "second model"."""
        return str(self.reference.settings.get("reference", "a reference whose kind was not kept"))

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Of the final measurement, with intervals."""
        return estimates_in(self.metrics)

    def terms(self, estimate: str) -> list[dict[str, float]]:
        """Of each sample of an estimate, what its records add to it, by id; empty where it was not kept."""
        return read_terms(self.tables, estimate)

    def named(self, label: int) -> str:
        """What a label or object is called; its number where the name was not kept."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)


def read_run(folder: str | Path) -> Run:
    """Read the folder of a ``fit``, of a ``pair``, or the output of ``evaluate.py memorization``.

    Raises:
        ValueError: it is none of them, or a file of it is missing or damaged.
    """
    root = Path(folder)
    fit, pair = RunFolder(root), PairFolder(root)
    if (root / METRICS).is_file():
        return _evaluation(root, root)
    if (fit.memorization / HISTORY).is_file():
        return _fit(fit)
    if (pair.target.memorization / HISTORY).is_file():
        return _pair(pair)
    what = "holds no run" if root.is_dir() else "is no folder"
    raise ValueError(
        f"RUN {root} {what}: give the folder of a fit (with memorization/history.csv), of a pair (with target/), the "
        "output of evaluate.py memorization (with metrics.json), or of a study (with study.json)"
    )


def named_runs(folders: Sequence[str]) -> dict[str, Run]:
    """Read several runs, by the names of their folders, with those of the folders above where these are alike.

    Raises:
        ValueError: the names are not distinct, or see :func:`read_run`.
    """
    names = [Path(folder).resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = ["_".join(Path(folder).resolve().parts[-2:]) for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"the folders' names must be distinct, got {', '.join(folders)}")
    return {name: read_run(folder) for name, folder in zip(names, folders, strict=True)}


def _evaluation(root: Path, folder: Path, fit: RunFolder | None = None) -> Run:
    """An output of ``memorization``; ``fit`` is the run whose checkpoint it measured, if known."""
    facts = read_metrics(folder)
    run = _read(root, folder, facts["metrics"], facts.get("epoch"), fit, leave_out=left_out_part(facts))
    return replace(run, final_utility=estimates_in(facts["utility"])) if "utility" in facts else run


def _fit(fit: RunFolder) -> Run:
    folder = fit.memorization
    history = measured_rows(read_history(folder))
    if not history:
        raise ValueError(f"{folder / HISTORY} holds no measurement")
    last = dict(history[-1])
    epochs = last.pop("epoch")
    return _read(fit.path, epoch_folder(folder, int(epochs)), last, epochs, fit, folder)


def _pair(pair: PairFolder) -> Run:
    if not pair.finished:
        raise ValueError(
            f"RUN {pair.path} is a pair without comparison/metrics.json: it has not finished. Continue it with "
            f"--resume, or give {pair.target.path} for what the target has measured so far"
        )
    return _evaluation(pair.path, pair.comparison, pair.target)


def _read(
    root: Path,
    records: Path,
    metrics: Mapping[str, float],
    epochs: float | None,
    fit: RunFolder | None,
    pictures: Path | None = None,
    leave_out: DecisionPart | None = None,
) -> Run:
    for role in ("target", "reference"):
        if not table_file(records, role).is_file():
            raise ValueError(f"RUN {root} lacks the records {table_file(records, role)}")
    target, comparison = read_records(records, "target"), read_table(records, "comparison")
    test = find_test(target.settings)
    paired = any(name in metrics for name in (f"control_{test.headline}", *test.display.outcomes))
    if paired and comparison is None:
        lacking = table_file(records, "comparison")
        raise ValueError(f"RUN {root} lacks {lacking}, both models' answers record by record")
    pictures = pictures or records
    gallery = figure_file(pictures, "gallery")
    return Run(
        folder=root,
        tables=records,
        metrics=metrics,
        history=measured_rows(read_history(fit.memorization)) if fit else [],
        utility=measured_rows(read_history(fit.utility)) if fit else [],
        target=target,
        reference=read_records(records, "reference"),
        comparison=comparison,
        sample_gaps=read_table(records, "sample_gaps"),
        curves=fit.memorization if fit else None,
        gallery=gallery if gallery.is_file() else None,
        class_names=read_class_names(pictures),
        epochs=epochs,
        final_utility=read_utility(fit.utility, epochs, leave_out) if fit else {},
    )
