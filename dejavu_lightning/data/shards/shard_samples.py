"""Samples of shards held in memory, for the memorization tests."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.pool import ThreadPool
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.core.object_file import labels_of
from dejavu_lightning.data.decode import decode_bytes
from dejavu_lightning.data.shards.hash_splits import SPLITS, HashSplits
from dejavu_lightning.data.shards.shard_codes import UNUSABLE
from dejavu_lightning.data.shards.shard_index import ShardIndex
from dejavu_lightning.data.shards.shard_scan import REBUILD
from dejavu_lightning.data.shards.tar_reading import ShardSample, read_shard
from dejavu_lightning.data.sources.caption_source import THREADS, all_named
from dejavu_lightning.data.sources.vocabulary import in_vocabulary


@dataclass(frozen=True)
class Kept:
    """A sample taken out of its shard.

    Attributes:
        where: its key and shard, as errors name them.
        encoded: the picture's file.
        objects: labels, each once.
        encoded_fields: the JSON beside it, empty where there is none.
    """

    identifier: str
    where: str
    caption: str
    encoded: bytes
    objects: Sequence[str]
    encoded_fields: bytes = b""

    def fields(self) -> dict[str, Any]:
        """Of its JSON; none where that cannot be read, which the index counted."""
        try:
            found = json.loads(self.encoded_fields or b"{}")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def content(self) -> bytes:
        """Tells samples of one id apart, wherever they lie."""
        return hashlib.sha256(self.caption.encode() + b"\0" + self.encoded).digest()


class ShardSamples:
    """A source of captions: N samples with their pictures encoded in memory, decoded when asked.

    Args:
        kept: the samples.
        object_names: the vocabulary; objects outside of it are left out and counted. If None, all labels met.

    Attributes:
        counts: ``pictures``, ``pictures_without_objects``, ``objects_outside_the_vocabulary``.
    """

    labels: Tensor | None = None

    def __init__(self, kept: Sequence[Kept], object_names: Sequence[str] | None = None) -> None:
        self._kept = kept
        self.ids: Sequence[str] = [sample.identifier for sample in kept]
        self.captions: Sequence[str] = [sample.caption for sample in kept]
        vocabulary = in_vocabulary([sample.objects for sample in kept], object_names)
        self.object_names: Sequence[str] = vocabulary.names
        self.objects: Sequence[NDArray[Any]] = vocabulary.positions
        self.named: Sequence[NDArray[Any]] = all_named(self.captions, self.objects, self.object_names)
        self.counts = {"pictures": len(kept), **vocabulary.counts}
        self._columns: dict[str, list[str | None]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def column(self, name: str) -> list[str | None]:
        """(N,) what a field of the samples' JSON says of each, as text.

        Raises:
            ValueError: no sample has such a field, or it holds neither text nor numbers.
        """
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def _read_column(self, name: str) -> list[str | None]:
        found = [sample.fields() for sample in self._kept]
        if not any(name in fields for fields in found):
            known = sorted({field for fields in found for field in fields})
            raise ValueError(f"the JSON of no sample has a field {name!r}; their fields are {known}")
        for sample, fields in zip(self._kept, found, strict=True):
            if not isinstance(fields.get(name), str | int | float | None):
                raise ValueError(f"{sample.where}: {name!r} must be a text or a number, got {str(fields[name])[:100]}")
        return [None if fields.get(name) is None else str(fields[name]) for fields in found]

    def image(self, index: int) -> Tensor:
        """Decode picture ``index`` to uint8 RGB (3, H, W).

        Raises:
            ValueError: it cannot be decoded; the message names shard and key.
        """
        return decode_bytes(self._kept[index].encoded, self._kept[index].where)


def collect(
    index: ShardIndex,
    splits: HashSplits,
    urls: Sequence[str],
    limits: Mapping[str, int],
    side_file: Mapping[str, Sequence[str]] | None,
) -> dict[str, list[Kept]]:
    """Take samples of each split out of shards, in one pass over them.

    Args:
        index: of all the shards.
        urls: the shards to read.
        limits: most samples by split. Where there are more, those with the smallest hash are taken, whatever
            the order and the layout of the shards.
        side_file: labels by id; the JSON beside the pictures is asked if None.

    Returns:
        By split, in the order of the hash. Of samples with one id there is one.

    Raises:
        ValueError: a shard is not as the index says.
    """
    chosen = {split: _Smallest(limit) for split, limit in limits.items()}
    position = {url: shard for shard, url in enumerate(index.urls)}
    for url in urls:
        codes, drawn = index.codes[position[url]], index.drawn[position[url]]
        samples = 0
        for samples, sample in enumerate(read_shard(url), start=1):
            code = int(codes[samples - 1]) if samples <= len(codes) else UNUSABLE
            if code >= len(SPLITS):
                continue
            split, expected = SPLITS[code], SPLITS[int(drawn[samples - 1])]
            identifier = sample.identifier(splits.key_field)
            if splits.of(identifier) != expected:
                raise ValueError(
                    f"shard {url!r} is not what the index was made from: its sample {samples - 1} is {identifier!r}; "
                    f"{REBUILD}"
                )
            rank = splits.rank(identifier)
            if chosen[split].wants(rank):
                chosen[split].offer(rank, _taken_out(sample, identifier, side_file))
        if samples != len(codes):
            raise ValueError(f"shard {url!r} has {samples} samples, the index says {len(codes)}; {REBUILD}")
    return {split: smallest.in_order() for split, smallest in chosen.items()}


def decodable(kept: Sequence[Kept]) -> list[Kept]:
    """Those whose picture can be decoded: training skips the others, so they cannot be memorized either."""

    def works(sample: Kept) -> bool:
        try:
            decode_bytes(sample.encoded, sample.where)
        except ValueError:
            return False
        return True

    with ThreadPool(THREADS) as threads:
        return [sample for sample, fine in zip(kept, threads.map(works, kept), strict=True) if fine]


def _taken_out(sample: ShardSample, identifier: str, side_file: Mapping[str, Sequence[str]] | None) -> Kept:
    if side_file is not None:
        objects = side_file.get(identifier, ())
    else:
        try:
            fields = sample.fields()
        except ValueError:
            fields = {}  # the index counted it
        objects = labels_of(fields.get("objects") or [], sample.where)
    assert sample.image is not None
    assert sample.caption is not None
    return Kept(identifier, sample.where, sample.caption, sample.image, objects, sample.files.get("json", b""))


class _Smallest:
    """Holds the samples with the smallest ranks, one of each id."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: dict[str, Kept] = {}
        self._heap: list[tuple[int, str]] = []  # (-rank, id), the largest rank first

    def wants(self, rank: int) -> bool:
        return len(self._heap) < self.limit or (self.limit > 0 and -rank >= self._heap[0][0])

    def offer(self, rank: int, sample: Kept) -> None:
        identifier = sample.identifier
        if identifier in self._kept:
            self._kept[identifier] = min(self._kept[identifier], sample, key=lambda kept: kept.content)
            return
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, (-rank, identifier))
        else:
            _, dropped = heapq.heapreplace(self._heap, (-rank, identifier))
            del self._kept[dropped]
        self._kept[identifier] = sample

    def in_order(self) -> list[Kept]:
        return [self._kept[identifier] for _, identifier in sorted(self._heap, reverse=True)]
