"""Metrics of inferred labels: tensors in, tensors out.

N records, C classes, K neighbours of each record, nearest first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dejavu_lightning.metrics.functional.checks import check_any, check_fraction, check_labels, check_paired


class Partition(NamedTuple):
    """Shares of all records, 0-dim float64 in [0, 1]; they sum to 1 (Meehan et al. 2023, section 4).

    Example:
        >>> from torch import tensor
        >>> shares = partition(tensor([True, True, False]), tensor([True, False, False]))
        >>> round(float(shares.memorized), 3)
        0.333
    """

    memorized: Tensor
    """Only the target is right."""
    correlated: Tensor
    """Both are right."""
    misrepresented: Tensor
    """Only the reference is right."""
    unassociated: Tensor
    """Both are wrong."""


def label_votes(neighbor_labels: Tensor, num_classes: int, k: int | None = None) -> Tensor:
    """Count the labels of the nearest neighbours, unweighted.

    Args:
        neighbor_labels: (N, K) integers in [0, num_classes), nearest first.
        num_classes: C.
        k: how many of the K neighbours vote; all if not given.

    Returns:
        (N, C) int64 counts; each row sums to k.

    Raises:
        ValueError: k is not in [1, K], or a label is not in [0, num_classes).

    Example:
        >>> from torch import tensor
        >>> label_votes(tensor([[0, 2, 2], [1, 0, 2]]), num_classes=3)
        tensor([[1, 0, 2],
                [1, 1, 1]])
    """
    if neighbor_labels.ndim != 2:
        raise ValueError(f"neighbor_labels must have shape (N, K), got {tuple(neighbor_labels.shape)}")
    k = neighbor_labels.shape[1] if k is None else k
    if not 1 <= k <= neighbor_labels.shape[1]:
        raise ValueError(f"k must lie in [1, {neighbor_labels.shape[1]}], the number of neighbours given; got {k}")
    check_labels("neighbor_labels", neighbor_labels, num_classes)
    voters = neighbor_labels[:, :k].long()
    votes = torch.zeros(len(voters), num_classes, dtype=torch.int64, device=voters.device)
    return votes.scatter_add_(1, voters, torch.ones_like(voters))


def vote_confidence(votes: Tensor) -> Tensor:
    """Negative entropy of the votes, in nats: 0 if all agree, -log C if they spread evenly.

    Args:
        votes: (N, C), 0 or more, with at least one vote in each row.

    Returns:
        (N,) float64 in [-log C, 0].

    Example:
        >>> from torch import tensor
        >>> vote_confidence(tensor([[4, 0], [2, 2]]))  # the second is -log 2
        tensor([ 0.0000, -0.6931], dtype=torch.float64)
    """
    share = votes.double() / votes.sum(dim=1, keepdim=True)
    return torch.xlogy(share, share).sum(dim=1)


def rank_labels(votes: Tensor, neighbor_labels: Tensor, top_k: int) -> Tensor:
    """Order the classes of each record by their votes.

    Of equal votes the class of the closest voter comes first, then the lower class.

    Args:
        votes: (N, C) from :func:`label_votes`.
        neighbor_labels: (N, K) the labels that voted, nearest first.
        top_k: classes to return.

    Returns:
        (N, top_k) int64. A class without votes is never predicted: -1 fills the places that are left.

    Raises:
        ValueError: top_k is below 1, or a label is not in [0, C).

    Example:
        >>> from torch import tensor
        >>> neighbors = tensor([[0, 2, 2], [1, 0, 1]])
        >>> rank_labels(label_votes(neighbors, num_classes=3), neighbors, top_k=3)
        tensor([[ 2,  0, -1],
                [ 1,  0, -1]])
    """
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    rows, classes = votes.shape
    check_labels("neighbor_labels", neighbor_labels, classes)
    neighbors = neighbor_labels.shape[1]
    rank = torch.arange(neighbors, device=votes.device).expand(rows, neighbors)
    closest = torch.full((rows, classes), neighbors, device=votes.device)
    closest.scatter_reduce_(1, neighbor_labels.long(), rank, reduce="amin")
    preference = votes * (neighbors + 1) + (neighbors - closest)  # closeness only decides between equal votes
    order = preference.topk(min(top_k, classes), dim=1).indices  # no two classes with votes are alike
    ranked = torch.where(votes.gather(1, order) > 0, order, -1)
    return torch.nn.functional.pad(ranked, (0, top_k - ranked.shape[1]), value=-1)


def partition(target_correct: Tensor, reference_correct: Tensor) -> Partition:
    """Share of records that are memorized, correlated, misrepresented and unassociated.

    The four outcomes of Meehan et al. (2023, arXiv 2304.13850, section 4).

    Args:
        target_correct, reference_correct: (N,) booleans of the same records in the same order.

    Returns:
        Four shares, 0-dim float64 in [0, 1], that sum to 1.

    Raises:
        ValueError: shapes differ, or there are no records.

    Example:
        >>> from torch import tensor
        >>> shares = partition(tensor([True, True, False, False]), tensor([True, False, False, False]))
        >>> [float(share) for share in shares]
        [0.25, 0.25, 0.0, 0.5]
    """
    check_paired(target_correct=target_correct, reference_correct=reference_correct)
    check_any(len(target_correct))
    target, reference = target_correct.bool(), reference_correct.bool()
    cells = (target & ~reference, target & reference, ~target & reference, ~target & ~reference)
    return Partition(*(cell.double().mean() for cell in cells))


def dejavu_score(
    target_correct: Tensor,
    reference_correct: Tensor,
    target_confidence: Tensor,
    reference_confidence: Tensor,
    fraction: float = 1.0,
) -> Tensor:
    """Target accuracy minus reference accuracy, each on the records that its model is most confident of.

    Meehan et al. (2023, arXiv 2304.13850, section 4).

    Args:
        target_correct, reference_correct: (N,) booleans.
        target_confidence, reference_confidence: (N,) any scale, higher is more confident.
        fraction: p in (0, 1]; n = max(1, floor(p N)) records are kept of each model. Records equally confident at
            the cut count by their mean, the expected value of a random order.

    Returns:
        0-dim float64 in [-1, 1].

    Raises:
        ValueError: shapes differ, there are no records, or fraction is not in (0, 1].

    Example:
        >>> from torch import tensor
        >>> right, guessed = tensor([True, False, True, False]), tensor([False, False, True, True])
        >>> sure = tensor([-0.1, -0.9, -0.2, -0.8])
        >>> dejavu_score(right, guessed, sure, sure, fraction=0.5)  # both of the surest two, against one
        tensor(0.5000, dtype=torch.float64)
    """
    check_paired(
        target_correct=target_correct,
        reference_correct=reference_correct,
        target_confidence=target_confidence,
        reference_confidence=reference_confidence,
    )
    check_any(len(target_correct))
    target, reference = (kept_weights(each, fraction) for each in (target_confidence, reference_confidence))
    return (target * target_correct).sum() / target.sum() - (reference * reference_correct).sum() / reference.sum()


def kept_weights(confidence: Tensor, fraction: float) -> Tensor:
    """Weigh each record by how much of it is kept where the most confident are.

    max(1, floor(fraction * N)) are kept. Records equally confident at the cut share what is left of it, so that a
    mean over the kept ones is that of all random orders of ties. Confidences that agree to nine decimals are equal:
    entropies of the same votes may differ in their last bits.

    Args:
        confidence: (N,), N at least 1, any scale, higher is more confident.
        fraction: in (0, 1].

    Returns:
        (N,) float64 in [0, 1]; they add up to the number of records kept.

    Raises:
        ValueError: fraction is not in (0, 1].

    Example:
        >>> from torch import tensor
        >>> kept_weights(tensor([0.9, 0.5, 0.5, 0.1]), fraction=0.5)
        tensor([1.0000, 0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """
    check_fraction(fraction)
    kept = kept_records(fraction, len(confidence))
    rounded = confidence.double().round(decimals=9)
    cut = rounded.kthvalue(len(rounded) - kept + 1).values
    above, tied = rounded > cut, rounded == cut
    return above.double() + tied.double() * ((kept - above.sum()) / tied.sum())


def kept_records(fraction: float, records: int) -> int:
    """Count the records that a fraction keeps: max(1, floor(fraction * records)).

    It is exact also where 0.29 * 100 falls just below 29 in floating point.

    Args:
        fraction: in (0, 1].
        records: how many there are.

    Example:
        >>> kept_records(0.29, 100)
        29
    """
    return max(1, int(fraction * records + 1e-9))
