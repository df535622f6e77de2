"""One string for what a value is, so that what was computed from it can be kept and found again.

A fingerprint is never a guess: two values share it only if they hold the same and run the same code. Where that
cannot be told there is none.
"""

from __future__ import annotations

import copyreg
import hashlib
import sys
from collections.abc import Collection, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from dejavu_lightning.embedding.source_code import installed_packages, source_code
from dejavu_lightning.embedding.unidentified import UnidentifiedError

# What an object remembers of its use and does not compute with.
REMEMBERED = {"open_clip.tokenizer.SimpleTokenizer": {"cache"}}
PATTERNS = ("re", "_regex")  # what is pickled of the latter depends on the seed of hash()
PLAIN_TENSORS = (Tensor, nn.Parameter)


@runtime_checkable
class Fingerprinted(Protocol):
    """Numbered samples, or pictures, that can tell what they are without being read."""

    def fingerprint(self, positions: Sequence[int]) -> str:
        """Equal only for equal items in an equal order, now and in later processes.

        Raises:
            UnidentifiedError: it cannot be told.
        """
        ...


def fingerprint_of(items: Any, positions: Sequence[int]) -> str:
    """The fingerprint of some items of a dataset or a source.

    Raises:
        UnidentifiedError: it offers none.
    """
    if not isinstance(items, Fingerprinted):
        raise UnidentifiedError(f"{type(items).__name__} has no method fingerprint(positions)")
    return items.fingerprint(positions)


def fingerprint(value: Any, leave_out: Collection[Tensor] = ()) -> str:
    """sha256 over a value, all that it refers to, its code and the installed packages, as 64 hexadecimal digits.

    It holds what pickle would store of the value, tensors with their strides, and the source of classes and
    functions, which must be those that their modules hold under their names.

    Args:
        leave_out: tensors that do not matter, wherever they are met.

    Raises:
        UnidentifiedError: something in it is neither data nor code with a source.
    """
    walk = _Walk(leave_out)
    try:
        walk.add(value)
    except RecursionError as error:
        raise UnidentifiedError(f"a {type(value).__qualname__} is nested too deeply") from error
    return walk.found.hexdigest()


def computing_on(device: torch.device) -> dict[str, Any]:
    """What besides model, inputs and code decides how numbers are rounded."""
    facts: dict[str, Any] = {
        "device": device.type,
        "built": torch.__config__.show(),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "default": torch.get_default_dtype(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "autocast": torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type),
    }
    if device.type == "cuda":
        cudnn: Any = torch.backends.cudnn
        facts |= {
            "gpu": torch.cuda.get_device_name(device),
            "cudnn": (cudnn.version(), cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic),
        }
    return facts


