"""Settings of CLIP's training: loss, temperature and optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

ContrastiveLoss = Literal["clip", "siglip"]
SIGLIP_TEMPERATURE, SIGLIP_BIAS = 0.1, -10.0  # Zhai et al. (2023, arXiv 2303.15343, section 3.2): t' = log 10, b = -10


@dataclass
class Temperature:
    """The temperature, which divides the cosines; 1 / temperature is CLIP's logit scale.

    Args:
        initial: at the start; the pretrained model's, or 0.07, with SigLIP's loss 0.1, if not given.
        minimum: a learned temperature is kept at or above it; 0.01 caps the logit scale at 100.
        maximum: and at or below this; 1, as in open_clip, keeps the scale at 1 or more.
        learned: False keeps the initial value.

    Example:
        >>> Temperature(initial=0.05, learned=False).minimum
        0.01
    """

    initial: float | None = None
    minimum: float = 0.01
    maximum: float = 1.0
    learned: bool = True

    def check(self) -> None:
        """Raise ValueError where the bounds are out of order."""
        if not 0 < self.minimum <= self.maximum or not (
            self.initial is None or self.minimum <= self.initial <= self.maximum
        ):
            raise ValueError(
                f"temperature needs 0 < minimum <= initial <= maximum, got initial={self.initial}, "
                f"minimum={self.minimum}, maximum={self.maximum}"
            )


@dataclass
class ClipOptimizerConfig:
    """AdamW with linear warm-up, then cosine, by step. The defaults are those of Jayaraman et al. (2024) for a ViT.

    Args:
        lr: the peak; not scaled by the batch.
        weight_decay: of weight matrices and kernels; biases, norms and the temperature have none.
        warmup_steps: of linear warm-up from 1/1000 of the peak.
        beta1, beta2, eps: AdamW's; of a ResNet open_clip's ``beta2`` is 0.999 and its ``eps`` 1e-8.
        final_lr_fraction: where the cosine ends, as a share of the peak.

    Example:
        >>> ClipOptimizerConfig(lr=1e-3, beta2=0.999, eps=1e-8).weight_decay
        0.1
    """

    lr: float = 5e-4
    weight_decay: float = 0.1
    warmup_steps: int = 2000
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-6
    final_lr_fraction: float = 0.0


def prepare_bias(model: Any, loss: str, initial: float | None, name: str) -> None:
    """Give an open_clip model the bias of SigLIP's loss where it has none yet; refuse one with the other loss.

    Args:
        model: of open_clip, with its weights.
        loss: of :data:`ContrastiveLoss`.
        initial: the bias; the model's own, or -10, if not given.
        name: what errors call the model.

    Raises:
        ValueError: there is no such loss, or a bias without SigLIP's.
    """
    if loss not in ("clip", "siglip"):
        raise ValueError(f"loss must be 'clip' or 'siglip', got {loss!r}")
    own = getattr(model, "logit_bias", None)
    if loss == "siglip":
        if own is None or initial is not None:
            begin = SIGLIP_BIAS if initial is None else initial
            model.logit_bias = nn.Parameter(torch.full_like(model.logit_scale.detach(), begin))
    elif own is not None:
        raise ValueError(f"{name} has a logit bias: it is made for the sigmoid loss; set model.loss=siglip")
    elif initial is not None:
        raise ValueError(f"logit_bias={initial} is of the sigmoid loss; set model.loss=siglip, or leave it out")
