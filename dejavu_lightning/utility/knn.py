"""Weighted nearest-neighbour classification of frozen features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dejavu_lightning.embedding.nearest.neighbors import nearest_neighbors
from dejavu_lightning.utility.probe import Classifier


class NearestNeighborProbe:
    """Classify by the k nearest training features by cosine, each with weight exp(cosine / temperature).

    Wu et al. (2018, arXiv 1805.01978, section 3.4), with the k and temperature of DINO's evaluation.

    Args:
        k: neighbours that vote; at most the number of training features.
        temperature: divides the cosines; positive.

    Raises:
        ValueError: k is below 1, or temperature is not positive.

    Example:
        >>> from torch import tensor
        >>> features, labels = tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), tensor([0, 0, 1])
        >>> classify = NearestNeighborProbe(k=1).fit(features, labels, num_classes=2)
        >>> classify(tensor([[2.0, 0.1], [0.1, 2.0]])).argmax(dim=1)
        tensor([0, 1])
    """

    name = "knn"

    def __init__(self, k: int = 20, temperature: float = 0.07) -> None:
        if k < 1 or temperature <= 0:
            raise ValueError(f"need k >= 1 and temperature > 0, got {k} and {temperature}")
        self.k, self.temperature = k, temperature

    def fit(self, features: Tensor, labels: Tensor, num_classes: int) -> Classifier:
        """See :class:`~dejavu_lightning.utility.probe.Probe`."""
        if self.k > len(features):
            raise ValueError(f"k={self.k} exceeds the {len(features)} training features; lower k")
        bank = nn.functional.normalize(features, dim=1)

        @torch.no_grad()
        def classify(queries: Tensor) -> Tensor:
            squared, found = nearest_neighbors(nn.functional.normalize(queries, dim=1), bank, self.k)
            # Of directions |q - b|^2 = 2 - 2 cos; the constant e^(1/T) cancels.
            weight = torch.exp(-squared / (2 * self.temperature))  # M, k
            scores = torch.zeros(len(queries), num_classes, dtype=weight.dtype, device=weight.device)
            voted = labels.to(weight.device)[found]
            scores.scatter_add_(1, voted, weight)
            has_votes = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, voted, True)
            return scores.masked_fill(~has_votes, -torch.inf)

        return classify
