"""What several references said of the same records: every test of one or more targets, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from dejavu_lightning.core.estimate import Estimate, estimates_in
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization.reference_answers import Verdicts
from dejavu_lightning.report.runs import Run
from dejavu_lightning.runs.measurement_folder import extra_references, read_records, read_table


@dataclass(frozen=True)
class ReferenceTest:
    """One target against one reference.

    Args:
        target: name of the target's run.
        reference: the reference's name beside this target: its kind, or the name of a further one.
        label: its name beside all references of all targets: with the target's where others of that name differ.
        kind: of reference, such as "second model".
        answers: the reference's records.
        comparison: both models' answers by id, in order of the ids; None where the reference has none per record.
        estimates: of the measurement against this reference.
        sample_gaps: gaps of the top records, where the test has them.
        run: that it is read from.
    """

    target: str
    reference: str
    label: str
    kind: str
    answers: Records
    comparison: pa.Table | None
    estimates: Mapping[str, Estimate]
    sample_gaps: pa.Table | None
    run: Run

    @property
    def name(self) -> str:
        """What figures call it."""
        return f"{self.target}: {self.reference}"

    @property
    def memorized(self) -> Verdicts:
        """(N,) in order of the ids, whether the target knows more of each record than the reference."""
        assert self.comparison is not None
        return self.run.display.memorized(self.comparison)


def reference_tests(runs: Mapping[str, Run]) -> list[ReferenceTest]:
    """Read the tests of all runs, a run's first reference before its further ones.

    Args:
        runs: by name.

    Raises:
        ValueError: they are of different memorization tests, or two have other records.
    """
    found = [test for name, run in runs.items() for test in _tests(name, run)]
    first, *_ = runs
    for name, run in runs.items():
        if run.test is not runs[first].test:
            kinds = f"{runs[first].test.name}, {run.test.name}"
            raise ValueError(f"{first} and {name} are of different tests: {kinds}")
    paired = {test.name: test.comparison["id"] for test in found if test.comparison is not None}
    for name, ids in paired.items():
        if not ids.equals(next(iter(paired.values()))):
            raise ValueError(
                f"{next(iter(paired))} and {name} are of different records; give measurements of one split of the data"
            )
    return [_labelled(test, found) for test in found]


def inferred_by(tests: Sequence[ReferenceTest]) -> dict[str, Verdicts]:
    """By the reference's label, (N,) in order of the ids, whether it is right; empty where no answer is right."""
    found: dict[str, Verdicts] = {}
    for test in tests:
        if test.comparison is not None and test.label not in found:
            inferred = test.run.display.inferred(test.comparison)
            if inferred is not None:
                found[test.label] = inferred
    return found


def verdicts_in_order(test: ReferenceTest, memorized: Verdicts) -> Verdicts | None:
    """What one test calls memorized, the records of which another is surest first; None without a confidence.

    Args:
        test: whose order it is.
        memorized: (N,) in order of the ids.
    """
    ordered = None if test.comparison is None else test.run.display.by_confidence(test.comparison)
    if ordered is None or test.comparison is None:
        return None
    place = {identifier: row for row, identifier in enumerate(test.comparison["id"].to_pylist())}
    rows = [place[identifier] for identifier in ordered["id"].to_pylist()]
    return np.asarray(memorized[rows])


def _tests(name: str, run: Run) -> list[ReferenceTest]:
    known, extras = estimates_in(run.metrics), extra_references(run.tables)
    others = tuple(f"{other}/" for other in (*extras, "agreement"))
    own = {metric: estimate for metric, estimate in known.items() if not metric.startswith(others)}
    kind = run.reference_kind
    found = [ReferenceTest(name, kind, kind, kind, run.reference, run.comparison, own, run.sample_gaps, run)]
    of_target = {metric: estimate for metric, estimate in own.items() if metric.startswith("target_")}
    for extra in extras:
        folder = run.tables / extra
        answers = read_records(folder, "reference")
        kind = str(answers.settings.get("reference", extra))
        told = {m.removeprefix(f"{extra}/"): estimate for m, estimate in known.items() if m.startswith(f"{extra}/")}
        tables = read_table(folder, "comparison"), read_table(folder, "sample_gaps")
        found.append(ReferenceTest(name, extra, extra, kind, answers, tables[0], of_target | told, tables[1], run))
    return found


def _labelled(test: ReferenceTest, tests: Sequence[ReferenceTest]) -> ReferenceTest:
    """With the target's name where references of one name answered differently."""
    alike = [other for other in tests if other.reference == test.reference and other.target != test.target]
    if all(other.answers.table.equals(test.answers.table) for other in alike):
        return test
    return replace(test, label=f"{test.reference} of {test.target}")
