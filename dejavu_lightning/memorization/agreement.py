"""Whether references agree about which records are memorized (Kokhlikyan et al. 2024, arXiv 2504.05651)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.protocols import Comparison


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


def agreement(comparisons: Mapping[str, Comparison], display: Display) -> list[Agreement]:
    """Compare each pair of references, in their order; those without outcomes per record (``HeldOut``) are left out.

    Args:
        comparisons: of one target with each reference, by the reference's name.
        display: of their test, which tells the memorized records.

    Raises:
        ValueError: two of them are about different records.

    Example:
        >>> import pyarrow as pa
        >>> from dejavu_lightning.memorization import Comparison, LabelInference
        >>> def said(*outcomes):
        ...     return Comparison({}, pa.table({"id": ["a", "b"], "outcome": outcomes}), gaps={}, settings={})
        >>> answers = {"one": said("memorized", "correlated"), "other": said("memorized", "memorized")}
        >>> [(pair.agreement, pair.jaccard) for pair in agreement(answers, LabelInference.display)]
        [(0.5, 0.5)]
    """
    paired = {name: found.table for name, found in comparisons.items() if found.table is not None}
    ids = {name: table["id"].to_pylist() for name, table in paired.items()}
    for first, second in combinations(paired, 2):
        if ids[first] != ids[second]:
            raise ValueError(f"the references {first!r} and {second!r} answered for different records")
    return agreement_of({name: display.memorized(table) for name, table in paired.items()})


def agreement_of(verdicts: Mapping[str, NDArray[np.bool_]]) -> list[Agreement]:
    """Compare each pair of verdicts about the same records, in their order.

    Args:
        verdicts: (N,) by name, whether the verdict on each record is yes.

    Example:
        >>> import numpy as np
        >>> (pair,) = agreement_of({"one": np.array([True, False]), "other": np.array([True, True])})
        >>> pair.agreement, pair.both, pair.only_second
        (0.5, 1, 1)
    """
    return [_agreement(one, other, verdicts[one], verdicts[other]) for one, other in combinations(verdicts, 2)]


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
