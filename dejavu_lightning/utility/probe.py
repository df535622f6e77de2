"""Define the measures of utility: probes of frozen features, and measures of models of pictures and texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from dejavu_lightning.core.sets import UtilitySets
from dejavu_lightning.embedding.encoders import ModuleEncoder
from dejavu_lightning.utility.averages import Average

Classifier = Callable[[Tensor], Tensor]


@runtime_checkable
class PairMeasure(Protocol):
    """A measure of a model of pictures and texts as a whole, such as ``ZeroShot``.

    Example:
        >>> from dejavu_lightning.utility import ZeroShot
        >>> isinstance(ZeroShot(), PairMeasure), ZeroShot().metrics
        (True, ['zero_shot_top1', 'zero_shot_top5'])
    """

    name: str

    @property
    def metrics(self) -> list[str]:
        """List the logged keys."""
        ...

    def measure(
        self, encoder: ModuleEncoder, sets: UtilitySets, batch_size: int, num_workers: int
    ) -> dict[str, Average]:
        """Measure the values by logged key, the same on every process."""
        ...


@runtime_checkable
class Probe(Protocol):
    """A classifier of frozen features, such as ``LinearProbe``.

    Attributes:
        name: begins the logged keys.

    Example:
        >>> from dejavu_lightning.utility import LinearProbe
        >>> isinstance(LinearProbe(), Probe), LinearProbe().name
        (True, 'linear')
    """

    name: str

    def fit(self, features: Tensor, labels: Tensor, num_classes: int) -> Classifier:
        """Learn the classes, the same on every process.

        Args:
            features: (N, D) float32.
            labels: (N,) int64 in [0, num_classes).
            num_classes: C.

        Returns:
            Function from features (M, D) to class scores (M, C), higher is likelier; a class
            at minus infinity is never predicted.
        """
        ...
