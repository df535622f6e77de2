"""What a run left on disk: its final measurement, its curves and its record tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dejavu_lightning.core.estimate import Estimate, estimates_in
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization.catalog import find_test
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.protocols import MemorizationTest
from dejavu_lightning.runs.history import History, read_history, row_after


@dataclass(frozen=True)
class Run:
    """One target model and what was measured of it.

    Args:
        folder: that was asked for.
        metrics: of the final measurement; names as in docs/metrics.md.
        history: a row per measurement of memorization, and ``utility`` likewise; empty where none was kept.
        target, reference: records of the final measurement; of other samples with ``HeldOut``.
        comparison: both models' answers record by record; None with ``HeldOut``.
        sample_gaps: gaps of the top records beside their null, of object retrieval.
        gallery: picture of the most memorized records, where one was drawn.
        class_names: what labels, or objects, are called; empty where it was not kept.
        epochs: how many the measured model had completed, where that is known.
    """

    folder: Path
    metrics: Mapping[str, float]
    history: History
    utility: History
    target: Records
    reference: Records
    comparison: pa.Table | None
    sample_gaps: pa.Table | None
    gallery: Path | None
    class_names: Sequence[str]
    epochs: float | None

    @property
    def test(self) -> type[MemorizationTest]:
        """The test that its records are of."""
        return find_test(self.target.settings)

    @property
    def display(self) -> Display:
        """How its test is shown."""
        return self.test.display

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Of the final measurement, with intervals."""
        return estimates_in(self.metrics)

    @property
    def final_utility(self) -> dict[str, Estimate]:
        """That of the measured model; empty where it was not measured."""
        return estimates_in(row_after(self.utility, self.epochs))

    def named(self, label: int) -> str:
        """What a label or object is called; its number where the name was not kept."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)


def read_run(folder: str | Path) -> Run:
    """Read the folder of a ``fit``, of a ``pair``, or the output of ``evaluate.py memorization``.

    Raises:
        ValueError: it is none of them, or a file of it is missing.
    """
    root = Path(folder)
    try:
        return _found(root)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"RUN {root} cannot be read, a file of it is damaged: {error!r}") from error


def _found(root: Path) -> Run:
    if (root / "metrics.json").is_file():
        return _evaluation(root, root)
    if (root / "memorization" / "history.csv").is_file():
        return _fit(root)
    if (root / "target" / "memorization" / "history.csv").is_file():
        return _pair(root)
    what = "holds no run" if root.is_dir() else "is no folder"
    raise ValueError(
        f"RUN {root} {what}: give the folder of a fit (with memorization/history.csv), of a pair (with target/), the "
        "output of evaluate.py memorization (with metrics.json), or of a study (with study.json)"
    )


def _evaluation(root: Path, folder: Path, fit: Path | None = None) -> Run:
    """An output of ``memorization``; ``fit`` is the folder of the run whose checkpoint it measured, if known."""
    path = folder / "metrics.json"
    try:
        facts = json.loads(path.read_text())
        metrics, epochs = facts["metrics"], facts.get("epoch")
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no output of evaluate.py memorization: {error!r}") from error
    return _read(root, folder, metrics, epochs, fit)


def _fit(root: Path) -> Run:
    folder = root / "memorization"
    history = read_history(folder / "history.csv")
    if not history:
        raise ValueError(f"{folder / 'history.csv'} holds no measurement")
    last = dict(history[-1])
    epochs = last.pop("epoch")
    return _read(root, folder / f"epoch={int(epochs):04d}", last, epochs, root, folder)


def _pair(root: Path) -> Run:
    if not (root / "comparison" / "metrics.json").is_file():
        raise ValueError(
            f"RUN {root} is a pair without comparison/metrics.json: it has not finished. Continue it with --resume, or "
            f"give {root / 'target'} for what the target has measured so far"
        )
    return _evaluation(root, root / "comparison", root / "target")


def _read(
    root: Path,
    records: Path,
    metrics: Mapping[str, float],
    epochs: float | None,
    fit: Path | None,
    pictures: Path | None = None,
) -> Run:
    for role in ("target", "reference"):
        if not (records / f"{role}.parquet").is_file():
            raise ValueError(f"RUN {root} lacks the records {records / f'{role}.parquet'}")
    target = Records.load(records / "target.parquet")
    test = find_test(target.settings)
    paired = any(name in metrics for name in (*test.controls, *test.display.outcomes))
    if paired and not (records / "comparison.parquet").is_file():
        raise ValueError(f"RUN {root} lacks {records / 'comparison.parquet'}, both models' answers record by record")
    pictures = pictures or records
    gallery, names = pictures / "gallery.png", pictures / "classes.json"
    return Run(
        folder=root,
        metrics=metrics,
        history=read_history(fit / "memorization" / "history.csv") if fit else [],
        utility=read_history(fit / "utility" / "history.csv") if fit else [],
        target=target,
        reference=Records.load(records / "reference.parquet"),
        comparison=_table(records / "comparison.parquet"),
        sample_gaps=_table(records / "sample_gaps.parquet"),
        gallery=gallery if gallery.is_file() else None,
        class_names=json.loads(names.read_text()) if names.is_file() else [],
        epochs=epochs,
    )


def _table(path: Path) -> pa.Table | None:
    return pq.read_table(path) if path.is_file() else None
