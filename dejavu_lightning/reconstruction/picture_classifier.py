"""A classifier of public pictures, which says what samples show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import share
from dejavu_lightning.core.progress.long_work import tracked
from dejavu_lightning.core.random_stream import random_stream
from dejavu_lightning.models.backbones import small_resnet
from dejavu_lightning.reconstruction.public_pictures import Pictures, from_pixels

WIDTHS = (32, 64, 128)
BATCH = 50
SHIFT = 2  # pixels that pictures are moved by in training, at most
PEAK_LR = 3e-3


class PictureClassifier(NamedTuple):
    """A trained classifier.

    Attributes:
        network: pictures in [-1, 1] -> logits.
        accuracy: on public pictures that it was not trained on.
        trained_on: how many it was trained on.

    Example:
        >>> import torch
        >>> from dejavu_lightning.core.estimate import Estimate
        >>> brightest = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())  # of three channels
        >>> green = torch.tensor([0, 255, 0], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 8, 8)
        >>> PictureClassifier(brightest, Estimate(1.0), trained_on=0).labels(green)
        tensor([1])
    """

    network: nn.Module
    accuracy: Estimate
    trained_on: int

    @torch.no_grad()
    def labels(self, pixels: Tensor) -> Tensor:
        """pixels (N, 3, S, S) uint8 -> (N,) labels."""
        return torch.cat([self.network(from_pixels(part)).argmax(dim=1) for part in torch.split(pixels, 1000)])


def train_classifier(
    pictures: Pictures, num_classes: int, epochs: int = 10, held_out: float = 0.2, seed: int = 0
) -> PictureClassifier:
    """Train a small residual network on public pictures, and test it on those that are held out of that.

    Args:
        pictures: of all classes.
        num_classes: labels lie in [0, num_classes).
        epochs: of training.
        held_out: share of the pictures that it is tested on.
        seed: of the weights, the order and the part that is held out.

    Raises:
        ValueError: nothing is left to train or to test on, or a label is outside of the range.

    Example:
        >>> import torch
        >>> from dejavu_lightning.reconstruction import Pictures
        >>> black, white = torch.zeros(30, 3, 16, 16, dtype=torch.uint8), torch.full((30, 3, 16, 16), 255).byte()
        >>> pictures = Pictures(torch.cat([black, white]), labels=torch.arange(60) // 30)
        >>> train_classifier(pictures, num_classes=2, epochs=3).labels(white[:2])
        tensor([1, 1])
    """
    count = len(pictures.labels)
    tested = round(held_out * count)
    if not 0 < tested < count:
        raise ValueError(f"held_out={held_out} of {count} pictures leaves nothing to train or to test on")
    if int(pictures.labels.max()) >= num_classes or int(pictures.labels.min()) < 0:
        raise ValueError(f"labels must lie in [0, {num_classes}), got {int(pictures.labels.max())}")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(count))
    test, train = order[:tested], order[tested:]
    with random_stream(seed):
        network = nn.Sequential(small_resnet(WIDTHS), nn.Linear(WIDTHS[-1], num_classes))
        _fit(network, pictures.pixels[train], pictures.labels[train], epochs)
    network.eval()
    found = PictureClassifier(network, Estimate(0.0), len(train))
    right = int((found.labels(pictures.pixels[test]) == pictures.labels[test]).sum())
    return found._replace(accuracy=share(right, tested))


def _fit(network: nn.Module, pixels: Tensor, labels: Tensor, epochs: int) -> None:
    steps = max(1, len(labels) // BATCH)  # one of all where there are fewer than a batch
    optimizer = torch.optim.AdamW(network.parameters(), PEAK_LR, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=epochs * steps)
    side = pixels.shape[-1]
    for _ in tracked(range(epochs), "training the classifier of samples", "epoch"):
        for rows in torch.split(torch.randperm(len(labels)), BATCH)[:steps]:
            moved = pad(from_pixels(pixels[rows]), [SHIFT] * 4, mode="replicate")
            top, left = torch.randint(2 * SHIFT + 1, (2,)).tolist()
            loss = cross_entropy(network(moved[:, :, top : top + side, left : left + side]), labels[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
