"""Compute losses in float32 during 16-bit training: statistics of a batch need the digits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def full_precision(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Compute a loss outside autocast, 16-bit tensors as float32; the gradients come back in the caller's type."""

    @functools.wraps(loss)
    def computed(*tensors: P.args, **more: P.kwargs) -> Tensor:
        wide = [_widen(value) for value in tensors]
        wide_more = {name: _widen(value) for name, value in more.items()}
        device = next(value.device.type for value in (*wide, *wide_more.values()) if isinstance(value, Tensor))
        widened: Callable[..., Tensor] = loss
        with torch.autocast(device, enabled=False):
            return widened(*wide, **wide_more)

    return computed


def _widen(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value
