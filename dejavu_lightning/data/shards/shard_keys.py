"""The keys of the samples that a split of shards has, for streams that others read."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.data.shards.hash_splits import SPLITS, HashSplits
from dejavu_lightning.data.shards.shard_index import ShardIndex
from dejavu_lightning.data.shards.shard_scan import REBUILD
from dejavu_lightning.data.shards.tar_reading import read_shard


class ShardKeys:
    """Whether a sample is in a split, by its id: a set of 64-bit hashes, 8 bytes a sample.

    Args:
        index: what the shards hold, copies of pictures put where they belong.
        splits: what they were split by.
        split: whose samples.

    Raises:
        ValueError: a shard is not as the index says, or one id is of samples in and outside the split, so that an id
            does not tell.
    """

    def __init__(self, index: ShardIndex, splits: HashSplits, split: str) -> None:
        inside, outside = array("Q"), array("Q")
        code = SPLITS.index(split)
        for url, codes in zip(index.urls, index.codes, strict=True):
            position = -1
            for position, sample in enumerate(read_shard(url)):
                if position >= len(codes):
                    break
                try:
                    rank = splits.rank(sample.identifier(splits.key_field))
                except ValueError:  # it has none, and so is in no split
                    continue
                (inside if codes[position] == code else outside).append(rank)
            if position + 1 != len(codes):
                raise ValueError(f"shard {url!r} has not the {len(codes)} samples that the index says; {REBUILD}")
        self.splits = splits
        self._ranks: NDArray[np.uint64] = np.unique(np.frombuffer(inside, dtype=np.uint64))
        both = np.isin(self._ranks, np.frombuffer(outside, dtype=np.uint64))
        if both.any():
            raise ValueError(
                f"key_field={splits.key_field!r}: {int(both.sum())} ids are of several samples, of which not all are "
                f"in split {split!r}, so that an id does not tell what is trained on; name a field that is unique"
            )

    def __contains__(self, identifier: object) -> bool:
        rank = np.uint64(self.splits.rank(str(identifier)))
        place = int(np.searchsorted(self._ranks, rank))
        return place < len(self._ranks) and bool(self._ranks[place] == rank)

    def __len__(self) -> int:
        return len(self._ranks)
