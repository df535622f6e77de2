"""Linear probe: multinomial logistic regression on frozen features, by SGD."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler

from dejavu_lightning.core.progress.long_work import tracked
from dejavu_lightning.utility.probe import Classifier

Schedule = Literal["cosine", "linear"]


class LinearProbe:
    """Classify by multinomial logistic regression on frozen features, fitted by SGD from zero weights.

    By default features are standardised by the mean and deviation of the training features, so that one learning rate
    suits every network, and the learning rate falls along a cosine to 0. Momentum is 0.9.

    Meehan et al. (2023) train 20 epochs on plain features, the learning rate falling in a line from 10 to 0.1 at a
    batch of 64 (lin_probe.py and 3_lin_probe_vicreg.sh of github.com/facebookresearch/DejaVu); the example has their
    values. Their features are of training views of the target's own pictures, drawn anew in each epoch, and their rate
    changes every 50 steps, here with each.

    Args:
        epochs: passes over the training features.
        base_lr: learning rate at a batch of 256; base_lr * batch / 256 is used.
        weight_decay: of weights and biases.
        batch_size: features per step, at most all.
        seed: of the order.
        schedule: "cosine", after each epoch, or "linear", after each step.
        final_lr_fraction: where the schedule ends, a share of the learning rate in [0, 1].
        standardize: whether features are standardised.

    Raises:
        ValueError: epochs or batch_size is below 1, base_lr is not positive, final_lr_fraction is not in [0, 1], or
            there is no such schedule.

    Example:
        >>> from torch import tensor
        >>> features, labels = tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), tensor([0, 0, 1])
        >>> classify = LinearProbe(epochs=20).fit(features, labels, num_classes=2)
        >>> classify(tensor([[1.0, 0.1], [0.1, 1.0]])).argmax(dim=1)
        tensor([0, 1])
        >>> recipe = {"schedule": "linear", "final_lr_fraction": 0.01, "standardize": False}
        >>> probe = LinearProbe(epochs=20, base_lr=40.0, batch_size=64, **recipe)
        >>> classify = probe.fit(features, labels, num_classes=2)
        >>> classify(tensor([[1.0, 0.1], [0.1, 1.0]])).argmax(dim=1)
        tensor([0, 1])
    """

    name = "linear"

    def __init__(
        self,
        epochs: int = 100,
        base_lr: float = 0.1,
        weight_decay: float = 0.0,
        batch_size: int = 256,
        seed: int = 0,
        schedule: Schedule = "cosine",
        final_lr_fraction: float = 0.0,
        standardize: bool = True,
    ) -> None:
        if epochs < 1 or batch_size < 1 or base_lr <= 0:
            raise ValueError(
                f"need epochs >= 1, batch_size >= 1 and base_lr > 0, got {epochs}, {batch_size} and {base_lr}"
            )
        if schedule not in get_args(Schedule):
            raise ValueError(f"schedule must be one of {list(get_args(Schedule))}, got {schedule!r}")
        if not 0 <= final_lr_fraction <= 1:
            raise ValueError(f"final_lr_fraction must be in [0, 1], got {final_lr_fraction}")
        self.schedule, self.final_lr_fraction, self.standardize = schedule, final_lr_fraction, standardize
        self.epochs, self.base_lr, self.weight_decay = epochs, base_lr, weight_decay
        self.batch_size, self.seed = batch_size, seed

    def fit(self, features: Tensor, labels: Tensor, num_classes: int) -> Classifier:
        """See :class:`~dejavu_lightning.utility.probe.Probe`."""
        # Launches differ in their number of threads and hence in rounding; in float64 that flips no prediction.
        features = features.double() if features.device.type == "cpu" else features
        mean, deviation = features.new_zeros(()), features.new_ones(())
        if self.standardize:
            mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0).clamp(min=1e-6)
            features = (features - mean) / deviation
        weight = features.new_zeros(num_classes, features.shape[1], requires_grad=True)
        bias = features.new_zeros(num_classes, requires_grad=True)
        batch = min(self.batch_size, len(features))
        optimizer = torch.optim.SGD(
            [weight, bias], self.base_lr * batch / 256, momentum=0.9, weight_decay=self.weight_decay
        )
        each_step = self.schedule == "linear"
        schedule: LRScheduler
        if each_step:
            schedule = LinearLR(optimizer, 1.0, self.final_lr_fraction, self.epochs * -(-len(features) // batch))
        else:
            schedule = CosineAnnealingLR(optimizer, self.epochs, self.final_lr_fraction * optimizer.defaults["lr"])
        order = torch.Generator().manual_seed(self.seed)
        with torch.enable_grad():
            for _ in tracked(range(self.epochs), "training the linear probe", "epoch"):
                shuffled = torch.randperm(len(features), generator=order).to(features.device)
                for rows in torch.split(shuffled, batch):
                    optimizer.zero_grad()
                    scores = nn.functional.linear(features[rows], weight, bias)
                    torch.autograd.backward(nn.functional.cross_entropy(scores, labels[rows]))
                    optimizer.step()
                    if each_step:
                        schedule.step()
                if not each_step:
                    schedule.step()

        @torch.no_grad()
        def classify(queries: Tensor) -> Tensor:
            return nn.functional.linear((queries.to(mean.dtype) - mean) / deviation, weight, bias)

        return classify
