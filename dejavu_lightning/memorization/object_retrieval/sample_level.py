"""Gaps of the records that memorize most, beside what their selection alone would give.

Jayaraman et al. (2024, arXiv 2402.02103, section 3.3) sort records and report the gaps of the first L.
Sorting by an outcome selects on noise: records that the target happens to answer well come first even where
nothing is memorized. So every gap stands beside its null: the same statistic where target and reference are
exchanged at random, record by record, before the sorting.
The rows of the table are many and alike; their p-values are adjusted together by the permutations themselves, which
know how alike (Westfall and Young 1993, the single-step maximum of standardised statistics).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dejavu_lightning.core.intervals import Floats
from dejavu_lightning.core.records import Records
from dejavu_lightning.metrics.functional import Overlap

CELLS_AT_ONCE = 1 << 22
ORDERS = ("min_distance", "correct", "gap")
TOP = (1, 5, 10, 20, 100, 0.1)
PERMUTATIONS = 1000
ROUNDING = 1e-9
SCHEMA = pa.schema(
    [("order", pa.string()), ("k", pa.int64()), ("records", pa.int64()), ("share", pa.float64())]
    + [("measure", pa.string())]
    + [(name, pa.float64()) for name in ("gap", "null_mean", "null_low", "null_high", "p_value", "p_adjusted")]
)

Flips = NDArray[np.bool_]


class Top(NamedTuple):
    """The first L records, and the share of all that was asked for, if it was one."""

    records: int
    share: float | None


def sample_gaps(
    target: Records,
    reference: Records,
    top: Sequence[float] = TOP,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pa.Table:
    """Compute the mean gaps of the first L records in three orders, with their permutation null.

    Args:
        target, reference: records of object retrieval with the same ids.
        top: the L, at least 1, or shares of the records, below 1. Those beyond the number of records are left out, and
            of equal ones all but the first.
        permutations: random exchanges behind the null.
        seed: of those.

    Returns:
        A row per order, k, L and measure. ``order``: "min_distance" of the target, smallest first; "correct",
        how many objects the target finds, largest first; "gap", how many more than the reference, largest
        first; ties by id. ``k`` neighbours (null where the records do not say); ``records`` L and its ``share``;
        ``measure``; ``gap`` target minus reference, in [-1, 1]; ``null_mean``, ``null_low``, ``null_high`` mean and 95%
        range of the null; ``p_value`` one-sided, in (0, 1]; ``p_adjusted`` for all rows together: the probability that
        any row of exchanged models is as many standard deviations above its null's mean.

    Raises:
        ValueError: a number of ``top`` is neither a count nor a share.

    Example:
        >>> import pyarrow as pa
        >>> from dejavu_lightning.memorization import Records
        >>> def records(found):
        ...     own = {"id": ["a", "b", "c"], "min_distance": [0.1, 0.2, 0.3], "correct": found}
        ...     return Records(pa.table({**own, "precision": found, "recall": found, "f_score": found}))
        >>> gaps = sample_gaps(records([1.0, 1.0, 0.0]), records([0.0, 1.0, 0.0]), top=[2], permutations=50)
        >>> first = gaps.to_pylist()[0]
        >>> first["order"], first["records"], first["measure"], first["gap"]
        ('min_distance', 2, 'precision', 0.5)
    """
    count = len(target)
    first = _first(top, count)
    if not first:
        return SCHEMA.empty_table()
    asked_for = _asked_for(target)
    gaps = _gaps(target, reference, others=asked_for is not None)
    unchanged = np.zeros((1, count), dtype=bool)
    flips = np.random.default_rng(seed).random((permutations, count)) < 0.5
    rows: list[dict[str, Any]] = []
    nulls: list[Floats] = []
    for order in ORDERS:
        for suffix, k, differences in gaps:
            keys = _positions(order, [_AtK(one, suffix, asked_for) for one in (target, reference)])
            observed = _top_means(differences, keys, unchanged, first)[..., 0]  # L, measures
            null = _top_means(differences, keys, flips, first)
            for size, values, drawn in zip(first, observed, null, strict=True):
                place = {"order": order, "k": k, "records": size.records, "share": size.share}
                rows += [
                    place | {"measure": name, "gap": float(value)}
                    for name, value in zip(Overlap._fields, values, strict=True)
                ]
                nulls += list(drawn)
    return pa.Table.from_pylist(_beside_null(rows, np.stack(nulls)), SCHEMA)


def check_top(top: Sequence[float]) -> None:
    """Raise ValueError where a number is neither a count nor a share."""
    for number in top:
        if not 0 < number < 1 and (number < 1 or number != int(number)):
            raise ValueError(f"top must hold counts of records from 1 or shares below 1, got {number} in {list(top)}")


def _first(top: Sequence[float], count: int) -> list[Top]:
    """Each L once, of those that there are."""
    check_top(top)
    found: dict[int, Top] = {}
    for number in top:
        size = int(number) if number >= 1 else max(1, int(number * count))
        if size <= count:
            found.setdefault(size, Top(size, float(number) if number < 1 else None))
    return [found[size] for size in sorted(found)]


def _gaps(target: Records, reference: Records, others: bool) -> list[tuple[str, int | None, Floats]]:
    """Suffix, k and (3, N) differences of the measures; of ``others`` than the plain k too."""
    plain = target.settings.get("k")
    suffixes = {"": None if plain is None else int(plain)}
    if others:
        names = [name for name in target.table.column_names if name.startswith("recall@") and "/" not in name]
        suffixes |= {name.removeprefix("recall"): int(name.removeprefix("recall@")) for name in names}
    return [
        (
            suffix,
            k,
            np.stack([(target.column(m + suffix) - reference.column(m + suffix)).numpy() for m in Overlap._fields]),
        )
        for suffix, k in sorted(suffixes.items(), key=lambda item: item[1] or 0)
    ]


def _asked_for(records: Records) -> Floats | None:
    """(N,) objects that each record was asked for."""
    for name in ("scored", "objects"):
        if name in records.table.column_names:
            return np.array([len(set(objects)) for objects in records.table[name].to_pylist()], dtype=float)
    return None


class _AtK(NamedTuple):
    """A model's records at one k: its suffix, and how many objects each was asked for."""

    of: Records
    suffix: str
    asked_for: Floats | None

    def correct(self) -> Floats:
        """(N,) objects that each record found, of any k by its recall."""
        if not self.suffix or self.asked_for is None:
            return np.asarray(self.of.column("correct").numpy(), dtype=float)
        return np.asarray(np.rint(self.of.column("recall" + self.suffix).numpy() * self.asked_for))


