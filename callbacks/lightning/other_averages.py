"""Averages of weights that are not Lightning's: found where that is possible, and how to measure them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import nn

from dejavu_lightning.embedding.encoders import PLAIN

# Classes of torch, timm, ema_pytorch, torch_ema, NeMo and others.
CLASSES = re.compile(r"AveragedModel|ModelEma(V\d)?|ExponentialMovingAverage|EMA|EMAModel|EMACallback|\w*WeightEMA")
NAMES = re.compile(r"(^|_)(ema|averaged?|avg|swa|polyak)(_|$)")
WITHIN = ("module", "ema_model", "ema", "model")  # where wrappers keep the averaged network


def other_averages(trainer: Trainer, module: LightningModule, encode: Any) -> str:
    """What to tell of averages that are kept beside the module's own weights; "" where there are none, as far as seen.

    Seen are attributes and callbacks by their classes, and attributes whose names say it and whose tensors have the
    shapes of another part. What a callback keeps in the optimizer or in a dictionary of tensors is not.
    """
    if callable(encode) or (isinstance(encode, str) and _names_average(module, encode)):
        return ""
    told = [_advice(module, path, average, encode) for path, average in _held(module)]
    if not told:
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        told = [_of_callback(callback) for callback in callbacks if _averages(callback)]
    return told[0] if told else ""


def _advice(module: LightningModule, path: str, average: Any, encode: Any) -> str:
    inner = next((part for part in WITHIN if isinstance(getattr(average, part, None), nn.Module)), None)
    if inner is None and not isinstance(average, nn.Module):
        return (
            f"{path} ({type(average).__name__}) holds averaged weights without a network to measure; keep the average "
            "as a module, such as torch.optim.swa_utils.AveragedModel, and name it in encode="
        )
    base = f"{path}.{inner}" if inner else path
    asked = encode or next((name for name in PLAIN if hasattr(module, name)), "")
    parts = asked.split(".")
    longer = [f"{base}.{'.'.join(parts[start:])}" for start in range(len(parts))] if asked else []
    found = next((one for one in longer if _has(module, one)), base)
    return f'to measure {path} ({type(average).__name__}) instead give encode="{found}"'


def _of_callback(callback: Any) -> str:
    return (
        f"{type(callback).__name__} keeps an average that it may exchange for them in validation, which this does not "
        "see; to measure it keep it as an attribute of the module, or use Lightning's EMAWeightAveraging"
    )


def _held(module: LightningModule) -> Iterator[tuple[str, Any]]:
    """Averages among the attributes of the module and of its parts, with their paths; not what lies within them."""
    shapes = {path: _shapes(part) for path, part in module.named_children()}
    for path, average in {**vars(module), **dict(module.named_modules())}.items():
        name = path.rpartition(".")[2]
        if not path or path.startswith("_"):
            continue
        alike = isinstance(average, nn.Module) and NAMES.search(name) and _shapes(average)
        twin = alike and any(other != path and held == _shapes(average) for other, held in shapes.items())
        if CLASSES.fullmatch(type(average).__name__) or twin:
            yield path, average


def _averages(callback: Any) -> bool:
    """Whether a callback averages weights, by its class or by what it holds."""
    kinds = [type(callback).__name__, *(type(value).__name__ for value in vars(callback).values())]
    return any(CLASSES.fullmatch(kind) for kind in kinds) and not hasattr(callback, "_average_model")


def _names_average(module: LightningModule, encode: str) -> bool:
    return any(encode == path or encode.startswith(f"{path}.") for path, _ in _held(module))


def _shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in module.parameters()]


def _has(module: LightningModule, path: str) -> bool:
    try:
        return callable(attrgetter(path)(module))
    except AttributeError:
        return False
