"""What losses and measurements need of the process group."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate, count, islice
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

NOTICED, PATIENT = 10.0, 1800.0  # seconds after which a process that does not come is named, and given up
_ALONE = ContextVar("_ALONE", default=False)
_MEETINGS = count()
INTEGERS = (torch.uint8, torch.int16, torch.int32, torch.int64)
KINDS: tuple[type[Exception], ...] = (
    FileNotFoundError,
    TimeoutError,
    OSError,
    TypeError,
    ValueError,
)  # that are raised elsewhere too


def world() -> tuple[int, int]:
    """(rank, number of processes)."""
    joined = dist.is_available() and dist.is_initialized() and not _ALONE.get()
    return (dist.get_rank(), dist.get_world_size()) if joined else (0, 1)


@contextmanager
def shared_work(distributed: bool, patient: float = PATIENT) -> Iterator[None]:
    """Let all processes work together, once they are all here, or this one alone, whatever the others do.

    Args:
        distributed: whether they work together.
        patient: seconds to wait for the others.

    Raises:
        TimeoutError: some process did not come. Long before that a warning names it.
    """
    if distributed:
        _meet(patient)
    token = _ALONE.set(_ALONE.get() or not distributed)
    try:
        yield
    finally:
        _ALONE.reset(token)


def _meet(patient: float) -> None:
    """Wait for the others by the store, which unlike a collective tells who is missing."""
    rank, processes = world()
    store = dist.distributed_c10d._get_default_store() if processes > 1 else None
    if store is None:
        return
    meeting = next(_MEETINGS)
    keys = [f"dejavu_lightning/{meeting}/{each}" for each in range(processes)]
    store.set(keys[rank], "here")
    begun, warned = time.monotonic(), False
    while not store.check(keys):
        waited = time.monotonic() - begun
        if waited >= min(NOTICED, patient):
            missing = ", ".join(str(each) for each, key in enumerate(keys) if not store.check([key]))
            told = (
                f"process {rank} waits for {missing} to begin the same measurement, which is late, as while it draws "
                "figures of an earlier one or tells loggers of it, or does not call it. Every process must call it, "
                "since they share the work; where only one does, as after `if rank == 0:`, give it distributed=False"
            )
            if waited >= patient:
                raise TimeoutError(f"after {patient:g} seconds {told}")
            if not warned:
                warnings.warn(told, stacklevel=5)
            warned = True
        time.sleep(min(0.2, 0.001 + waited / 20))
    if meeting:
        store.delete_key(f"dejavu_lightning/{meeting - 1}/{rank}")  # all have left that one


@torch.no_grad()
def copy_first(tensors: Iterable[Tensor]) -> None:
    """Give the tensors of every process the values that the first process's have, in place."""
    held = [tensor for tensor in tensors if tensor.numel()]
    if world()[1] == 1 or not held:
        return
    # As bytes: no backend broadcasts every type, and one message is faster than many.
    pieces = [tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in held]
    message = torch.cat([piece.to(_crossing_device()) for piece in pieces])
    dist.broadcast(message, 0)
    for tensor, values in zip(held, torch.split(message, [len(piece) for piece in pieces]), strict=True):
        tensor.copy_(values.clone().view(tensor.dtype).view(tensor.shape))


def _crossing_device() -> torch.device:
    """Where tensors must lie to be sent."""
    return torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")


def gathered(value: Any) -> list[Any]:
    """``value`` of every process, by rank, pickled: for flags, failures and random states alone.

    What is of samples crosses as tensors, by :func:`joined_rows`, :func:`joined_words` and :func:`joined_lists`.
    """
    processes = world()[1]
    if processes == 1:
        return [value]
    values: list[Any] = [None] * processes
    dist.all_gather_object(values, value)
    return values


@torch.no_grad()
def joined_rows(local: Tensor) -> Tensor:
    """Concatenate the (n, ...) tensors of all processes by rank, without gradient, on the device of ``local``.

    Each has its own n, and type and number of dimensions of the others. Bytes cross, no pickles: besides the result no
    more than the share of one process is held, and that only where it must change devices.

    Raises:
        ValueError: the rows of two processes have different shapes; one without rows may have any.
    """
    rank, processes = world()
    if processes == 1:
        return local
    own = torch.tensor(local.shape, device=_crossing_device())
    every = [torch.empty_like(own) for _ in range(processes)]
    dist.all_gather(every, own)
    shapes: list[list[int]] = torch.stack(every).tolist()
    kinds = sorted({tuple(shape[1:]) for shape in shapes if shape[0]}) or [tuple(local.shape[1:])]
    if len(kinds) > 1:
        raise ValueError(f"rows of all processes need one shape, they have {' and '.join(map(str, kinds))}")
    counts = [shape[0] for shape in shapes]
    joined = local.new_empty(sum(counts), *kinds[0])
    for source, part in enumerate(torch.split(joined, counts)):
        if part.numel() == 0:
            continue
        if source == rank:
            part.copy_(local)
            crossing = part.to(own.device)
        else:
            crossing = part if part.device == own.device else torch.empty_like(part, device=own.device)
        dist.broadcast(crossing.view(torch.uint8), source)  # no backend sends every type
        if crossing is not part:
            part.copy_(crossing)
    return joined


