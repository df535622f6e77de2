"""Objects in words, alike whenever they are made alike, so that what measured a curve can be told from another."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dejavu_lightning.core.sets import MemorizationSets

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
DEPTH = 3  # of objects within objects


def described(value: Any, leave_out: Collection[str] = (), depth: int = DEPTH) -> Any:
    """What JSON can hold of a value: a text of most, of an object without a text its class and public attributes.

    Of a function the name is told, of a network with weights and of sets the class.

    Args:
        value: an argument, such as a test or a transform.
        leave_out: attributes that make no difference.
        depth: attributes of attributes are told so far, then classes alone.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [described(one, (), depth - 1) for one in value]
    if isinstance(value, Mapping):
        return {str(name): described(one, (), depth - 1) for name, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(str(one) for one in value)
    kind = type(value).__qualname__
    if isinstance(value, Tensor):
        return f"{kind} {tuple(value.shape)}"
    if isinstance(value, MemorizationSets) or (isinstance(value, nn.Module) and any(True for _ in value.parameters())):
        return kind
    own: object = type(value).__repr__
    if own is not object.__repr__:
        return ADDRESS.sub("", repr(value))
    if depth < 1:
        return kind
    attributes = {name: one for name, one in vars(value).items() if not name.startswith("_") and name not in leave_out}
    return {"class": kind, **{name: described(one, (), depth - 1) for name, one in attributes.items()}}
