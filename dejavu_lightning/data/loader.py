"""Training batches in an order that depends on seed and epoch alone, from any batch of an epoch on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class ShuffledSampler(DistributedSampler[Any]):
    """Torch's ``DistributedSampler``, shuffled, that leaves out the first ``skip`` samples of the epoch."""

    skip = 0

    def __iter__(self) -> Iterator[Any]:
        return islice(super().__iter__(), self.skip, None)


class TrainingLoader(DataLoader[dict[str, Any]]):
    """Shuffled batches, each sample of the ranks' equal shares once an epoch; the incomplete last batch is dropped.

    Where an epoch begins is asked when its first batch is, not when Lightning makes the iterator: a resumed
    run knows by then in which epoch and after how many batches it was stopped.

    Args:
        dataset: map-style.
        batch_size: per rank.
        ranks, rank: number of processes, and which one this is.
        seed: the same on every rank.
        epoch: which epoch the training is in, from 0.
        processed: how many batches of it the training has been through.
        options: more arguments of torch's ``DataLoader``.
    """

    def __init__(
        self,
        dataset: Dataset[dict[str, Any]],
        batch_size: int,
        *,
        ranks: int,
        rank: int,
        seed: int,
        epoch: Callable[[], int],
        processed: Callable[[], int],
        **options: Any,
    ) -> None:
        self.epoch, self.processed = epoch, processed
        super().__init__(
            dataset,
            batch_size,
            sampler=ShuffledSampler(dataset, ranks, rank, shuffle=True, seed=seed, drop_last=True),
            generator=torch.Generator().manual_seed(seed),  # leaves the global stream to the views
            drop_last=True,
            **options,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        assert isinstance(self.sampler, ShuffledSampler)
        self.sampler.set_epoch(self.epoch())
        self.sampler.skip = self.processed() * int(self.batch_size or 1)
        yield from super().__iter__()
