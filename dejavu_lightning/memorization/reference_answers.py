"""What references infer, and which records they rank first (Kokhlikyan et al. 2024, arXiv 2504.05651)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import share

Verdicts = NDArray[np.bool_]


class CommonAnswers(NamedTuple):
    """What a reference infers of the records that several second models infer, and of those that none of them does.

    Attributes:
        reference: its name.
        common, uncommon: how many records all of the second models infer, and how many none.
        of_common: share of the former that the reference infers; None where there are none.
        of_uncommon: likewise of the latter. A reference that infers everything has 1 in both.
    """

    reference: str
    common: int
    uncommon: int
    of_common: Estimate | None
    of_uncommon: Estimate | None


class TopPrecision(NamedTuple):
    """How well the first records of an order tell which are memorized.

    Attributes:
        records: L, how many come first.
        precision: share of them that are memorized.
        recall: share of the memorized ones that are among them.
        f_score: their harmonic mean; 0 where both are.
    """

    records: int
    precision: Estimate
    recall: Estimate
    f_score: float


class ClassShare(NamedTuple):
    """Of the records of a class, those that a reference infers.

    Attributes:
        label: of the class.
        inferred, records: counts.
        share: of the first in the second.
    """

    label: int
    inferred: int
    records: int
    share: Estimate


def answers_on_common(inferred: Mapping[str, Verdicts], second_models: Sequence[str]) -> list[CommonAnswers]:
    """Compare references with the records that all of some second models infer, and with those that none does.

    Several second models are right together where the data make it likely; where one alone is, it may be luck. The
    records that all of them infer stand for the truth about correlation in Kokhlikyan et al. (2024, section 4).

    Args:
        inferred: (N,) by reference, whether it is right about each record.
        second_models: names of those whose common records count; they themselves are not in the result.

    Raises:
        ValueError: a name is not among the references, or fewer than two are given.

    Example:
        >>> import numpy as np
        >>> said = {"one": [1, 1, 0, 0], "two": [1, 0, 1, 0], "crops": [1, 0, 0, 1]}
        >>> (found,) = answers_on_common({name: np.array(each, bool) for name, each in said.items()}, ["one", "two"])
        >>> found.common, found.of_common.value, found.uncommon, found.of_uncommon.value
        (1, 1.0, 1, 1.0)
    """
    unknown = [name for name in second_models if name not in inferred]
    if unknown or len(set(second_models)) < 2:
        raise ValueError(
            f"second_models must be two or more of {', '.join(inferred)}; got {', '.join(second_models) or 'none'}"
        )
    said = np.stack([inferred[name] for name in second_models])
    every, none = np.asarray(said.all(axis=0)), np.asarray(~said.any(axis=0))
    return [
        CommonAnswers(name, int(every.sum()), int(none.sum()), _share_within(own, every), _share_within(own, none))
        for name, own in inferred.items()
        if name not in second_models
    ]


def top_precision(memorized: Verdicts, sizes: Sequence[int]) -> list[TopPrecision]:
    """Compute precision, recall and F of the first L records of an order.

    Args:
        memorized: (N,) in that order, whether each record is memorized; of a random order precision is its mean.
        sizes: the L; those beyond N are left out.

    Raises:
        ValueError: no record is memorized, so there is no recall, or a size is below 1.

    Example:
        >>> import numpy as np
        >>> (first,) = top_precision(np.array([True, False, True, False]), [1])
        >>> first.precision.value, first.recall.value, round(first.f_score, 2)
        (1.0, 0.5, 0.67)
    """
    total = int(memorized.sum())
    if not total or min(sizes, default=1) < 1:
        raise ValueError(f"sizes must be at least 1 and a record memorized; got {list(sizes)}, {total} memorized")
    hits = np.cumsum(memorized)
    found = []
    for size in (size for size in sizes if size <= len(memorized)):
        hit = int(hits[size - 1])
        found.append(TopPrecision(size, share(hit, size), share(hit, total), 2 * hit / (size + total)))
    return found


def most_inferred(labels: Sequence[int], inferred: Verdicts, count: int = 5) -> list[ClassShare]:
    """List the classes of which a reference infers the largest share: those most correlated with what it sees.

    Args:
        labels: (N,) the true class of each record.
        inferred: (N,) whether the reference is right about it.
        count: how many classes at most. The first of many are high by chance too.

    Example:
        >>> import numpy as np
        >>> [(one.label, one.inferred, one.records) for one in most_inferred([0, 0, 1], np.array([True, False, True]))]
        [(1, 1, 1), (0, 1, 2)]
    """
    classes = np.asarray(labels)
    found = []
    for label in np.unique(classes).tolist():
        own = inferred[classes == label]
        found.append(ClassShare(label, int(own.sum()), len(own), share(int(own.sum()), len(own))))
    return sorted(found, key=lambda one: (-one.share.value, one.label))[:count]


def _share_within(own: Verdicts, chosen: Verdicts) -> Estimate | None:
    return share(int(own[chosen].sum()), int(chosen.sum())) if chosen.any() else None
