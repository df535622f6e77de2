"""What a report computes itself, by hand."""

import numpy as np
import pyarrow as pa
import pytest
from dejavu_lightning.memorization.label_inference.score_curve import score_curve

from dejavu_lightning.memorization import Records
from dejavu_lightning.metrics.functional import dejavu_score
from dejavu_lightning.report.panels.epochs import curve
from dejavu_lightning.report.panels.tradeoff import pareto_frontier


def test_pareto_frontier_by_hand():
    #          beaten by 2   best, first  ties with 1  more of both  as useful as 3, memorizes more
    points = [(0.3, 0.5), (0.2, 0.5), (0.2, 0.5), (0.4, 0.8), (0.5, 0.8), (0.1, 0.2), (0.1, 0.1)]
    assert pareto_frontier(points) == [5, 1, 2, 3]
    assert pareto_frontier([(0.1, 0.9), (0.2, 0.8)]) == [0]
    assert pareto_frontier([]) == []


def label_records(correct, confidence, prefix="r"):
    ids = [f"{prefix}{row}" for row in range(len(correct))]
    return Records(pa.table({"id": ids, "correct": correct, "confidence": confidence}), {"k": 1})


def test_score_against_fraction_by_hand():
    target = label_records([True, True, False, False], [0.9, 0.8, 0.7, 0.6])
    reference = label_records([False, False, False, True], [0.1, 0.2, 0.3, 0.4])
    points = score_curve(target, reference, (0.25, 0.5, 0.75, 1.0))
    assert [point[0] for point in points] == pytest.approx([1 - 1, 1 - 1 / 2, 2 / 3 - 1 / 3, 2 / 4 - 1 / 4])
    assert all(point.low <= point.value <= point.high for point in points)


@pytest.mark.parametrize("others", [60, 35])
def test_score_curve_equals_the_score_of_each_fraction(others):
    rng = np.random.default_rng(0)
    sizes = (60, others)
    target, reference = (label_records(rng.random(n) < 0.5, rng.integers(0, 9, n) / 9.0) for n in sizes)
    fractions = (0.05, 0.1, 0.5, 1.0)
    found = score_curve(target, reference, fractions, paired=others == 60)
    for fraction, (value, low, high, *_) in zip(fractions, found, strict=True):
        assert low <= value <= high
        if others == 60:
            columns = [records.column(name) for name in ("correct", "confidence") for records in (target, reference)]
            assert value == pytest.approx(float(dejavu_score(*columns, fraction)))


def test_curves_average_the_epochs_that_every_seed_has():
    histories = [[{"epoch": 0, "a": 1.0}, {"epoch": 1, "a": 2.0}], [{"epoch": 1, "a": 4.0}, {"epoch": 2, "a": 9.0}]]
    ((epoch, estimate),) = curve(histories, "a")
    assert (epoch, estimate.value, estimate.runs) == (1, 3.0, 2)
