"""Which weights a checkpoint holds where a callback of Lightning's averages them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from dejavu_lightning.core.distributed import copy_first


def weight_averaging(trainer: Trainer) -> Any:
    """The trainer's ``WeightAveraging`` or ``EMAWeightAveraging``, None if it has none.

    Raises:
        ValueError: there is a ``StochasticWeightAveraging``.
    """
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    if any(_is_a(callback, "StochasticWeightAveraging") for callback in callbacks):
        raise ValueError(
            "StochasticWeightAveraging puts its average into the model when training ends, after the checkpoints and "
            "measurements of the epochs, and trains an epoch more than is asked for: no curve would be of the weights "
            "that are kept. Use WeightAveraging or EMAWeightAveraging, whose checkpoints hold the average"
        )
    return next((callback for callback in reversed(callbacks) if _is_a(callback, "WeightAveraging")), None)


@contextmanager
def checkpoint_weights(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Give the module what a checkpoint of it would hold meanwhile: the average, where weights are averaged."""
    average = getattr(weight_averaging(trainer), "_average_model", None)
    if average is None:
        yield
        return
    tensors = _tensors(module)
    trained = [tensor.detach().clone() for tensor in tensors]
    try:
        _copy(_tensors(average.module), tensors)
        copy_first(tensors)  # the first process writes checkpoints, and others may have begun elsewhere
        yield
    finally:
        _copy(trained, tensors)


def _tensors(module: torch.nn.Module) -> list[Tensor]:
    return list(chain(module.parameters(), module.buffers()))


@torch.no_grad()
def _copy(values: list[Tensor], tensors: list[Tensor]) -> None:
    for value, tensor in zip(values, tensors, strict=True):
        tensor.copy_(value)


def _is_a(callback: Any, name: str) -> bool:
    # By name: the classes exist twice, in lightning and in pytorch_lightning.
    return any(parent.__name__ == name for parent in type(callback).__mro__)
