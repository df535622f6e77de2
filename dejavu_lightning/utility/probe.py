"""What all probes are: frozen features in, class scores out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

Classifier = Callable[[Tensor], Tensor]


@runtime_checkable
class Probe(Protocol):
    """Learns classes from features; ``name`` begins the logged keys."""

    name: str

    def fit(self, features: Tensor, labels: Tensor, num_classes: int) -> Classifier:
        """Learn, the same on every process.

        Args:
            features: (N, D) float32.
            labels: (N,) int64 in [0, num_classes).
            num_classes: C.

        Returns:
            Function from features (M, D) to class scores (M, C), higher is likelier; a class
            at minus infinity is never predicted.
        """
        ...
