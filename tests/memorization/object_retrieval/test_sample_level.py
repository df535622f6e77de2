"""P-values of the top records, adjusted for being many."""

import numpy as np
import pyarrow as pa

from dejavu_lightning.memorization import Records, sample_gaps


def records(recall):
    count = len(recall)
    table = {"id": [f"r{row:02d}" for row in range(count)], "min_distance": np.arange(count, dtype=float)}
    table |= {name: np.asarray(recall, float) for name in ("precision", "recall", "f_score")}
    return Records(pa.table({**table, "correct": np.asarray(recall, dtype=np.int64)}), {"k": 1})


def test_p_values_are_adjusted_over_all_rows():
    """Of 9 rows, Holm's by a plain loop."""
    rng = np.random.default_rng(0)
    rows = sample_gaps(records(rng.random(30) < 0.6), records(rng.random(30) < 0.4), sizes=(20,)).to_pylist()
    assert len(rows) == 9
    least = 0.0
    for left, row in zip(range(9, 0, -1), sorted(rows, key=lambda row: row["p_value"]), strict=True):
        least = max(least, min(1.0, left * row["p_value"]))
        assert row["p_adjusted"] == least
    assert any(row["p_value"] < row["p_adjusted"] for row in rows)