def _positions(order: str, both: Sequence[_AtK]) -> NDArray[np.int64]:
    """Sort keys (2, N), smallest first and no two alike: of each record as it is, and with its roles exchanged."""
    values: list[NDArray[Any]]
    if order == "min_distance":
        # Ranks within a model: two embedding spaces need not have the same scale.
        distances = [one.of.column("min_distance").numpy() for one in both]
        values = [np.searchsorted(np.sort(own), own) for own in distances]
    else:
        own, other = (one.correct() for one in both)
        values = [-own, -other] if order == "correct" else [other - own, own - other]
    rank = np.unique(np.concatenate(values), return_inverse=True)[1].reshape(2, -1)
    return np.asarray(rank * rank.shape[1] + np.arange(rank.shape[1]), dtype=np.int64)


def _top_means(gaps: Floats, keys: NDArray[np.int64], flips: Flips, first: Sequence[Top]) -> Floats:
    """gaps (m, N), flips (r, N) -> (L, m, r): means over the first records of each exchange."""
    sizes = np.array([size.records for size in first])
    found = np.empty((len(sizes), len(gaps), len(flips)))
    step = max(1, CELLS_AT_ONCE // gaps.shape[1])
    for start in range(0, len(flips), step):
        exchanged = flips[start : start + step]
        keyed = np.where(exchanged, keys[1], keys[0])
        chosen = np.argpartition(keyed, sizes[-1] - 1, axis=1)[:, : sizes[-1]]
        chosen = np.take_along_axis(chosen, np.take_along_axis(keyed, chosen, axis=1).argsort(axis=1), axis=1)
        sign = 1 - 2 * np.take_along_axis(exchanged, chosen, axis=1)
        for row, values in enumerate(gaps):
            sums = (values[chosen] * sign).cumsum(axis=1)[:, sizes - 1]
            found[:, row, start : start + step] = (sums / sizes).T
    return found


def _beside_null(rows: Sequence[dict[str, Any]], null: Floats) -> list[dict[str, Any]]:
    """Add to each row what its null (rows, r) says, by itself and for all rows together."""
    observed = np.array([row["gap"] for row in rows])[:, None]
    mean, spread = null.mean(axis=1, keepdims=True), null.std(axis=1, keepdims=True)
    low, high = np.quantile(null, [0.025, 0.975], axis=1)
    unit = np.where(spread > ROUNDING, spread, 1.0)
    largest = ((null - mean) / unit).max(axis=0)
    times = null.shape[1] + 1
    alone = (1 + (null >= observed - ROUNDING).sum(axis=1)) / times
    together = (1 + (largest >= (observed - mean) / unit - ROUNDING).sum(axis=1)) / times
    columns = zip(rows, mean[:, 0], low, high, alone, np.maximum(alone, together), strict=True)
    names = ("null_mean", "null_low", "null_high", "p_value", "p_adjusted")
    return [row | dict(zip(names, map(float, values), strict=True)) for row, *values in columns]
