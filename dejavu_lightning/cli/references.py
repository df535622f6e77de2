"""``references``: several references of one or more targets beside each other, record by record."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dejavu_lightning.cli import typed
from dejavu_lightning.cli.errors import PlainParser
from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.figures import reference_figures as draw
from dejavu_lightning.figures.spread import is_counted, values_of
from dejavu_lightning.figures.tables import print_agreement, print_cells
from dejavu_lightning.memorization import SecondModel
from dejavu_lightning.memorization.agreement import Agreement, agreement_of
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.reference_answers import answers_on_common, most_inferred, top_precision
from dejavu_lightning.report.formatting import csv_columns
from dejavu_lightning.report.reference_tests import ReferenceTest, inferred_by, reference_tests, verdicts_in_order
from dejavu_lightning.report.runs import named_runs
from dejavu_lightning.runs.files import write_rows
from dejavu_lightning.runs.measurement_folder import figure_file, write_agreement

TESTS = "tests.csv"
PRINTED = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)  # L of the table
READABLE = 8  # columns of a printed matrix
DRAWN = 200  # L of a figure at most, as many between 1 and 10 as between 10 and 100


def references(arguments: list[str]) -> None:
    """Write tables and figures of several references; ``arguments`` begin with "references"."""
    options = _parser().parse_args(arguments[1:])
    output = Path(options.output)
    if output.exists() and not (options.overwrite and (output / TESTS).is_file()):
        raise SystemExit(f"error: --output {output} exists; name a new folder, or --overwrite true for an earlier one")
    runs = named_runs([str(folder) for folder in options.measurement])
    if options.names:
        if len(set(options.names)) != len(runs):
            raise SystemExit(f"error: --names must be {len(runs)} distinct names, got {', '.join(options.names)}")
        runs = dict(zip(options.names, runs.values(), strict=True))
    tests = reference_tests(runs)
    if output.exists():
        for folder in options.measurement:
            if Path(folder).resolve().is_relative_to(output.resolve()):
                raise SystemExit(f"error: --output {output} holds the measurement {folder}; name another folder")
        shutil.rmtree(output)
    output.mkdir(parents=True)
    display = tests[0].run.display
    paired = [test for test in tests if test.comparison is not None]
    _scores(tests, display, output)
    _ways_of_counting(tests, display, output)
    if paired:
        _agreement(paired, output)
        _answers(paired, output)
        _order(paired, output)
        _confidences(paired, display, output)
    print(f"wrote {output}")


def _parser() -> PlainParser:
    parser = PlainParser(
        prog=f"{typed()} references",
        description="Put several references of one or more targets beside each other: scores, agreement record by "
        "record, what they infer, and which records they rank first.",
    )
    parser.add_argument(
        "measurement",
        nargs="+",
        metavar="MEASUREMENT",
        help="outputs of memorization with --extra_references, of one split of the data: one for each target",
    )
    parser.add_argument("--output", type=str, required=True, help="a new folder for tables and figures")
    parser.add_argument(
        "--names", type=str, nargs="+", help="of the targets, in their order; their folders' if not given"
    )
    parser.add_argument("--overwrite", type=bool, default=False, help="replace the tables that --output holds")
    return parser


def _scores(tests: Sequence[ReferenceTest], display: Display, output: Path) -> None:
    """``tests.csv`` and ``scores.png``: every estimate of every test."""
    answers = f"reference_{display.answers.metric}"
    metrics = list(dict.fromkeys(metric for row in display.rows for metric in (row.metric, f"net_{row.metric}")))
    known = [metric for metric in metrics if any(metric in test.estimates for test in tests)]
    first = {test.target: test for test in reversed(tests)}
    rows: list[dict[str, Any]] = []
    for test in tests:
        row: dict[str, Any] = {"target": test.target, "reference": test.reference, "kind": test.kind}
        row["kappa_with_first"] = _kappa(first[test.target], test)
        for metric in known:
            row |= csv_columns(metric, test.estimates.get(metric))
        rows.append(row)
    write_rows(output / TESTS, rows)
    made_of = ("net_", "control_", "symmetric_", "unpaired_")
    gaps = [row for row in display.rows if row.signed and not row.metric.startswith(made_of) and row.metric in known]
    headline = tests[0].run.test.headline
    shown = [f"net_{headline}", *(row.metric for row in gaps), f"control_{headline}", answers]
    shown = [metric for metric in shown if any(metric in test.estimates for test in tests)]
    headings = ["target", "reference", *(display.label(metric) for metric in shown), "kappa"]
    table = []
    for test, row in zip(tests, rows, strict=True):
        cells = (_cell(test.estimates.get(metric), metric != answers) for metric in shown)
        table.append([test.target, test.reference, *cells, _plain(row["kappa_with_first"])])
    caption = "95% intervals in tests.csv; kappa: with the first reference of the same target, of what is memorized"
    print_cells(headings, table, "Tests", caption)
    labels = {metric: display.label(metric) for metric in shown[: 1 + len(gaps)] if metric != answers}
    draw.draw_scores({test.name: test.estimates for test in tests}, labels, figure_file(output, "scores"))


def _ways_of_counting(tests: Sequence[ReferenceTest], display: Display, output: Path) -> None:
    """``variants.csv``: the gaps of all neighbours and numbers of objects, of a test that has them."""
    rows: list[dict[str, Any]] = []
    cells: dict[tuple[str, ...], dict[int, str]] = {}
    for test in tests:
        settings = test.run.target.settings
        for way in display.variants(list(test.estimates), settings):
            row: dict[str, Any] = {"target": test.target, "reference": test.reference}
            row |= {"direction": settings.get("direction", ""), "gap": way.gap, "objects": way.objects, "k": way.k}
            estimates = (test.estimates[way.metric], test.estimates.get(f"net_{way.metric}"))
            rows.append(row | csv_columns("value", estimates[0]) | csv_columns("net", estimates[1]))
            line = cells.setdefault((test.target, test.reference, way.gap.upper(), way.objects), {})
            line[way.k] = _cell(estimates[0], True)
    if not rows:
        return
    write_rows(output / "variants.csv", rows)
    ks = sorted({k for line in cells.values() for k in line})
    table = [[*line, *(cells[line].get(k, "") for k in ks)] for line in sorted(cells)]
    headings = ["target", "reference", "gap", "objects", *(f"k = {k}" for k in ks)]
    print_cells(headings, table, "Gaps by neighbours and objects", "95% intervals, and net values, in variants.csv")


def _agreement(tests: Sequence[ReferenceTest], output: Path) -> None:
    """``agreement.csv`` and ``agreement.png``: what is inferred, and what is memorized."""
    inferred = inferred_by(tests)
    parts = {
        "inferred by the reference": agreement_of(inferred),
        "memorized": agreement_of({test.name if _many(tests) else test.reference: test.memorized for test in tests}),
    }
    parts = {title: pairs for title, pairs in parts.items() if pairs}
    if not parts:
        return
    write_agreement(output, [{"of": of, **one._asdict()} for of, pairs in parts.items() for one in pairs])
    draw.draw_agreement(parts, figure_file(output, "agreement"))
    for title, pairs in parts.items():
        if len({name for pair in pairs for name in pair[:2]}) <= READABLE:
            print_agreement(pairs, f"Which records are {title}")
        else:
            print(f"Which records are {title}: {len(pairs)} pairs are in the table and figure of the agreement")


def _answers(tests: Sequence[ReferenceTest], output: Path) -> None:
    """``common.csv``, ``classes.csv`` and ``classes.png``: what references infer."""
    inferred = inferred_by(tests)
    if not inferred:
        return
    second = list(dict.fromkeys(test.label for test in tests if test.kind == SecondModel.kind))
    if len(second) > 1 and len(second) < len(inferred):
        found = answers_on_common(inferred, second)
        rows = [
            {"reference": one.reference, "common": one.common, "uncommon": one.uncommon}
            | csv_columns("of_common", one.of_common)
            | csv_columns("of_uncommon", one.of_uncommon)
            for one in found
        ]
        write_rows(output / "common.csv", rows)
        table = [[one.reference, _cell(one.of_common), _cell(one.of_uncommon)] for one in found]
        headings = ["reference", f"of {found[0].common} that all infer", f"of {found[0].uncommon} that none infers"]
        print_cells(headings, table, "Inferred of the records that second models infer", ", ".join(second))
    else:
        print(f"common.csv needs two second models and another reference; there are {len(second)} second models")
    first = tests[0]
    assert first.comparison is not None
    labels = first.comparison[first.run.display.truth].to_pylist()
    classes = {name: most_inferred(labels, own) for name, own in inferred.items()}
    rows = [
        {"reference": name, "rank": rank, "label": one.label, "name": first.run.named(one.label)}
        | {"inferred": one.inferred, "records": one.records}
        | csv_columns("share", one.share)
        for name, found_classes in classes.items()
        for rank, one in enumerate(found_classes, start=1)
    ]
    write_rows(output / "classes.csv", rows)
    draw.draw_classes(classes, {label: first.run.named(label) for label in set(labels)}, figure_file(output, "classes"))


def _of_plain_k(test: ReferenceTest, gaps: pa.Table) -> pa.Table:
    return gaps.filter(pc.equal(gaps["k"], test.run.target.settings["k"]))


def _order(tests: Sequence[ReferenceTest], output: Path) -> None:
    """``top.csv`` and ``top.png`` of orders by confidence; ``top_gaps.png`` of tests that order by distance."""
    gaps = {test.name: _of_plain_k(test, test.sample_gaps) for test in tests if test.sample_gaps is not None}
    if gaps:
        order = next(iter(tests[0].run.display.orders))
        draw.draw_top_gaps(gaps, order, figure_file(output, "top_gaps"))
    yardstick = tests[0].memorized
    own = [test for test in tests if test.target == tests[0].target]
    orders = {test.name: verdicts_in_order(test, yardstick) for test in own}
    known = {name: order for name, order in orders.items() if order is not None}
    if not known or not yardstick.any():
        return
    spread = np.geomspace(1, len(yardstick), DRAWN).round().astype(int).tolist()
    sizes = sorted({*spread, *(size for size in PRINTED if size <= len(yardstick))})
    top = {name: top_precision(order, sizes) for name, order in known.items()}
    rows = [
        {"order": name, "records": one.records}
        | csv_columns("precision", one.precision)
        | csv_columns("recall", one.recall)
        | {"f_score": one.f_score}
        for name, found in top.items()
        for one in found
    ]
    write_rows(output / "top.csv", rows)
    draw.draw_top(top, int(yardstick.sum()), len(yardstick), figure_file(output, "top"))
    table = [
        [name, *(f"{one.precision.value:.2f}" for one in found if one.records in PRINTED)]
        for name, found in top.items()
    ]
    caption = f"memorized: by {tests[0].name}, {yardstick.mean():.2f} of the records; recall and F in top.csv"
    headings = ["order", *(str(size) for size in sizes if size in PRINTED)]
    print_cells(headings, table, "Precision of the first L records by memorization confidence", caption)


def _confidences(tests: Sequence[ReferenceTest], display: Display, output: Path) -> None:
    """``confidence.png``, or what the test spreads its records by, of each reference of the first target."""
    own = [test for test in tests if test.target == tests[0].target]
    values = {test.name: values_of(test.comparison, display) for test in own if test.comparison is not None}
    if display.spread is not None and all(each and not is_counted(each) for each in values.values()):
        draw.draw_confidences(values, display, figure_file(output, display.spread.file))


def _kappa(first: ReferenceTest, test: ReferenceTest) -> float | str:
    if test is first or first.comparison is None or test.comparison is None:
        return ""
    pair: Agreement
    (pair,) = agreement_of({"first": first.memorized, "test": test.memorized})
    return pair.kappa


def _many(tests: Sequence[ReferenceTest]) -> bool:
    return len({test.target for test in tests}) > 1


def _cell(estimate: Estimate | None, signed: bool = False) -> str:
    return "" if estimate is None else f"{estimate.value:{'+' if signed else ''}.3f}"


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.2f}"
