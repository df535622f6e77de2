"""Exact nearest neighbours in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dejavu_lightning.core.progress.long_work import long_work

MARGIN = 32  # candidates beyond k that the fast float32 search keeps for the exact ranking
QUERY_BLOCK = 1024
BANK_BLOCK = 16384
BANK_ELEMENTS = {"cpu": 1 << 23, "cuda": 1 << 27}  # of a block of the bank in float32, 32 and 512 MiB
GROUP = 16  # columns of which only the least is compared at first
EXACT_ELEMENTS = {"cpu": 1 << 17, "cuda": 1 << 24}  # float64 differences held at once: 1 MB stays in a core's cache


@torch.no_grad()
def nearest_neighbors(queries: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k nearest rows of the bank to each query, by squared Euclidean distance.

    A blocked float32 product finds candidates; their distances are then recomputed pair by pair in
    float64, so neither blocking nor device can reorder neighbours. Where the candidates cannot be
    guaranteed to hold the k nearest (many near-ties, as with collapsed embeddings), the query is compared
    to the whole bank in float64. Memory is bounded by a block of pairs, never N x M, and no more than a block of
    the bank is copied: it may be float16 and mapped into memory from a file.

    Args:
        queries: (N, D) floating point.
        bank: (M, D) floating point, on the same device.
        k: neighbours, in [1, M].

    Returns:
        distances (N, k) float64, ascending; indices (N, k) int64 into the bank. Equal distances come in
        order of their index.

    Raises:
        ValueError: shapes do not fit, k is larger than the bank, or a value is NaN or infinite.

    Example:
        >>> from torch import tensor
        >>> nearest_neighbors(tensor([[0.0, 0.0]]), tensor([[3.0, 0.0], [0.0, 1.0], [2.0, 0.0]]), k=2)
        (tensor([[1., 4.]], dtype=torch.float64), tensor([[1, 2]]))
    """
    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
        raise ValueError(f"queries (N, D) and bank (M, D) must share D, got {(*queries.shape,)} and {(*bank.shape,)}")
    if not 1 <= k <= len(bank):
        raise ValueError(f"k={k} neighbours cannot be taken from a bank of {len(bank)}; k must lie in [1, {len(bank)}]")
    for name, points in (("queries", queries), ("bank", bank)):
        finite = torch.cat([torch.isfinite(block).all(dim=1) for block in torch.split(points, _bank_rows(points))])
        if not finite.all():
            raise ValueError(f"{name}: row {int((~finite).nonzero()[0])} holds NaN or infinite values")
    distances = torch.empty(len(queries), k, dtype=torch.float64, device=queries.device)
    indices = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    # Distances from the centre are the same, and float32 keeps more of them.
    centre = torch.stack([block.float().sum(dim=0) for block in torch.split(bank, _bank_rows(bank))]).sum(dim=0)
    centre /= len(bank)
    with _full_float32(), long_work("nearest neighbours", len(queries), "sample") as advance:
        for start in range(0, len(queries), QUERY_BLOCK):
            rows = slice(start, start + QUERY_BLOCK)
            distances[rows], indices[rows] = _search(queries[rows], bank, centre, k)
            advance(len(indices[rows]))
    return distances, indices


def _search(queries: Tensor, bank: Tensor, centre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    candidates = min(len(bank), k + MARGIN)
    near = queries.float() - centre  # n, D
    value = torch.empty(len(queries), 0, device=queries.device)
    index = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    longest = torch.zeros((), device=queries.device)
    step = _bank_rows(bank)
    for start in range(0, len(bank), step):
        block = bank[start : start + step].float() - centre  # m, D
        squares = block.square().sum(dim=1)
        longest = torch.maximum(longest, squares.max())
        found = torch.addmm(squares, near, block.T, alpha=-2)  # n, m: squared distance less |query|^2
        nearest, column = _least(found, min(candidates, len(block)))
        value, index = torch.cat([value, nearest], dim=1), torch.cat([index, column + start], dim=1)
        value, best = value.topk(min(candidates, value.shape[1]), dim=1, largest=False)
        index = index.gather(1, best)
    index = index.sort(dim=1).values
    exact = _pair_distances(queries, bank, index)
    exact, order = exact.sort(dim=1, stable=True)
    index = index.gather(1, order)
    if candidates < len(bank):
        # Rounding of a float32 distance, with a wide allowance over its typical sqrt(D) growth.
        length = near.square().sum(dim=1)
        slack = 8 * near.shape[1] ** 0.5 * torch.finfo(torch.float32).eps * (length.sqrt() + longest.sqrt()) ** 2
        unsure = (exact[:, k - 1] - length).double() + 2 * slack >= value[:, -1]
        for row in unsure.nonzero()[:, 0].tolist():
            exact[row, :k], index[row, :k] = _brute_force(queries[row], bank, k)
    return exact[:, :k], index[:, :k]


def _least(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` least values of each row, (n, m) -> values and columns (n, count).

    They lie in the ``count`` groups of columns whose own least values are least, which are few to search.
    """
    groups = values.shape[1] // GROUP
    if groups <= count:
        return values.topk(count, dim=1, largest=False)
    whole = values[:, : groups * GROUP].view(len(values), groups, GROUP)
    group = whole.amin(dim=2).topk(count, dim=1, largest=False).indices
    columns = (group[:, :, None] * GROUP + torch.arange(GROUP, device=values.device)).flatten(1)
    rest = torch.arange(groups * GROUP, values.shape[1], device=values.device).expand(len(values), -1)
    columns = torch.cat([columns, rest], dim=1)
    least, place = values.gather(1, columns).topk(count, dim=1, largest=False)
    return least, columns.gather(1, place)


def _pair_distances(queries: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """queries (n, D), index (n, c) -> (n, c) float64 squared distances to the indexed rows."""
    step = _exact_rows(queries.device, index.shape[1] * queries.shape[1])
    parts = [
        (queries[start : start + step, None].double() - bank[index[start : start + step]].double()).square().sum(dim=2)
        for start in range(0, len(queries), step)
    ]
    return torch.cat(parts)


def _brute_force(query: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    step = _exact_rows(query.device, bank.shape[1])
    parts = [(query.double() - bank[s : s + step].double()).square().sum(dim=1) for s in range(0, len(bank), step)]
    distances, order = torch.cat(parts).sort(stable=True)
    return distances[:k], order[:k]


def _bank_rows(points: Tensor) -> int:
    """How many rows are copied at once."""
    elements = BANK_ELEMENTS["cpu" if points.device.type == "cpu" else "cuda"]
    return min(BANK_BLOCK, max(1, elements // max(1, points.shape[1])))


def _exact_rows(device: torch.device, elements: int) -> int:
    """How many rows of so many float64 differences are computed at once."""
    return max(1, EXACT_ELEMENTS["cpu" if device.type == "cpu" else "cuda"] // elements)


@contextmanager
def _full_float32() -> Iterator[None]:
    """Keep TF32, autocast and reduced-precision products, where the host enabled them, out of the search."""
    # Of newer torches a host may use the setting of each backend, the older one, or both; then the older one raises.
    parts = [
        backend.matmul
        for backend in (torch.backends.cuda, torch.backends.mkldnn)
        if hasattr(getattr(backend, "matmul", None), "fp32_precision")
    ]
    own = [part.fp32_precision for part in parts]
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:
        before = "highest"
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
        for part, precision in zip(parts, own, strict=True):
            part.fp32_precision = precision
