"""Exact nearest neighbours in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dejavu_lightning.core.progress.long_work import long_work
from dejavu_lightning.embedding.nearest.candidates import bank_rows, has_float16_products, nearest_candidates

MARGIN = 32  # candidates beyond k that the fast search keeps for the exact ranking
QUERY_BLOCK = {"cpu": 1024, "cuda": 8192}  # on a GPU the bank is made ready as seldom as memory allows
UNSURE = 0.25  # of a block's queries: float16 candidates that leave more open are not worth their time
EXACT_ELEMENTS = {"cpu": 1 << 17, "cuda": 1 << 24}  # float64 differences held at once: 1 MB stays in a core's cache
FLOAT16_SUMS = ("allow_fp16_reduced_precision_reduction", "allow_fp16_accumulation")
SPLIT_K = "allow_fp16_reduced_precision_reduction_split_k"


@torch.no_grad()
def nearest_neighbors(queries: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k nearest rows of the bank to each query, by squared Euclidean distance.

    A blocked product finds candidates, in float32, on CUDA of numbers rounded to float16; their distances are then
    recomputed pair by pair in float64, so neither blocking nor device can reorder neighbours. Where candidates of
    float16 cannot be guaranteed to hold the k nearest, those of float32 are taken, and where these cannot either
    (many near-ties, as with collapsed embeddings), the query is compared to the whole bank in float64. Memory is
    bounded by a block of pairs, never N x M, and no more than a block of the bank is copied: it may be float16 and
    mapped into memory from a file.

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
    # What is made of each block goes into one tensor: results that are allocated one by one between copies of blocks
    # would keep freed memory from being used again, two GiB of it with two million rows of float16.
    for name, points in (("queries", queries), ("bank", bank)):
        finite, step = torch.empty(len(points), dtype=torch.bool, device=points.device), bank_rows(points)
        for told, block in zip(torch.split(finite, step), torch.split(points, step), strict=True):
            torch.all(torch.isfinite(block), dim=1, out=told)
        if not finite.all():
            raise ValueError(f"{name}: row {int((~finite).nonzero()[0])} holds NaN or infinite values")
    distances = torch.empty(len(queries), k, dtype=torch.float64, device=queries.device)
    indices = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    # Distances from the centre are the same, and float32 keeps more of them.
    blocks = torch.split(bank, bank_rows(bank))
    sums = torch.empty(len(blocks), bank.shape[1], dtype=torch.float32, device=bank.device)
    for total, block in zip(sums, blocks, strict=True):
        torch.sum(block.float(), dim=0, out=total)
    centre = sums.sum(dim=0) / len(bank)
    with _full_float32(), long_work("nearest neighbours", len(queries), "sample") as advance:
        step, in_float16 = query_rows(queries.device), has_float16_products(queries.device)
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            distances[rows], indices[rows], unsure = _search(queries[rows], bank, centre, k, in_float16)
            in_float16 = in_float16 and unsure < UNSURE * len(indices[rows])
            advance(len(indices[rows]))
    return distances, indices


def _search(queries: Tensor, bank: Tensor, centre: Tensor, k: int, in_float16: bool) -> tuple[Tensor, Tensor, int]:
    """Distances and indices (n, k), and for how many queries the candidates were not enough at first."""
    count = min(len(bank), k + MARGIN)
    index, bound = nearest_candidates(queries, bank, centre, count, in_float16)
    exact, order = _pair_distances(queries, bank, index).sort(dim=1, stable=True)
    exact, index = exact[:, :k], index.gather(1, order)[:, :k]
    # A bound that is no number, or infinite where squares leave float32, tells nothing.
    unsure = ~((exact[:, -1] < bound) & bound.isfinite())
    if count == len(bank):
        unsure[:] = False
    rows = unsure.nonzero()[:, 0]
    if in_float16 and len(rows):
        exact[rows], index[rows], _ = _search(queries[rows], bank, centre, k, False)
    elif not in_float16:
        for row in rows.tolist():
            exact[row], index[row] = _brute_force(queries[row], bank, k)
    return exact, index, len(rows)


def _pair_distances(queries: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """queries (n, D), index (n, c) -> (n, c) float64 squared distances to the indexed rows."""
    step = _exact_rows(queries.device, index.shape[1] * queries.shape[1])
    parts = [
        (queries[start : start + step, None].double() - bank[index[start : start + step]]).square_().sum(dim=2)
        for start in range(0, len(queries), step)
    ]
    return torch.cat(parts)


def _brute_force(query: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    step = _exact_rows(query.device, bank.shape[1])
    parts = [(query.double() - bank[s : s + step]).square_().sum(dim=1) for s in range(0, len(bank), step)]
    distances, order = torch.cat(parts).sort(stable=True)
    return distances[:k], order[:k]


def query_rows(device: torch.device) -> int:
    """How many queries are searched for at once."""
    return QUERY_BLOCK["cpu" if device.type == "cpu" else "cuda"]


def _exact_rows(device: torch.device, elements: int) -> int:
    """How many rows of so many float64 differences are computed at once."""
    return max(1, EXACT_ELEMENTS["cpu" if device.type == "cpu" else "cuda"] // elements)


@contextmanager
def _full_float32() -> Iterator[None]:
    """Keep TF32, autocast and sums in less than float32, where the host enabled them, out of the search."""
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
    cuda = torch.backends.cuda.matmul
    sums = {name: getattr(cuda, name) for name in FLOAT16_SUMS if hasattr(cuda, name)}
    if hasattr(cuda, SPLIT_K):  # assigning the first alone would reset it
        sums[FLOAT16_SUMS[0]] = (sums[FLOAT16_SUMS[0]], getattr(cuda, SPLIT_K))
    for name in sums:
        setattr(cuda, name, False)
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
        for part, precision in zip(parts, own, strict=True):
            part.fp32_precision = precision
        for name, value in sums.items():
            setattr(cuda, name, value)
