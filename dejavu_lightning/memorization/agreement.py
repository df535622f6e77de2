"""Whether references agree about which records are memorized (Kokhlikyan et al. 2024, arXiv 2504.05651)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.memorization.compare import Comparison


class Agreement(NamedTuple):
    """What two references say of the same N records.

    ``agreement`` share of the records with the same verdict, in [0, 1]; ``kappa`` Cohen's, that share beyond what
    two independent references of the same rates would have, in [-1, 1], NaN where both never or always say yes;
    ``jaccard`` records that both call memorized among those that either does, in [0, 1], NaN where none does;
    ``both``, ``only_first``, ``only_second`` counts of memorized records.
    """

    first: str
    second: str
    agreement: float
    kappa: float
    jaccard: float
    both: int
    only_first: int
    only_second: int


def agreement(comparisons: Mapping[str, Comparison]) -> list[Agreement]:
    """Each pair of references, in their order; those without outcomes per record (``HeldOut``) are left out.

    Args:
        comparisons: of one target with each reference, by the reference's name.

    Raises:
        ValueError: two of them are about different records.
    """
    paired = {name: found.table for name, found in comparisons.items() if found.table is not None}
    ids = {name: table["id"].to_pylist() for name, table in paired.items()}
    found = []
    for first, second in combinations(paired, 2):
        if ids[first] != ids[second]:
            raise ValueError(f"the references {first!r} and {second!r} answered for different records")
        found.append(_agreement(first, second, memorized(paired[first]), memorized(paired[second])))
    return found


def memorized(table: Any) -> NDArray[np.bool_]:
    """(N,) of a comparison's records: only the target infers the label, or it finds more objects."""
    if "outcome" in table.column_names:
        return np.array([outcome == "memorized" for outcome in table["outcome"].to_pylist()], dtype=bool)
    return np.array([gap > 0 for gap in table["correct_gap"].to_pylist()], dtype=bool)


def _agreement(first: str, second: str, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Agreement:
    both, either = int((one & other).sum()), int((one | other).sum())
    same = float((one == other).mean())
    chance = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    return Agreement(
        first,
        second,
        agreement=same,
        kappa=float((same - chance) / (1 - chance)) if chance < 1 else math.nan,
        jaccard=both / either if either else math.nan,
        both=both,
        only_first=int((one & ~other).sum()),
        only_second=int((other & ~one).sum()),
    )
