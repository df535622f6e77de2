"""Training batches in an order that depends on seed and epoch alone, from any batch of an epoch on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class ShuffledSampler(DistributedSampler[Any]):
    """Torch's ``DistributedSampler``, shuffled, that can leave out the first ``skip`` samples of one epoch."""

    skip = 0

    def __iter__(self) -> Iterator[Any]:
        skip, self.skip = self.skip, 0
        return islice(super().__iter__(), skip, None)


class TrainingLoader(DataLoader[dict[str, Any]]):
    """Shuffled batches, each sample of the ranks' equal shares once an epoch; the incomplete last batch is dropped.

    Lightning keeps its state in checkpoints, so that a run that was stopped within an epoch goes on with
    the samples which that epoch has not shown yet.

    Args:
        dataset: map-style.
        batch_size: per rank.
        ranks, rank: number of processes, and which one this is.
        seed: the same on every rank.
        processed: how many batches of the current epoch the training has been through.
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
        processed: Callable[[], int],
        **options: Any,
    ) -> None:
        self.processed = processed
        super().__init__(
            dataset,
            batch_size,
            sampler=ShuffledSampler(dataset, ranks, rank, shuffle=True, seed=seed, drop_last=True),
            generator=torch.Generator().manual_seed(seed),  # leaves the global stream to the views
            drop_last=True,
            **options,
        )

    def state_dict(self) -> dict[str, int]:
        """Batches of the current epoch that are done."""
        return {"batches": self.processed()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Begin the next epoch after so many batches."""
        assert isinstance(self.sampler, ShuffledSampler)
        self.sampler.skip = state_dict["batches"] * int(self.batch_size or 1)
