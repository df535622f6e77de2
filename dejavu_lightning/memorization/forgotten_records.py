"""When records are memorized, forgotten and learned again while a model trains.

Events are those of Toneva et al. (2019, arXiv 1812.05159), who count them of correct answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.core.intervals import RecordTerms


class EpochEvents(NamedTuple):
    """What became of the records between two measurements.

    Attributes:
        epoch: of the later measurement.
        records: how many there are.
        memorized: of which the target knows more than the reference.
        first_memorized: those of them of which it never did before.
        learned_again: those of them of which it did before, but not at the measurement before.
        forgotten: of which it did at the measurement before, and does no more.
        reversed: of which the reference knows more than the target.
        first_reversed: those of them of which it never did before; without memory about as many as ``first_memorized``
            of two models that are equally able.
    """

    epoch: int
    records: int
    memorized: int
    first_memorized: int
    learned_again: int
    forgotten: int
    reversed: int
    first_reversed: int


class RecordEvents(NamedTuple):
    """What became of one record.

    Attributes:
        id: of the record.
        first_memorized: the epoch; None if it never was.
        measurements: in how many it was memorized.
        forgotten, learned_again: how often.
        memorized: whether it is at the end.
    """

    id: str
    first_memorized: int | None
    measurements: int
    forgotten: int
    learned_again: int
    memorized: bool


class Forgetting(NamedTuple):
    """By epoch, and by record: those memorized for longest first."""

    epochs: Sequence[EpochEvents]
    records: Sequence[RecordEvents]


def forgetting(measured: Mapping[int, RecordTerms]) -> Forgetting:
    """Count when records are first memorized, forgotten and learned again.

    Between two measurements nothing is seen: measured more often, more events are met.

    Args:
        measured: by epoch, of each attacked record what it adds to the test's gap; the record is memorized where that
            is positive.

    Raises:
        ValueError: there is no measurement, or not all are of the same records.

    Example:
        >>> found = forgetting({0: {"a": 0.0}, 1: {"a": 1.0}, 2: {"a": 0.0}, 3: {"a": 1.0}})
        >>> found.records[0]
        RecordEvents(id='a', first_memorized=1, measurements=2, forgotten=1, learned_again=1, memorized=True)
        >>> [(one.first_memorized, one.forgotten, one.learned_again) for one in found.epochs]
        [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    """
    if not measured:
        raise ValueError("measured is empty; give the terms of at least one epoch")
    epochs = sorted(measured)
    ids = sorted(measured[epochs[0]])
    for epoch in epochs:
        if measured[epoch].keys() != measured[epochs[0]].keys():
            odd = sorted(measured[epoch].keys() ^ measured[epochs[0]].keys())
            raise ValueError(
                f"the measurements after {epochs[0]} and {epoch} epochs are of different records: {len(odd)} are in "
                f"one of them alone, such as {odd[0]!r}"
            )
    terms = np.array([[measured[epoch][identifier] for identifier in ids] for epoch in epochs])  # (E, N)
    is_memorized, is_reversed = terms > 0, terms < 0
    before = np.zeros_like(is_memorized)
    before[1:] = is_memorized[:-1]
    ever, ever_reversed = (_earlier(each) for each in (is_memorized, is_reversed))
    first = is_memorized & ~ever
    again, lost = is_memorized & ever & ~before, before & ~is_memorized
    counted = (is_memorized, first, again, lost, is_reversed, is_reversed & ~ever_reversed)
    by_epoch = [
        EpochEvents(epoch, len(ids), *(int(each[row].sum()) for each in counted)) for row, epoch in enumerate(epochs)
    ]
    records = [
        RecordEvents(
            identifier,
            epochs[int(first[:, place].argmax())] if first[:, place].any() else None,
            measurements=int(is_memorized[:, place].sum()),
            forgotten=int(lost[:, place].sum()),
            learned_again=int(again[:, place].sum()),
            memorized=bool(is_memorized[-1, place]),
        )
        for place, identifier in enumerate(ids)
    ]
    records.sort(key=lambda record: (-record.measurements, record.id))
    return Forgetting(by_epoch, records)


def _earlier(happened: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(E, N) whether it happened at any measurement before."""
    found = np.zeros_like(happened)
    found[1:] = np.logical_or.accumulate(happened[:-1], axis=0)
    return found
