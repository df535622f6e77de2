"""One byte for each sample of a shard: its split, whether its picture is a copy, or why it is in no split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNUSABLE = 255  # in place of a position in SPLITS
LEFT_OUT = 254  # a copy of a picture that is used
COPY = 16  # added to the position in SPLITS of a sample whose picture another has, except the first by hash of the id
EXAMPLES = 2
Codes = Sequence[NDArray[np.uint8]]
Hashes = Sequence[NDArray[np.uint64]]


class Copies(NamedTuple):
    """How many copies of pictures there are, and the first pairs of a copy and its original, (shard, position) each."""

    number: int
    examples: list[tuple[tuple[int, int], tuple[int, int]]]


def mark_copies(codes: list[NDArray[np.uint8]], ranks: Hashes, pictures: Hashes) -> Copies:
    """Add :data:`COPY` to the codes of copies: of the samples with one picture, all but the one of smallest rank."""
    usable = [found != UNUSABLE for found in codes]
    ordered = np.sort(joined(pictures, usable))
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    if not len(repeated):
        return Copies(0, [])
    members = [mask & np.isin(hashes, repeated) for mask, hashes in zip(usable, pictures, strict=True)]
    shard = np.repeat(np.arange(len(codes)), [int(mask.sum()) for mask in members])
    position = np.concatenate([np.flatnonzero(mask) for mask in members])
    picture = joined(pictures, members)
    order = np.lexsort([joined(ranks, members), picture])  # by picture, then by rank
    shard, position, picture = shard[order], position[order], picture[order]
    copy = np.concatenate([[False], picture[1:] == picture[:-1]])
    for number in np.unique(shard[copy]).tolist():
        codes[number] = codes[number].copy()
        codes[number][position[copy & (shard == number)]] += COPY
    places = list(zip(shard.tolist(), position.tolist(), strict=True))
    first = np.maximum.accumulate(np.where(copy, 0, np.arange(len(copy))))
    shown = np.flatnonzero(copy)[:EXAMPLES].tolist()
    return Copies(int(copy.sum()), [(places[i], places[int(first[i])]) for i in shown])


def placed(codes: Codes, pictures: Hashes, policy: str) -> list[NDArray[np.uint8]]:
    """Codes with the copies where ``policy`` puts them: in the split of what they are copies of, or :data:`LEFT_OUT`.

    The array of a shard without copies is passed on as it is.
    """
    copies = [is_copy(found) for found in codes]
    if not any(found.any() for found in copies):
        return list(codes)
    if policy == "drop":
        return [np.where(copy, np.uint8(LEFT_OUT), found) for copy, found in zip(copies, codes, strict=True)]
    wanted = np.unique(np.concatenate([hashes[copy] for hashes, copy in zip(pictures, copies, strict=True)]))
    split = np.full(len(wanted), UNUSABLE, dtype=np.uint8)
    for found, hashes, copy in zip(codes, pictures, copies, strict=True):
        first = np.isin(hashes, wanted) & ~copy & (found != UNUSABLE)
        split[np.searchsorted(wanted, hashes[first])] = found[first]
    moved = []
    for found, hashes, copy in zip(codes, pictures, copies, strict=True):
        if copy.any():
            found = found.copy()
            found[copy] = split[np.searchsorted(wanted, hashes[copy])]
        moved.append(found)
    return moved


def is_copy(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which samples are copies of a picture that another sample has."""
    return np.asarray((codes != UNUSABLE) & (codes >= COPY))


def drawn(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The codes of the splits that the ids draw, whatever is done about copies."""
    copy = is_copy(codes)
    return np.where(copy, codes - np.uint8(COPY), codes) if copy.any() else codes


def joined(values: Hashes, masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint64]:
    """The values of all shards where the masks are set."""
    chosen = (found[mask] for found, mask in zip(values, masks, strict=True))
    return np.concatenate([np.zeros(0, np.uint64), *chosen])
