"""Gaps of the top records: p-values for all rows together, shares, every k."""

import numpy as np
import pyarrow as pa
import pytest

from dejavu_lightning.memorization import ObjectRetrieval, Records, sample_gaps


def records(recall, **more):
    count = len(recall)
    table = {"id": [f"r{row:02d}" for row in range(count)], "min_distance": np.arange(count, dtype=float)}
    table |= {name: np.asarray(recall, float) for name in ("precision", "recall", "f_score")}
    return Records(pa.table({**table, "correct": np.asarray(recall, dtype=np.int64), **more}), {"k": 1})


def test_p_values_of_all_rows_are_those_of_the_largest_standardised_statistic():
    """Of 6 rows, by plain loops: order "min_distance" leaves the records where they are."""
    rng = np.random.default_rng(0)
    target, reference = rng.random((2, 30)) < [[0.8], [0.3]]
    rows = sample_gaps(records(target), records(reference), top=(10, 20), permutations=200, seed=1).to_pylist()
    assert len(rows) == 3 * 2 * 3  # orders, L, measures
    flips = np.random.default_rng(1).random((200, 30)) < 0.5

    def statistic(order, size, flip):
        own, other = np.where(flip, reference, target) * 1.0, np.where(flip, target, reference) * 1.0
        key = {"min_distance": np.arange(30.0), "correct": -own, "gap": other - own}[order]
        return (own - other)[np.argsort(key, kind="stable")[:size]].mean()

    cells = [(order, size) for order in ("min_distance", "correct", "gap") for size in (10, 20)]
    nulls = {cell: np.array([statistic(*cell, flip) for flip in flips]) for cell in cells}
    largest = np.max([(null - null.mean()) / null.std() for null in nulls.values()], axis=0)
    for row in rows:
        null = nulls[row["order"], row["records"]]
        standardised = (row["gap"] - null.mean()) / null.std()
        assert row["p_adjusted"] == pytest.approx((1 + (largest >= standardised - 1e-9).sum()) / 201)
        assert row["p_value"] <= row["p_adjusted"]
    assert min(row["p_adjusted"] for row in rows) < 0.05  # Holm's of 18 rows would be 18 / 201 at the least
    assert any(row["p_value"] < row["p_adjusted"] for row in rows)


def test_no_row_is_called_clear_more_often_than_it_says():
    rng = np.random.default_rng(0)
    least = []
    for seed in range(200):
        own, other = (records(rng.integers(0, 4, 60)) for _ in range(2))
        rows = sample_gaps(own, other, top=(5, 20, 0.5), permutations=99, seed=seed).to_pylist()
        least.append(min(row["p_adjusted"] for row in rows))
    assert abs((np.array(least) <= 0.1).mean() - 0.1) < 0.07  # three standard errors of 200 draws


def test_shares_are_counted_and_no_number_of_records_stands_twice():
    few = records(np.zeros(30))
    rows = sample_gaps(few, few, top=(0.1, 3, 0.01, 0.5, 31, 30)).to_pylist()
    found = {row["records"]: row["share"] for row in rows}
    assert found == {3: 0.1, 1: 0.01, 15: 0.5, 30: None}  # floor(.1 x 30), at least 1, and 31 of 30 are not there


def test_every_k_has_lines_of_its_own():
    """Three objects a record: recalls of k = 5 say how many were found, and sort by that."""
    objects = pa.array([[0, 1, 2]] * 4)
    found = {"target": np.array([3, 0, 1, 2]), "reference": np.array([0, 0, 3, 0])}
    tables = [
        records([0, 0, 0, 0], objects=objects, **{f"{m}@5": counts / 3 for m in ("precision", "recall", "f_score")})
        for counts in found.values()
    ]
    rows = sample_gaps(*tables, top=(2,), permutations=20).to_pylist()
    gaps = {(row["k"], row["order"]): row["gap"] for row in rows if row["measure"] == "recall"}
    assert {k for k, _ in gaps} == {1, 5}
    assert gaps[5, "correct"] == pytest.approx((3 + 2 - 0 - 0) / 3 / 2)  # records 0 and 3
    assert gaps[5, "min_distance"] == pytest.approx((3 + 0 - 0 - 0) / 3 / 2)  # records 0 and 1
    assert gaps[1, "gap"] == 0


@pytest.mark.parametrize("top", [(0,), (1.5,), (20, -1)])
def test_top_holds_counts_or_shares(top):
    with pytest.raises(ValueError, match=r"counts of records from 1 or shares below 1, got"):
        ObjectRetrieval(top=top)
