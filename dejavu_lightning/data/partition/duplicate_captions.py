"""The same caption under several ids, and what a partition makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dejavu_lightning.data.account import Account
from dejavu_lightning.data.partition.duplicates import Duplicates, Homes, Wording
from dejavu_lightning.data.sources.caption_source import CaptionSource, normalized_caption


class DuplicateCaptions(Duplicates):
    """Which of N pictures have the same caption but for case, punctuation and spaces, and what to do about it.

    Arguments are those of :class:`~dejavu_lightning.data.partition.duplicates.Duplicates`.
    """

    wording: ClassVar[Wording] = Wording(
        argument="duplicate_captions",
        copies="pictures with the caption of another",
        groups="pictures share their caption with others",
        like="with the caption of",
        seen="a model that is said not to have seen a caption has seen it with another picture",
        remedy="change them; or set duplicate_captions to 'keep', so that pictures with one caption stay in one split, "
        "or to 'drop', so that one of them is used",
    )

    @classmethod
    def of_captions(cls, source: CaptionSource, policy: str) -> DuplicateCaptions:
        """Those of a source, by the pictures' own captions."""
        normalized = [normalized_caption(caption) for caption in source.captions]
        first: dict[str, int] = {}
        same_as = np.array([first.setdefault(text, row) for row, text in enumerate(normalized)], dtype=np.int64)
        return cls(source.ids, same_as, policy, type(source).__name__)

    def used_of(self, pictures: Duplicates) -> NDArray[np.bool_]:
        """(N,) which pictures a partition is made of, by both: where one of several is used, one that both leave."""
        left = pictures.used()
        return left & self.used(left)

    def homes_with(self, pictures: Duplicates) -> Homes:
        """Where groups go while a partition is drawn; what a picture or a caption joins stays together."""
        count = len(self.ids)
        left = np.flatnonzero(self.used_of(pictures))
        # Nodes: the pictures, then a node for each group of either kind.
        groups = (count + pictures.same_as[left], 2 * count + self.same_as[left])
        ends = np.concatenate([np.stack([left, group]) for group in groups], axis=1)
        graph = coo_array((np.ones(ends.shape[1], dtype=bool), ends), shape=(3 * count, 3 * count))
        _, group = connected_components(graph, directed=False)
        several = left[np.bincount(group[left])[group[left]] > 1]
        return Homes({int(position): int(group[position]) for position in several})

    def account(self, pictures: Duplicates, members: Mapping[str, Sequence[int]]) -> Account:
        """Pictures found are pictures in a split and those in none, by reason.

        Args:
            pictures: which are the same.
            members: positions of the pictures in each split.
        """
        kept = {position for positions in members.values() for position in positions}
        left_out = [position for position in range(len(self.ids)) if position not in kept]
        undropped = pictures.used()
        reasons: dict[str, list[Any]] = {"copies_of_pictures": [], "copies_of_captions": [], "in_no_split": []}
        for position in left_out:
            if undropped[position] and position in self.grouped:
                reason = "copies_of_captions"
            else:
                reason = "copies_of_pictures" if position in pictures.grouped else "in_no_split"
            reasons[reason].append(self.ids[position])
        counts = {"pictures": len(kept), **{reason: len(found) for reason, found in reasons.items()}}
        return Account("pictures to split", len(self.ids), counts, reasons, reasons)
