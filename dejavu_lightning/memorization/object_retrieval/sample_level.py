"""Gaps of the records that memorize most, beside what their selection alone would give.

Jayaraman et al. (2024, arXiv 2402.02103, section 3.3) sort records and report the gaps of the first L.
Sorting by an outcome selects on noise: records that the target happens to answer well come first even where
nothing is memorized. So every gap stands beside its null: the same statistic where target and reference are
exchanged at random, record by record, before the sorting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dejavu_lightning.core.intervals import Floats, holm
from dejavu_lightning.core.records import Records
from dejavu_lightning.metrics.functional import Overlap

CELLS_AT_ONCE = 1 << 23
ORDERS = ("min_distance", "correct", "gap")
SIZES = (20, 100)
PERMUTATIONS = 1000
SCHEMA = pa.schema(
    [("order", pa.string()), ("records", pa.int64()), ("measure", pa.string())]
    + [(name, pa.float64()) for name in ("gap", "null_mean", "null_low", "null_high", "p_value", "p_adjusted")]
)

Flips = NDArray[np.bool_]


def sample_gaps(
    target: Records,
    reference: Records,
    sizes: Sequence[int] = SIZES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pa.Table:
    """Compute the mean gaps of the first L records in three orders, with their permutation null.

    Args:
        target, reference: records of object retrieval with the same ids.
        sizes: the L; those beyond the number of records are left out.
        permutations: random exchanges behind the null.
        seed: of those.

    Returns:
        A row per order, L and measure. ``order``: "min_distance" of the target, smallest first; "correct",
        how many objects the target finds, largest first; "gap", how many more than the reference, largest
        first; ties by id. ``records`` L; ``measure``; ``gap`` target minus reference, in [-1, 1]; ``null_mean``,
        ``null_low``, ``null_high`` mean and 95% range of the null; ``p_value`` one-sided, in (0, 1]; ``p_adjusted``
        Holm's, for all rows together.

    Example:
        >>> import pyarrow as pa
        >>> from dejavu_lightning.memorization import Records
        >>> def records(found):
        ...     own = {"id": ["a", "b", "c"], "min_distance": [0.1, 0.2, 0.3], "correct": found}
        ...     return Records(pa.table({**own, "precision": found, "recall": found, "f_score": found}))
        >>> gaps = sample_gaps(records([1.0, 1.0, 0.0]), records([0.0, 1.0, 0.0]), sizes=[2], permutations=50)
        >>> first = gaps.to_pylist()[0]
        >>> first["order"], first["records"], first["measure"], first["gap"]
        ('min_distance', 2, 'precision', 0.5)
    """
    sizes = [size for size in sizes if size <= len(target)]
    gaps = np.stack([(target.column(m) - reference.column(m)).numpy() for m in Overlap._fields])  # 3, N
    keys = {order: _positions(order, target, reference) for order in ORDERS}
    unchanged = np.zeros((1, len(target)), dtype=bool)
    rng = np.random.default_rng(seed)
    step = max(1, CELLS_AT_ONCE // len(target))
    blocks = [rng.random((min(step, permutations - s), len(target))) < 0.5 for s in range(0, permutations, step)]
    rows: list[dict[str, Any]] = []
    for order in ORDERS:
        for size in sizes:
            observed = _top_means(gaps, keys[order], unchanged, size)[:, 0]
            null = np.concatenate([_top_means(gaps, keys[order], flips, size) for flips in blocks], axis=1)
            for measure, value, drawn in zip(Overlap._fields, observed, null, strict=True):
                low, high = np.quantile(drawn, [0.025, 0.975])
                reached = int((drawn >= value - 1e-12).sum())
                rows.append(
                    {
                        "order": order,
                        "records": size,
                        "measure": measure,
                        "gap": float(value),
                        "null_mean": float(drawn.mean()),
                        "null_low": float(low),
                        "null_high": float(high),
                        "p_value": (1 + reached) / (1 + permutations),
                    }
                )
    adjusted = holm([row["p_value"] for row in rows])
    return pa.Table.from_pylist([row | {"p_adjusted": p} for row, p in zip(rows, adjusted, strict=True)], SCHEMA)


def _positions(order: str, target: Records, reference: Records) -> NDArray[np.int64]:
    """Sort keys (2, N), smallest first and no two alike: of each record as it is, and with its roles exchanged."""
    if order == "min_distance":
        # Ranks within a model: two embedding spaces need not have the same scale.
        distances = [records.column("min_distance").numpy() for records in (target, reference)]
        values = [np.searchsorted(np.sort(own), own) for own in distances]
    else:
        own, other = (records.column("correct").numpy() for records in (target, reference))
        values = [-own, -other] if order == "correct" else [other - own, own - other]
    both = np.concatenate(values)
    rank = np.unique(both, return_inverse=True)[1].reshape(2, -1)
    return np.asarray(rank * len(target) + np.arange(len(target)), dtype=np.int64)


def _top_means(gaps: Floats, keys: NDArray[np.int64], flips: Flips, size: int) -> Floats:
    """gaps (m, N), flips (r, N) -> (m, r): means over the first ``size`` records of each exchange."""
    keyed = np.where(flips, keys[1], keys[0])
    first = np.argpartition(keyed, size - 1, axis=1)[:, :size]
    sign = 1 - 2 * np.take_along_axis(flips, first, axis=1)
    return np.asarray((gaps[:, first] * sign).mean(axis=2))
