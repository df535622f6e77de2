"""What a callback found in the processes that its trainer started, given back to the process that started them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakValueDictionary

from lightning.pytorch import Trainer


class Receives(Protocol):
    """A callback that can be filled in with what its copy in another process found."""

    def receive(self, found: Any) -> None: ...


_WAITING: WeakValueDictionary[str, Receives] = WeakValueDictionary()


def wait_for_return(callback: Receives) -> str:
    """Note a callback that was made in this process; returns the name by which its copies give back what they find."""
    name = uuid.uuid4().hex
    _WAITING[name] = callback
    return name


def give_back(trainer: Trainer, name: str, found: Callable[[], Any]) -> None:
    """With ``ddp_spawn``, ``ddp_fork`` and ``ddp_notebook``, have the other process receive at the end what is found.

    Lightning hands nothing of a callback back. Of the trainer it does so with the state, which this is added to.
    """
    # By name: the class exists twice, in lightning and in pytorch_lightning, and is of neither's interface.
    if type(trainer.strategy.launcher).__name__ == "_MultiProcessingLauncher":
        returned = vars(trainer.state).setdefault("returned_by_callbacks", {})
        returned[name] = _Return(name, found)


class _Return:
    """Pickled, it becomes what is found by then; unpickled, or copied, it reaches the callback of this process."""

    def __init__(self, name: str, found: Callable[[], Any]) -> None:
        self.name, self.found = name, found

    def __reduce__(self) -> tuple[Callable[[str, Any], _Return], tuple[str, Any]]:
        return _arrive, (self.name, self.found())


def _arrive(name: str, found: Any) -> _Return:
    callback = _WAITING.get(name)
    if callback is not None:
        callback.receive(found)
    return _Return(name, lambda: found)  # Lightning copies the state once before it sends it
