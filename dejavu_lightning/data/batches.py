"""Training batches: in an order of seed and epoch alone, from any batch of an epoch on, no sample twice in an epoch.

What a model memorizes depends on how often it is shown a sample, so no batch is padded with samples of another. There
are two ways to cut an epoch:

- :class:`EqualBatches`, of pictures: all of one size, because the self-supervised losses gather batches of one shape
  over ranks and take statistics of them, and compiled models would be compiled again. The rest of an epoch, less than
  a batch of all ranks, is left out, another one in each epoch.
- :class:`EvenBatches`, of captioned pictures: every sample once, sizes differ by one; the contrastive loss takes any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler


class EpochBatches(Protocol):
    """One rank's batches of the items of a dataset; ``skip`` of them are left out at the start of ``epoch``."""

    batch_size: int
    seed: int
    epoch: int
    skip: int

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[Any]]: ...


class EqualBatches(Sampler[list[tuple[int, int]]]):
    """One rank's batches of (position, epoch), all of one size.

    Args:
        samples: N, of the dataset.
        batch_size: of each batch and rank.
        ranks, rank: number of processes, and which one this is.
        seed: the same on every rank.
    """

    def __init__(self, samples: int, batch_size: int, ranks: int, rank: int, seed: int) -> None:
        self.samples, self.batch_size, self.ranks, self.rank, self.seed = samples, batch_size, ranks, rank, seed
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return self.samples // self.ranks // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = torch.randperm(self.samples, generator=torch.Generator().manual_seed(self.seed + self.epoch))
        own = order[: self.samples // self.ranks * self.ranks][self.rank :: self.ranks].tolist()
        for step in range(self.skip, len(self)):
            yield [(position, self.epoch) for position in own[step * self.batch_size : (step + 1) * self.batch_size]]


def even_batches(samples: int, batch_size: int, ranks: int) -> NDArray[np.int64]:
    """Cut an epoch into steps, and each step into the ranks' shares, all as even as whole numbers allow.

    No sample is dropped or shown twice, no rank has a step more than another: sizes differ by 1 instead.

    Args:
        samples: N, in the epoch's order.
        batch_size: most samples of a share.
        ranks: processes that take one share of each step.

    Returns:
        (steps, ranks + 1) bounds: in step s rank r shows the samples from [s, r] up to [s, r + 1].

    Raises:
        ValueError: there are too few samples to give every rank one in every step.
    """
    steps = -(-samples // (batch_size * ranks))
    step = np.arange(steps + 1) * samples // max(steps, 1)
    bounds = step[:-1, None] + np.diff(step)[:, None] * np.arange(ranks + 1) // ranks
    if samples < 1 or (np.diff(bounds, axis=1) < 1).any():
        raise ValueError(
            f"{samples} samples cannot give each of {ranks} devices one in every step with batch_size={batch_size}: "
            "use fewer devices or larger batches"
        )
    return np.asarray(bounds, dtype=np.int64)


class EvenBatches(Sampler[list[tuple[int, int]]]):
    """One rank's batches of (position, epoch), in an order that depends on seed and epoch alone.

    Args:
        samples, batch_size, ranks: as in :func:`even_batches`.
        rank: which process this is.
        seed: the same on every rank.
    """

    def __init__(self, samples: int, batch_size: int, ranks: int, rank: int, seed: int) -> None:
        self.samples, self.batch_size, self.rank, self.seed = samples, batch_size, rank, seed
        self.bounds = even_batches(samples, batch_size, ranks)
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.samples)
        for bounds in self.bounds[self.skip :]:
            yield [(int(position), self.epoch) for position in order[bounds[self.rank] : bounds[self.rank + 1]]]


class EpochLoader:
    """Loads batches, from any batch of any epoch on.

    Where an epoch begins is asked when its first batch is, not when Lightning makes the iterator: a resumed
    run knows by then in which epoch and after how many batches it was stopped. It is not a ``DataLoader`` itself,
    whose batches Lightning would divide among ranks once more.

    Args:
        dataset: items by what the batches hold.
        batches: what to load.
        epoch: which epoch the training is in, from 0.
        processed: how many batches of it the training has been through.
        options: more arguments of torch's ``DataLoader``.
    """

    def __init__(
        self,
        dataset: Dataset[dict[str, Any]],
        batches: EpochBatches,
        *,
        epoch: Callable[[], int],
        processed: Callable[[], int],
        **options: Any,
    ) -> None:
        self.batches, self.epoch, self.processed = batches, epoch, processed
        own = torch.Generator().manual_seed(batches.seed)  # leaves the global stream to the training
        self.loader: DataLoader[dict[str, Any]] = DataLoader(dataset, batch_sampler=batches, generator=own, **options)

    @property
    def batch_size(self) -> int:
        """Samples of a batch, at most; learning rates are scaled with it."""
        return self.batches.batch_size

    @property
    def dataset(self) -> Dataset[dict[str, Any]]:
        """What the batches are of."""
        return self.loader.dataset

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.batches.epoch, self.batches.skip = self.epoch(), self.processed()
        yield from self.loader
