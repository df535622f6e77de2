"""Which samples decide when training stops; the others judge the model that was chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

DECIDE_ON = 0.5
_KEY = "dejavu_lightning_decision"  # in checkpoints


class SampleCounts(NamedTuple):
    """How many samples of a set decided and how many judge; together they are all that were ``found``."""

    found: int
    judged: int
    decided: int


@dataclass(frozen=True)
class DecisionPart:
    """The samples that decide when training stops.

    A sample decides if the hash of its id, a number in [0, 1), lies below the share: order, machine, split and
    the other samples have no part in it, and a larger share holds all that a smaller one does.

    Args:
        share: about this share of the samples decides.

    Raises:
        ValueError: nothing would be left to decide or to judge.

    Example:
        >>> part = DecisionPart(share=0.5)
        >>> part.count([f"record-{i}" for i in range(1000)])
        SampleCounts(found=1000, judged=500, decided=500)
    """

    share: float = DECIDE_ON

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(
                f"the share of samples that decide must be above 0 and below 1, got {self.share}: the others judge"
            )

    def decides(self, ids: Iterable[object]) -> NDArray[np.bool_]:
        """Whether each sample (N,) decides."""
        # A prefix of its own: splits are hashes of ids, too, and must not coincide with this part.
        digests = (hashlib.sha256(f"decides\0{identifier}".encode()).digest() for identifier in ids)
        return np.array([int.from_bytes(digest[:8]) < self.share * 2**64 for digest in digests], dtype=np.bool_)

    def judges(self, ids: Sequence[object], what: str) -> NDArray[np.bool_]:
        """Whether each sample (N,) judges, which is each that does not decide; ``what`` is for errors.

        Raises:
            ValueError: none does.
        """
        found = ~self.decides(ids)
        if not found.any():
            raise ValueError(
                f"none of {len(ids)} {what} is left to judge: {self.share:g} of all ids decided when training stopped; "
                "measure on more of them, or on all (--leave_out 0, leave_out=None)"
            )
        return found

    def count(self, ids: Sequence[object]) -> SampleCounts:
        """How many decide and judge."""
        decided = int(self.decides(ids).sum())
        return SampleCounts(len(ids), len(ids) - decided, decided)

    def store(self, checkpoint: dict[str, Any]) -> None:
        """Write it into a checkpoint; of two parts the larger stays."""
        before = checkpoint.get(_KEY, {"share": 0.0})
        checkpoint[_KEY] = {"share": max(self.share, before["share"])}

    @classmethod
    def find(cls, *checkpoints: Mapping[str, Any] | None) -> DecisionPart | None:
        """The part that decided in any of the runs that the checkpoints are of, None where none did."""
        shares = [checkpoint[_KEY]["share"] for checkpoint in checkpoints if checkpoint and _KEY in checkpoint]
        return cls(max(shares)) if shares else None
