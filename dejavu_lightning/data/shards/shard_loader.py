"""Training batches from shards: every sample of a split exactly once an epoch.

An epoch puts the shards in a random order, which puts the samples of the split into one sequence. The ranks
cut it into contiguous parts, and the workers of a rank cut its part further; a shard on a boundary is read
by both sides, which pass over what is not theirs without decoding it. Within its part a worker mixes what it
reads in a buffer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dejavu_lightning.data.batches import even_batches
from dejavu_lightning.data.caption_dataset import Sample, Transform, drawn_caption, training_sample
from dejavu_lightning.data.decode import decode_bytes
from dejavu_lightning.data.shards.hash_splits import SPLITS, HashSplits
from dejavu_lightning.data.shards.shard_index import ShardIndex
from dejavu_lightning.data.shards.shard_scan import REBUILD
from dejavu_lightning.data.shards.tar_reading import ShardSample, read_shard

FAILURES = 3  # so many samples may fail to decode, however few were read


@dataclass(frozen=True)
class Share:
    """What one worker reads in one epoch.

    Attributes:
        parts: (shard, start, stop), in the order of reading: the samples of the split from start up to stop.
        sizes: of its batches.
        skip: so many of its batches were shown before.
    """

    parts: Sequence[tuple[int, int, int]]
    sizes: Sequence[int]
    skip: int


class ReadingPlan:
    """Cuts an epoch into the shares of all workers of all ranks.

    Args:
        counts: (S,) samples of the split in each shard.
        batch_size, ranks: as in :func:`~dejavu_lightning.data.batches.even_batches`.
        seed: the same on every rank.
    """

    def __init__(self, counts: NDArray[np.int64], batch_size: int, ranks: int, seed: int) -> None:
        self.counts, self.seed = counts, seed
        # (steps, ranks) sizes of batches
        self.sizes = np.diff(even_batches(int(counts.sum()), batch_size, ranks), axis=1)

    def share(self, epoch: int, rank: int, worker: int, workers: int, processed: int = 0) -> Share:
        """What worker ``worker`` of ``workers`` reads of an epoch whose first ``processed`` batches were shown.

        Batch j is made by worker (j - processed) % workers, as torch's ``DataLoader`` asks for them; the samples
        in it do not depend on ``processed``.
        """
        sizes = self.sizes[:, rank]
        place = (worker + processed) % workers  # of the worker in a run that was not interrupted
        start = int(self.sizes[:, :rank].sum()) + sum(int(sizes[before::workers].sum()) for before in range(place))
        own = sizes[place::workers]
        stop = start + int(own.sum())
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.counts))
        ends = np.cumsum(self.counts[order])
        begins = ends - self.counts[order]
        overlap = np.flatnonzero((begins < stop) & (ends > start) & (begins < ends))
        parts = [
            (int(order[i]), max(start - int(begins[i]), 0), min(stop, int(ends[i])) - int(begins[i])) for i in overlap
        ]
        return Share(parts, own.tolist(), len(range(place, processed, workers)))


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)


@dataclass(frozen=True)
class ShardReader:
    """Reads shares and makes items of them.

    Args:
        index: the shards.
        splits: what they were split by.
        split: whose samples to read.
        plan: who reads which.
        transform, seed: as in :func:`~dejavu_lightning.data.caption_dataset.training_sample`.
        collate: items to a batch.
        shuffle_buffer: encoded samples that a worker holds to mix them.
        max_unusable: share of what a worker has read that may fail to decode; at least 3 may.
        caption_sampling: draw one of all captions of a sample anew each epoch, instead of showing its own.
    """

    index: ShardIndex
    splits: HashSplits
    split: str
    plan: ReadingPlan
    transform: Transform
    seed: int
    collate: Callable[[Sequence[Sample]], Sample]
    shuffle_buffer: int
    max_unusable: float
    caption_sampling: bool = False

    def batches(
        self, epoch: int, processed: int, rank: int, worker: int, workers: int, warn: Callable[[str], None] = _warn
    ) -> Iterator[Sample]:
        """One worker's batches.

        Args:
            warn: is told of each sample that is left out, before its batch is given.

        Raises:
            ValueError: a shard is not as the index says, too many samples fail to decode, or all of a batch.
        """
        share = self.plan.share(epoch, rank, worker, workers, processed)
        place = (worker + processed) % workers
        mixed = shuffled(
            (sample for part in share.parts for sample in self._part(*part)),
            self.shuffle_buffer,
            np.random.default_rng([self.seed, epoch, rank, place]),
        )
        read = failed = 0
        for position, size in enumerate(share.sizes):
            samples = [next(mixed) for _ in range(size)]
            if position < share.skip:
                continue
            items: list[Sample] = []
            for sample in samples:
                read += 1
                try:
                    items.append(self._item(sample, epoch))
                except ValueError as error:
                    failed += 1
                    warn(f"left out in epoch {epoch}, {failed} of {read} read: {error}")
                    if failed > max(FAILURES, self.max_unusable * read):
                        raise ValueError(
                            f"{failed} of the first {read} samples of a worker cannot be decoded, more than "
                            f"max_unusable={self.max_unusable} allows; the last: {error}"
                        ) from error
            if not items:
                names = ", ".join(sample.where for sample in samples[:3])
                raise ValueError(f"none of the {size} samples of a batch can be decoded: {names}")
            yield self.collate(items)

    def _item(self, sample: ShardSample, epoch: int) -> Sample:
        assert sample.image is not None
        assert sample.caption is not None
        image = decode_bytes(sample.image, sample.where)
        identifier = sample.identifier(self.splits.key_field)
        stream = (self.seed, epoch)
        caption = drawn_caption(sample.captions, identifier, stream) if self.caption_sampling else sample.caption
        return training_sample(image, caption, identifier, self.transform, stream)

    def _part(self, shard: int, start: int, stop: int) -> Iterator[ShardSample]:
        url, codes = self.index.urls[shard], self.index.codes[shard]
        wanted = np.flatnonzero(codes == SPLITS.index(self.split))[start:stop]
        chosen, last = set(wanted.tolist()), int(wanted[-1])
        changed = f"shard {url!r} is not what the index was made from: {{}}; {REBUILD}"
        position = -1
        for position, sample in enumerate(read_shard(url)):
            if position in chosen:
                identifier = sample.identifier(self.splits.key_field)
                expected = SPLITS[int(self.index.drawn[shard][position])]
                if self.splits.of(identifier) != expected or sample.image is None or sample.caption is None:
                    raise ValueError(changed.format(f"its sample {position} is {identifier!r}"))
                yield sample
            if position == last:
                return
        raise ValueError(changed.format(f"it has {position + 1} samples, not {len(codes)}"))


def shuffled(samples: Iterable[ShardSample], size: int, generator: np.random.Generator) -> Iterator[ShardSample]:
    """All the samples, each moved at random; ``size`` of them are held at a time."""
    held: list[ShardSample] = []
    for sample in samples:
        if len(held) < size:
            held.append(sample)
            continue
        chosen = int(generator.integers(size))
        yield held[chosen]
        held[chosen] = sample
    for chosen in generator.permutation(len(held)).tolist():
        yield held[chosen]


class ShardLoader:
    """One rank's batches, from any batch of any epoch on.

    Workers are started anew each epoch, so none goes on with a stale one. What they leave out is told in the process
    that trains, whose handlers a worker's own warnings do not reach. Where an epoch begins is asked when its first
    batch is, as in :class:`~dejavu_lightning.data.batches.EpochLoader`.

    Args:
        reader: makes the batches.
        rank: which process this is.
        epoch: which epoch the training is in, from 0.
        processed: how many batches of it the training has been through.
        options: more arguments of torch's ``DataLoader``.
    """

    def __init__(
        self, reader: ShardReader, rank: int, *, epoch: Callable[[], int], processed: Callable[[], int], **options: Any
    ) -> None:
        self.reader, self.rank, self.epoch, self.processed, self.options = reader, rank, epoch, processed, options

    def __len__(self) -> int:
        return len(self.reader.plan.sizes)

    def __iter__(self) -> Iterator[Sample]:
        batches = _Batches(self.reader, self.rank, self.epoch(), self.processed())
        # A generator of its own leaves the global stream to the training.
        generator = torch.Generator().manual_seed(self.reader.seed)
        loader: DataLoader[Any] = DataLoader(batches, batch_size=None, generator=generator, **self.options)
        for batch, warned in loader:
            for message in warned:
                _warn(message)
            yield batch


class _Batches(IterableDataset[tuple[Sample, list[str]]]):
    def __init__(self, reader: ShardReader, rank: int, epoch: int, processed: int) -> None:
        self.reader, self.rank, self.epoch, self.processed = reader, rank, epoch, processed

    def __iter__(self) -> Iterator[tuple[Sample, list[str]]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        warned: list[str] = []
        for batch in self.reader.batches(self.epoch, self.processed, self.rank, worker, workers, warned.append):
            yield batch, list(warned)
            warned.clear()
