"""Features of a fixed number of training views, which the frozen part of a model computes once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dejavu_lightning.core.distributed import gather_rows, world
from dejavu_lightning.core.progress.long_work import Advance, long_work
from dejavu_lightning.data.batches import EpochLoader

Sample = dict[str, Any]


@runtime_checkable
class FrozenPart(Protocol):
    """A module with a part that training leaves as it is, from images (B, 3, H, W) to features (B, F)."""

    def frozen_features(self, images: Tensor) -> Tensor: ...


class TrainingSamples(Protocol):
    """Training samples by (position, epoch), which also tell of a sample without reading its picture."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: tuple[int, int]) -> Sample: ...

    def about(self, position: int, epoch: int) -> Sample: ...


class CachedFeatures(Dataset[Sample]):
    """Training samples with features of views instead of pictures.

    Items, by (position, epoch): ``features`` (views, F), and what else is known of the sample. Which of the V views
    they are of is drawn anew each epoch, the first among those that were made as the first view of a batch, and so on:
    makers of views may differ.

    Args:
        features: (N, V, F), views of a batch side by side, batch after batch.
        samples: what they are of.
        views: how many a batch takes of each sample.
        seed: of the draws.
    """

    def __init__(self, features: Tensor, samples: TrainingSamples, views: int, seed: int) -> None:
        self.features, self.samples, self.views, self.seed = features, samples, views, seed
        self._epoch, self._drawn = -1, torch.empty(0)

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        position, epoch = key
        if epoch != self._epoch:
            batches = self.features.shape[1] // self.views
            drawn = np.random.default_rng([self.seed, epoch]).integers(batches, size=(len(self), self.views))
            self._epoch, self._drawn = epoch, torch.from_numpy(drawn * self.views + np.arange(self.views))
        return {**self.samples.about(position, epoch), "features": self.features[position, self._drawn[position]]}


def with_cached_features(loader: EpochLoader, data: Any, count: int) -> EpochLoader:
    """Load features of ``count`` views of each sample instead of pictures.

    They are computed now, each process a share of the samples: views by the recipe of training, from a stream of
    their own, as many as training would draw in ``count`` / (views of a batch) epochs.

    Args:
        loader: of the pictures.
        data: the datamodule, whose ``on_after_batch_transfer`` makes the views of a batch.
        count: views of each sample, a multiple of those that a batch takes.

    Raises:
        ValueError: the model that is trained has no frozen part, or batches take another number of views.
    """
    if data.trainer is None:
        raise ValueError(f"data.cached_views={count} needs the model that is trained: give the data to Trainer.fit")
    module: Any = data.trainer.lightning_module
    frozen: object = module
    if not isinstance(frozen, FrozenPart):
        raise ValueError(
            f"data.cached_views={count} needs a model with a method frozen_features(images) -> (B, F), such as ours "
            f"with model.freeze=backbone; {type(module).__name__} has none"
        )
    samples: Any = loader.dataset
    rank, ranks = world()
    own = range(len(samples) * rank // ranks, len(samples) * (rank + 1) // ranks)
    with isolate_rng(), torch.no_grad(), long_work("caching features", len(own) * count, "view") as advance:
        passes = [_one_pass(loader, data, module, own, 0, count, advance)]  # (share, views of a batch, F) each
        views, width = passes[0].shape[1:]
        gigabytes = len(samples) * count * width * 4 / 1e9
        rank_zero_info(f"{count} views of {len(samples)} samples are cached, {width} features each: {gigabytes:.2f} GB")
        passes += [_one_pass(loader, data, module, own, number, count, advance) for number in range(1, count // views)]
    features = torch.cat([gather_rows(one.to(module.device))[0].cpu() for one in passes], dim=1)
    cached = CachedFeatures(features, samples, views, data.seed)
    return EpochLoader(
        cached, loader.batches, epoch=loader.epoch, processed=loader.processed, collate_fn=loader.loader.collate_fn
    )


def _one_pass(
    loader: EpochLoader, data: Any, module: Any, positions: range, number: int, count: int, advance: Advance
) -> Tensor:
    """Features of one draw of a batch's views of each sample, on the CPU: (len(positions), views, F)."""
    size = loader.batch_size
    starts = [list(positions[start : start + size]) for start in range(0, len(positions), size)]
    batches: DataLoader[Sample] = DataLoader(
        loader.dataset,
        batch_sampler=[[(position, number) for position in part] for part in starts],
        collate_fn=loader.loader.collate_fn,
        num_workers=loader.loader.num_workers,
    )
    found = []
    for part, batch in zip(starts, batches, strict=True):
        _seed(data.seed, number, part[0])
        made = data.trainer.strategy.batch_to_device(batch, module.device)  # with the hook that makes the views
        views = made.get("views") or [made["image"]]
        _check(views, count)
        with data.trainer.precision_plugin.forward_context():
            found.append(torch.stack([module.frozen_features(view).float() for view in views], dim=1).cpu())
        advance(len(part) * len(views))
    return torch.cat(found)


def _check(views: Sequence[Tensor], count: int) -> None:
    sides = [view.shape[-1] for view in views]
    if len(set(sides)) > 1:
        raise ValueError(
            f"data.cached_views={count} is for views of one size, data.views makes {sides}: which of them are large "
            "could not be told from features"
        )
    if count % len(views):
        raise ValueError(f"data.cached_views={count} must be a multiple of the {len(views)} views of a batch")


def _seed(*numbers: int) -> None:
    """Seed every stream that views may be drawn from, on any device, from some numbers."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
