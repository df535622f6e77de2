"""Which split a sample belongs to, told from its id alone."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from math import isclose

from dejavu_lightning.core.split_record import SplitRecord

SPLITS = ("A", "B", "public", "held_out", "validation")


class HashSplits:
    """Cuts [0, 1), where the hash of an id lies, into splits.

    Machine, order and layout of the shards have no part in it, and further samples move none.

    Args:
        fractions: of each split, of :data:`SPLITS`; they add up to 1. Without ``public`` that is the rest.
        seed: another seed, another partition.
        key_field: what ids are; only part of the fingerprint.

    Raises:
        ValueError: a split is unknown, A or B is empty, or the fractions do not add up to 1.
    """

    def __init__(self, fractions: Mapping[str, float], seed: int = 0, key_field: str | None = None) -> None:
        unknown = sorted(set(fractions) - set(SPLITS))
        if unknown:
            raise ValueError(f"fractions has unknown splits {unknown}; choose from {list(SPLITS)}")
        given = {"public": 1 - sum(fractions.values()), **fractions}
        self.fractions = {split: round(float(given.get(split, 0)), 12) for split in SPLITS}
        if min(self.fractions.values()) < 0 or not isclose(sum(self.fractions.values()), 1, abs_tol=1e-9):
            raise ValueError(f"fractions must be at least 0 and add up to 1, got {dict(fractions)}")
        if not all(self.fractions[split] for split in ("A", "B", "public")):
            raise ValueError(f"fractions must leave some to A, B and public, got {self.fractions}")
        self.seed, self.key_field = seed, key_field
        self._names = [split for split in SPLITS if self.fractions[split]]
        self._ends = list(accumulate(self.fractions[split] for split in self._names[:-1]))

    def of(self, identifier: str) -> str:
        """The split of a sample."""
        digest = hashlib.sha256(f"{self.seed}\0{identifier}".encode()).digest()
        position = (int.from_bytes(digest[:8]) >> 11) / 2**53  # as many bits as a float holds: below 1
        return self._names[bisect_right(self._ends, position)]

    def rank(self, identifier: str) -> int:
        """A second hash, in whose order samples are taken where not all can be."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}\0rank\0{identifier}".encode()).digest()[:8])

    @property
    def settings(self) -> dict[str, object]:
        """All that decides about a sample's split."""
        return {"seed": self.seed, "fractions": self.fractions, "key_field": self.key_field}

    def record(self, split: str, content: str = "") -> SplitRecord:
        """What a checkpoint trained on ``split`` says of its training data.

        Args:
            content: fingerprint of the samples that were split; the rule alone does not tell one download from another.
        """
        fingerprint = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]
        return SplitRecord(split, fingerprint, content)