class _Walk:
    """Feeds a hash with a graph of objects; each is numbered when it is first met."""

    def __init__(self, leave_out: Collection[Tensor]) -> None:
        self.found = hashlib.sha256()
        self._left_out = {id(tensor) for tensor in leave_out}
        self._number: dict[int, int] = {}
        self._met: list[Any] = []  # keeps what is made on the way, whose id another could get
        self._modules: set[str] = set()
        self._put("packages", installed_packages().encode())

    def add(self, value: Any) -> None:
        kind = type(value)
        if value is None or kind in (bool, int, float, complex, str):
            self._put(kind.__name__, repr(value).encode())
        elif kind is bytes:
            self._put("bytes", value)
        elif kind is tuple:  # not numbered: whether equal constants are one object depends on how code was loaded
            self._many("tuple", value)
        elif id(value) in self._left_out:
            self._put("left out", b"")
        elif id(value) in self._number:
            self._put("again", str(self._number[id(value)]).encode())
        else:
            self._number[id(value)] = len(self._number)
            self._met.append(value)
            self._add_new(value)

    def _add_new(self, value: Any) -> None:
        kind = type(value)
        if kind is list:
            self._many("list", value)
        elif kind is dict:
            self._many("dict", [part for item in value.items() for part in item])
        elif kind in (set, frozenset):
            self._put(kind.__name__, "".join(sorted(fingerprint(part) for part in value)).encode())
        elif isinstance(value, Tensor):
            self._tensor(value)
        elif kind is np.ndarray:
            self._many("array", [repr(value.dtype), value.shape])
            self.add(value.tolist() if value.dtype.hasobject else value.tobytes())
        elif isinstance(value, np.dtype):
            self._many("dtype", [repr(value)])
        elif kind.__qualname__ == "Pattern" and kind.__module__ in PATTERNS:
            self._many("pattern", [kind.__module__, value.pattern, value.flags, getattr(value, "named_lists", None)])
        elif isinstance(value, ModuleType):
            self._code("module", value.__name__, "")
        elif kind is MethodType:
            self._many("method", [value.__func__, value.__self__])
        elif isinstance(value, type | FunctionType):
            self._named(value)
        elif kind is BuiltinFunctionType and isinstance(value.__self__, ModuleType | type | None):
            self._code(
                "builtin", value.__module__ or getattr(value.__self__, "__module__", "builtins"), value.__qualname__
            )
        else:
            self._object(value)

    def _object(self, value: Any) -> None:
        kind = type(value)
        registered = copyreg.dispatch_table.get(kind)
        try:
            stored = registered(value) if registered is not None else value.__reduce_ex__(4)
        except Exception as error:  # whatever a class raises that cannot be stored
            raise UnidentifiedError(f"a {kind.__qualname__} cannot be told from another: {error}") from error
        if registered is None:
            self.add(kind)
        if isinstance(stored, str):  # the name of a global
            self._code("global", getattr(value, "__module__", None) or kind.__module__, stored)
            return
        function, arguments, state, items, pairs = (*stored, *[None] * 5)[:5]
        remembered = REMEMBERED.get(f"{kind.__module__}.{kind.__qualname__}")
        if remembered:
            state = {name: part for name, part in state.items() if name not in remembered}
        self._many("object", [function, arguments, state, list(items or ()), list(pairs or ())])

    def _named(self, value: Any) -> None:
        """A class or function, whose source must be that of its module: no local one, which may know other values."""
        bases = value.__mro__ if isinstance(value, type) else (value,)
        for base in bases:
            held: Any = sys.modules.get(base.__module__)
            for name in base.__qualname__.split("."):
                held = getattr(held, name, None)
            if held is not base:
                raise UnidentifiedError(
                    f"{base.__module__}.{base.__qualname__} is not what a module defines by this name"
                )
            self._code("code", base.__module__, base.__qualname__)
            for member in vars(base).values() if isinstance(base, type) else ():
                elsewhere = isinstance(member, FunctionType) and member.__module__ != base.__module__
                if elsewhere and member.__module__ in sys.modules:  # others put their methods into it
                    self._code("method", member.__module__, member.__qualname__)
        if isinstance(value, FunctionType):
            self._many("defaults", [value.__defaults__, value.__kwdefaults__])

    def _tensor(self, value: Tensor) -> None:
        if type(value) not in PLAIN_TENSORS or value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise UnidentifiedError(
                f"a tensor of type {type(value).__name__} and layout {value.layout} cannot be compared"
            )
        self._many("tensor", [str(value.dtype), tuple(value.shape), value.stride(), value.device.type])
        plain = value.detach().cpu().contiguous().reshape(-1)
        self.found.update(plain.view(torch.uint8).numpy().data)

    def _many(self, tag: str, parts: Sequence[Any]) -> None:
        self._put(tag, str(len(parts)).encode())
        for part in parts:
            self.add(part)

    def _code(self, tag: str, module: str, name: str) -> None:
        self._put(tag, f"{module}.{name}".encode())
        if module not in self._modules:
            self._modules.add(module)
            self._put("source", repr(source_code(module)).encode())

    def _put(self, tag: str, content: bytes) -> None:
        self.found.update(f"{tag} {len(content)}\0".encode() + content)
