"""Find the state dicts in a file, and load the part of one that belongs to a module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from dejavu_lightning.core.torch_file import read_torch_file
from dejavu_lightning.embedding.encoders import mismatch
from dejavu_lightning.embedding.weight_names import under_own_names, without_inner

State = Mapping[str, Tensor]
SHOWN = 4


class StateDictPlace(NamedTuple):
    """Where in a file a module's weights are: entry, prefix, and what else is under that prefix."""

    entry: str
    prefix: str
    leave_out: tuple[str, ...]

    def __str__(self) -> str:
        given = [f"entry={self.entry!r}"] if self.entry else []
        given += [f"prefix={self.prefix!r}"] if self.prefix or not given else []
        return " ".join([*given, f"leave_out={list(self.leave_out)}"] if self.leave_out else given)


class StateDicts:
    """The state dicts of a file, by the dotted path of the entries that hold them; "" is the file itself.

    What torch.compile, FSDP and activation checkpointing add to keys is left out.

    Args:
        file: see :func:`~dejavu_lightning.core.torch_file.read_torch_file`.
        entry: which of them is meant; the only one if not given.

    Raises:
        FileNotFoundError, ValueError: the file cannot be read, or has no such entry.
    """

    def __init__(self, file: str, entry: str | None = None) -> None:
        self.file, self.entry = file, entry
        self.found: dict[str, State] = {
            place: _without_wrappers(state) for place, state in _state_dicts(read_torch_file(file))
        }
        if not self.found:
            raise ValueError(f"{file} holds no state dict: no mapping from names to tensors")
        if entry is not None and entry not in self.found:
            raise ValueError(f"{file} has no state dict entry={entry!r}; it has {self._entries()}")
        if entry is None and len(self.found) == 1:
            self.entry = next(iter(self.found))

    def load(self, module: nn.Module, prefix: str = "", leave_out: Sequence[str] = (), in_order: bool = False) -> None:
        """Load weights into a module: all keys under a prefix, which must be exactly the module's.

        What DDP or an average of weights puts before all of them is no difference.

        Args:
            prefix: of the keys that are the module's, with or without the last dot; others are not looked at.
            leave_out: parts under that prefix, such as a classifier, that the module does not have.
            in_order: the tensors are the module's, one by one, under other names.

        Raises:
            ValueError: the keys do not match; the message lists them, and where in the file they would.
        """
        if self.entry is None:
            raise ValueError(
                f"{self.file} holds several state dicts, {self._entries()}: name one as entry{self._hint(module)}"
            )
        taken = self.under(prefix)
        parts = [without_inner(part.rstrip(".")) for part in leave_out]
        absent = [part for part in parts if not any(_within(key, part) for key in taken)]
        if absent:
            raise ValueError(f"{self.file}: leave_out={absent} names no keys under prefix={prefix!r}")
        kept = {key: value for key, value in taken.items() if not any(_within(key, part) for part in parts)}
        own = module.state_dict()
        kept = self._in_order(own, kept) if in_order else under_own_names(own, kept)
        problems = mismatch(own, kept)
        if problems:
            raise ValueError(
                f"{self.file}: its keys under prefix={prefix!r} do not match {type(module).__name__} ({problems})"
                f"{self._hint(module)}"
            )
        module.load_state_dict(kept)

    def _in_order(self, own: State, kept: State) -> dict[str, Tensor]:
        """Name the tensors as a module of the same layers does, whose own are as many, of the same kinds and shapes."""
        if len(own) != len(kept):
            raise ValueError(f"{self.file} has {len(kept)} tensors, the module {len(own)}: name others by leave_out")
        for mine, (theirs, value) in zip(own, kept.items(), strict=True):
            if mine.rpartition(".")[2] != theirs.rpartition(".")[2] or own[mine].shape != value.shape:
                raise ValueError(
                    f"{self.file}: in order, {theirs} {tuple(value.shape)} would become {mine} {tuple(own[mine].shape)}"
                )
        return dict(zip(own, kept.values(), strict=True))

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under a prefix, without it."""
        assert self.entry is not None
        start = _ended(without_inner(prefix))
        return {key[len(start) :]: value for key, value in self.found[self.entry].items() if key.startswith(start)}

    def sequentials(self, beside: str) -> list[str]:
        """Prefixes under which keys begin with positions, as those of a Sequential do, outside of another prefix."""
        assert self.entry is not None
        keys = [key for key in self.found[self.entry] if not key.startswith(_ended(beside) or "\0")]
        found = [re.fullmatch(r"(.+?\.)(?:\d+\.)+\w+", key) for key in keys]
        return list(dict.fromkeys(match[1] for match in found if match))

    def _hint(self, module: nn.Module) -> str:
        places = sorted(
            _places(module, self.found), key=lambda place: (len(place.leave_out), place.entry != self.entry)
        )
        if places:
            return f". They match with {', or '.join(map(str, places[:SHOWN]))}"
        first = self.found[self.entry or next(iter(self.found))]
        return f". Its keys are like {', '.join(list(first)[:SHOWN])}; is it this architecture?"

    def _entries(self) -> str:
        return ", ".join(f"{entry!r} ({len(state)} tensors)" for entry, state in self.found.items())


def _state_dicts(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, State]]:
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        return
    if all(isinstance(value, Tensor) for value in content.values()):
        yield ".".join(path), content
    elif len(path) < 2:
        for key, value in content.items():
            yield from _state_dicts(value, (*path, key))


def _without_wrappers(state: State) -> State:
    found = {without_inner(key): value for key, value in state.items()}
    return found if len(found) == len(state) else state


def _places(module: nn.Module, found: Mapping[str, State]) -> Iterator[StateDictPlace]:
    """Find where all of the module's weights are, in their shapes."""
    own = module.state_dict()
    anchor = max(own, key=len, default=None)
    if anchor is None:
        return
    for entry, state in found.items():
        for prefix in [key.removesuffix(anchor) for key in state if key == anchor or key.endswith(f".{anchor}")]:
            taken = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            if all(key in taken and taken[key].shape == value.shape for key, value in own.items()):
                more = sorted({key.partition(".")[0] for key in taken if key not in own})
                yield StateDictPlace(entry, prefix, tuple(more))


def _ended(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith(".") else f"{prefix}."


def _within(key: str, part: str) -> bool:
    return key == part or key.startswith(f"{part}.")
