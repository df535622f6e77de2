"""Names of weights, whatever wraps the module that has them: DDP, torch.compile, FSDP, averages of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

# Before a name, from the outside in: DDP and AveragedModel, Lightning's wrapper of strategies.
OUTER = ("module", "_forward_module")
# Anywhere in a name: torch.compile, FSDP, activation checkpointing.
INNER = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
COUNTER = "n_averaged"  # of AveragedModel, no weight

Value = TypeVar("Value")


def without_inner(name: str) -> str:
    """A weight's name, or the beginning of one, without what wrappers within a module add to it."""
    return ".".join(part for part in name.split(".") if part not in INNER)


def plain_name(name: str) -> str:
    """A weight's name without what any wrapper adds to it."""
    parts = without_inner(name).split(".")
    while len(parts) > 1 and parts[0] in OUTER:
        del parts[0]
    return ".".join(parts)


def under_own_names(own: Mapping[str, Any], weights: Mapping[str, Value]) -> dict[str, Value]:
    """Weights under the names that a module has them by, where wrappers alone make the difference.

    Args:
        own: the module's state.
        weights: a state dict of it, wrapped or not.

    Returns:
        The weights as given where other names differ too, or where two would get one name.
    """
    given = {name: value for name, value in weights.items() if name != COUNTER or name in own}
    names = {plain_name(name): name for name in own}
    found = {plain_name(name): value for name, value in given.items()}
    unique = len(names) == len(own) and len(found) == len(given)
    if set(given) == set(own) or not unique or set(names) != set(found):
        return dict(weights)
    return {names[name]: value for name, value in found.items()}
