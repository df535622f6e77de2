"""Rows of the bank that may be among the nearest, and how near any other row can be at most."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BANK_BLOCK = 16384
BANK_ELEMENTS = {"cpu": 1 << 23, "cuda": 1 << 27}  # of a block of the bank in float32, 32 and 512 MiB
GROUP = 16  # columns of which only the least is compared at first
SCALE = 2.0**40  # at most, and its inverse at least: products of two scales stay far from float32's limits


def has_float16_products(device: torch.device) -> bool:
    """Whether products of float16 numbers can be summed and returned in float32, as on CUDA since torch 2.8."""
    return device.type == "cuda" and torch.version.cuda is not None and torch.__version__ >= "2.8"


def nearest_candidates(
    queries: Tensor, bank: Tensor, centre: Tensor, count: int, in_float16: bool
) -> tuple[Tensor, Tensor]:
    """Choose ``count`` rows of the bank for each query by blocked products in float32, or of float16 numbers.

    A score is a squared distance less |query|^2, lowered by all that rounding can have added: so the largest score that
    is kept bounds the distance of every row that is not.

    Returns:
        index (n, count) int64, ascending; bound (n,) float64, at most the squared distance of any other row.
    """
    near = (queries - centre).float()  # n, D
    length = near.square().sum(dim=1)
    rounded = to_float16(near) if in_float16 else None
    # Of a float32 distance, with a wide allowance over the typical sqrt(D) growth of its error; tensor cores, which sum
    # 16 products at a time and cut off what is below float32, err to one side. (|q| + |y|)^2 <= 2 |q|^2 + 2 |y|^2.
    width = near.shape[1]
    growth = 8 * width**0.5 if rounded is None else max(8 * width**0.5, width / 8)
    slack = 4 * growth * torch.finfo(torch.float32).eps
    value = torch.empty(len(queries), 0, device=queries.device)
    index = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    step = bank_rows(bank)
    for start in range(0, len(bank), step):
        block = (bank[start : start + step] - centre).float()  # m, D
        squares = block.square().sum(dim=1) * (1 - slack)
        if rounded is None:
            score = torch.addmm(squares, near, block.T, alpha=-2)  # n, m
        else:
            score = _float16_scores(rounded, length.sqrt(), block, squares)
        least, column = _least(score, min(count, len(block)))
        value, index = torch.cat([value, least], dim=1), torch.cat([index, column + start], dim=1)
        value, best = value.topk(min(count, value.shape[1]), dim=1, largest=False)
        index = index.gather(1, best)
    return index.sort(dim=1).values, value[:, -1].double() + length.double() * (1 - slack)


class Float16Points(NamedTuple):
    """``numbers`` (n, D) float16 are the points times ``scale``, a power of two, rounded.

    ``lengths`` (n,) are those of the rounded points, ``lost`` (n,) the lengths of what rounding took, both unscaled.
    """

    numbers: Tensor
    scale: Tensor
    lengths: Tensor
    lost: Tensor


def to_float16(points: Tensor) -> Float16Points:
    """Round (n, D) float32 points, scaled so that the largest number is near float16's largest, 65504."""
    largest = points.abs().max().clamp(1 / SCALE, SCALE)
    scale = torch.exp2(torch.floor(torch.log2(32768 / largest))).clamp(1 / SCALE, SCALE)
    numbers = (points * scale).clamp(-65504, 65504).half()
    rounded = numbers.float() / scale
    lost = (points - rounded).square_().sum(dim=1).sqrt()
    return Float16Points(numbers, scale, rounded.square_().sum(dim=1).sqrt(), lost)


def _float16_scores(queries: Float16Points, query_lengths: Tensor, block: Tensor, squares: Tensor) -> Tensor:
    """(n, m) scores that are at most those of the numbers before rounding.

    With x = x' + a and y = y' + b, the product x.y is x'.y' + x.b + a.y', and |x.b + a.y'| <= |x| |b| + |a| |y'|.
    """
    rows = to_float16(block)
    if block.device.type == "cuda":
        score = torch.mm(queries.numbers, rows.numbers.T, out_dtype=torch.float32)
    else:
        score = queries.numbers.float() @ rows.numbers.float().T
    hidden = torch.stack([query_lengths, queries.lost], dim=1), torch.stack([rows.lost, rows.lengths])
    return score.mul_(-2 / (queries.scale * rows.scale)).add_(squares).addmm_(*hidden, alpha=-2)


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


def bank_rows(points: Tensor) -> int:
    """How many rows are copied at once."""
    elements = BANK_ELEMENTS["cpu" if points.device.type == "cpu" else "cuda"]
    return min(BANK_BLOCK, max(1, elements // max(1, points.shape[1])))
