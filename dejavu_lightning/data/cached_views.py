"""Features of a fixed number of training views, which the frozen part of a model computes once."""

from __future__ import annotations

import random
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dejavu_lightning.core.distributed import gather_rows, world
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

    def about(self, position: int) -> Sample: ...


class CachedFeatures(Dataset[Sample]):
    """Training samples with features of views instead of pictures.

    Items, by (position, epoch): ``features`` (views, F), and what else is known of the sample. Which of the V views
    they are of is drawn anew each epoch; none is drawn twice.

    Args:
        features: (N, V, F).
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
            order = np.random.default_rng([self.seed, epoch]).random(self.features.shape[:2]).argsort(axis=1)
            self._epoch, self._drawn = epoch, torch.from_numpy(order[:, : self.views])
        return {**self.samples.about(position), "features": self.features[position, self._drawn[position]]}


def with_cached_features(loader: EpochLoader, data: Any, count: int) -> EpochLoader:
    """Load features of ``count`` views of each sample instead of pictures.

    They are computed now, each process a share of the samples: as many views as training would draw in its first
    ``count`` / (views of a batch) epochs.

    Args:
        loader: of the pictures.
        data: the datamodule, whose ``on_after_batch_transfer`` makes the views of a batch.
        count: views of each sample, a multiple of those that a batch takes.

    Raises:
        ValueError: the model that is trained has no frozen part, or batches take another number of views.
    """
    module = data.trainer.lightning_module
    if not isinstance(module, FrozenPart):
        raise ValueError(
            f"data.cached_views={count} needs a model with a method frozen_features(images) -> (B, F), such as ours "
            f"with model.freeze=backbone; {type(module).__name__} has none"
        )
    samples: Any = loader.dataset
    rank, ranks = world()
    own = range(len(samples) * rank // ranks, len(samples) * (rank + 1) // ranks)
    passes: list[Tensor] = []  # (share, views of a batch, F) each
    while not passes or sum(one.shape[1] for one in passes) < count:
        passes.append(_one_pass(loader, data, module, own, len(passes)))
        views, width = passes[0].shape[1:]
        if count % views:
            raise ValueError(f"data.cached_views={count} must be a multiple of the {views} views of a batch")
        if len(passes) == 1:
            gigabytes = len(samples) * count * width * 4 / 1e9
            rank_zero_info(
                f"{count} views of {len(samples)} samples are cached, {width} features each: {gigabytes:.2f} GB"
            )
    features = gather_rows(torch.cat(passes, dim=1))[0]
    cached = CachedFeatures(features.cpu(), samples, views, data.seed)
    return EpochLoader(
        cached, loader.batches, epoch=loader.epoch, processed=loader.processed, collate_fn=loader.loader.collate_fn
    )


def _one_pass(loader: EpochLoader, data: Any, module: Any, positions: range, number: int) -> Tensor:
    """Features of the views that epoch ``number`` would draw: (len(positions), views, F)."""
    size = loader.batch_size
    starts = [list(positions[start : start + size]) for start in range(0, len(positions), size)]
    batches: DataLoader[Sample] = DataLoader(
        loader.dataset,
        batch_sampler=[[(position, number) for position in part] for part in starts],
        collate_fn=loader.loader.collate_fn,
        num_workers=loader.loader.num_workers,
    )
    found = []
    with isolate_rng(), torch.no_grad():
        for part, batch in zip(starts, batches, strict=True):
            _seed(data.seed, number, part[0])
            moved = data.trainer.strategy.batch_to_device(batch, module.device)
            made = data.on_after_batch_transfer(moved, 0)
            views = made.get("views") or [made["image"]]
            with data.trainer.precision_plugin.forward_context():
                found.append(torch.stack([module.frozen_features(view).float() for view in views], dim=1))
    return torch.cat(found)


def _seed(*numbers: int) -> None:
    """Seed every stream that views may be drawn from, on any device, from some numbers."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