def joined_integers(local: Tensor) -> Tensor:
    """:func:`joined_rows` of (n,) int64, in the narrowest type that holds those of all processes."""
    ends = torch.stack(local.aminmax())[None] if len(local) else local.new_empty(0, 2)
    values = [0, *joined_rows(ends).flatten().tolist()]
    low, high = min(values), max(values)
    fitting = next(kind for kind in INTEGERS if torch.iinfo(kind).min <= low and high <= torch.iinfo(kind).max)
    return joined_rows(local.to(fitting))


def joined_words(words: Sequence[str]) -> list[str]:
    """Concatenate the words of all processes by rank: their UTF-8 bytes cross, and how many each has.

    Any strings will do, empty ones and lone surrogates (of file names that are no text) too.
    """
    encoded = [word.encode("utf-8", "surrogatepass") for word in words]
    lengths = joined_integers(torch.tensor([len(word) for word in encoded], dtype=torch.int64)).tolist()
    own = torch.from_numpy(np.frombuffer(bytearray().join(encoded), dtype=np.uint8))
    text = joined_rows(own).numpy().data
    ends = accumulate(lengths)
    return [str(text[end - length : end], "utf-8", "surrogatepass") for end, length in zip(ends, lengths, strict=True)]


def joined_lists(lists: Sequence[Sequence[int] | None]) -> list[list[int] | None]:
    """Concatenate the lists of int64 of all processes by rank: how many each has, and all of them; -1 for None."""
    own = torch.tensor([-1 if each is None else len(each) for each in lists], dtype=torch.int64)
    lengths = joined_integers(own).tolist()
    values = joined_integers(torch.tensor([value for each in lists for value in each or ()], dtype=torch.int64))
    left = iter(values.tolist())
    return [None if length < 0 else list(islice(left, length)) for length in lengths]


@torch.no_grad()
def rows_to_owners(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Send rows that answer for others to them: process r gets the rows (n, ...) for it of all W: (W, n, ...).

    Args:
        rows: (sum of counts, ...), those for process 0 first; of the same shape on all.
        counts: how many are for each process.
    """
    rank, processes = world()
    sent = rows.to(_crossing_device())
    received = sent.new_empty(processes * counts[rank], *sent.shape[1:])
    dist.all_to_all_single(received, sent, [counts[rank]] * processes, list(counts))
    return received.view(processes, counts[rank], *sent.shape[1:]).to(rows.device)


@contextmanager
def failing_together() -> Iterator[None]:
    """Raise on every process what the block raises on one, which alone would leave the others waiting.

    Every process must enter it, and wait for no other within: it is for what each does by itself, such as reading
    files.

    Raises:
        FileNotFoundError, TimeoutError, OSError, TypeError, ValueError, RuntimeError: the first process's failure,
            alike on all.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        if world()[1] == 1:
            raise
        failure = error
    failures = [(rank, *told) for rank, told in enumerate(gathered(failure and _told(failure))) if told]
    if failures:
        first, kind, words = failures[0]
        ranks = ", ".join(str(rank) for rank, *_ in failures)
        who = (
            f"processes {ranks}, unlike others, of {first}" if len(failures) > 1 else f"process {ranks}, unlike others"
        )
        raise kind(words if len(failures) == world()[1] else f"{who}: {words}") from failure


def _told(error: Exception) -> tuple[type[Exception], str]:
    kind = next((kind for kind in KINDS if isinstance(error, kind)), RuntimeError)
    return kind, str(error) if type(error) in (kind, RuntimeError) else f"{type(error).__name__}: {error}"


def gather_batch(local: Tensor) -> Tensor:
    """Concatenate the (B, ...) tensors of all ranks, by rank, with gradient: (ranks * B, ...).

    The backward pass sums the ranks' gradients. A loss computed on the result by every rank therefore
    has, after DistributedDataParallel averages over ranks, the gradient of one process on the
    concatenated batch. All ranks must hold the same shape.
    """
    if world()[1] == 1:
        return local
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(local))  # type: ignore[no-untyped-call]


def gather_rows(local: Tensor) -> tuple[Tensor, int]:
    """:func:`gather_batch` of ranks that hold different numbers of rows, and where this rank's rows begin."""
    rank, processes = world()
    if processes == 1:
        return local, 0
    own = torch.tensor([len(local)], device=local.device)
    every = [torch.empty_like(own) for _ in range(processes)]
    dist.all_gather(every, own)
    counts = [int(count) for count in torch.cat(every).tolist()]
    padded = torch.nn.functional.pad(local, (0, 0) * (local.ndim - 1) + (0, max(counts) - len(local)))
    shares = torch.split(gather_batch(padded), max(counts))
    return torch.cat([share[:count] for share, count in zip(shares, counts, strict=True)]), sum(counts[:rank])


@torch.no_grad()
def mean_over_ranks(local: Tensor) -> Tensor:
    """Average a tensor over all ranks, without gradient; every rank gets the same."""
    if world()[1] == 1:
        return local
    total = local.clone()
    dist.all_reduce(total)
    return total / world()[1]
