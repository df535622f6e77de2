from collections import Counter

import pytest
import torch
from torch import tensor
from torchmetrics import MetricCollection

from dejavu_lightning.metrics import LabelInferenceAccuracy


def test_accuracy_by_hand():
    # Votes: 2 twice, then 0; a tie of 2 and 0 that goes to 2, the closest; all for 1.
    neighbors = tensor([[0, 2, 2], [2, 0, 1], [1, 1, 1]])
    labels = tensor([2, 0, 3])
    found = {}
    for top_k in (1, 2, 4):
        accuracy = LabelInferenceAccuracy(num_classes=4, top_k=top_k)
        accuracy.update(neighbors, labels)
        found[top_k] = float(accuracy.compute())
    # Record 0 is right at once, record 1 with the second guess; 3, without votes, is never predicted.
    assert found == pytest.approx({1: 1 / 3, 2: 2 / 3, 4: 2 / 3})


def test_accuracy_equals_a_loop():
    generator = torch.Generator().manual_seed(0)
    neighbors = torch.randint(0, 7, (200, 9), generator=generator)
    labels = torch.randint(0, 7, (200,), generator=generator)
    right = 0
    for voters, label in zip(neighbors.tolist(), labels.tolist(), strict=True):
        votes = Counter(voters)
        right += label in sorted(votes, key=lambda c: (-votes[c], voters.index(c)))[:3]
    accuracy = LabelInferenceAccuracy(num_classes=7, top_k=3)
    accuracy.update(neighbors, labels)
    assert accuracy.compute() == right / 200


def test_a_collection_does_not_join_different_top_k():
    """In the first update every label is found at once; a collection that took the two for one would stay at 1/2."""
    both = MetricCollection({"top1": LabelInferenceAccuracy(3), "top2": LabelInferenceAccuracy(3, top_k=2)})
    both.update(tensor([[0, 0, 1]]), tensor([0]))
    both.update(tensor([[0, 0, 1]]), tensor([1]))
    assert both.compute() == {"top1": 0.5, "top2": 1.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LabelInferenceAccuracy(5, top_k=6), r"top_k must lie in \[1, 5\], the number of classes; got 6"),
        (lambda: LabelInferenceAccuracy(5, top_k=0), r"top_k must lie in \[1, 5\], the number of classes; got 0"),
        (
            lambda: LabelInferenceAccuracy(5).update(tensor([[1, 2]]), tensor([1, 2])),
            r"neighbor_labels and labels must have shapes \(N, K\) and \(N,\), got \(1, 2\) and \(2,\)",
        ),
        (lambda: LabelInferenceAccuracy(5).update(tensor([1]), tensor([1])), r"neighbor_labels must have shape \(N, K"),
        (
            lambda: LabelInferenceAccuracy(5).update(tensor([[5]]), tensor([1])),
            r"neighbor_labels run from 5 to 5, outside \[0, 5\)",
        ),
        (
            lambda: LabelInferenceAccuracy(5).update(tensor([[1]]), tensor([-1])),
            r"labels run from -1 to -1, outside \[0, 5\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
