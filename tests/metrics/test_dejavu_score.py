import pytest
import torch
from torch import tensor
from torchmetrics import MetricCollection

from dejavu_lightning.metrics import DejaVuScore

TARGET_CORRECT = tensor([True, False, True, False, True])
REFERENCE_CORRECT = tensor([False, False, True, True, False])
TARGET_CONFIDENCE = tensor([-0.1, -0.2, -0.3, -0.4, -0.5])
REFERENCE_CONFIDENCE = tensor([-0.5, -0.4, -0.3, -0.2, -0.1])


def records(rows=slice(None)):
    every = (TARGET_CORRECT, REFERENCE_CORRECT, TARGET_CONFIDENCE, REFERENCE_CONFIDENCE)
    return [values[rows] for values in every]


def test_fractions_in_one_collection_by_hand():
    scores = MetricCollection({f"score@{percent}": DejaVuScore(percent / 100) for percent in (100, 60, 20)})
    scores.update(*records(slice(0, 2)))
    scores.update(*records(slice(2, 5)))
    found = {name: float(value) for name, value in scores.compute().items()}
    # All: 3/5 - 2/5. At 60% n = 3: the target keeps records 0, 1, 2 (2/3), the reference 4, 3, 2 (2/3).
    # At 20% n = 1: the target keeps record 0, which it has right, the reference 4, which it has wrong.
    assert found == pytest.approx({"score@100": 0.2, "score@60": 0.0, "score@20": 1.0})


def test_confidences_are_kept_in_float64():
    """As float32 the two would be equal, and count by their mean."""
    close = tensor([0.1, 0.1 + 2e-9], dtype=torch.float64)
    score = DejaVuScore(fraction=0.5)
    score.update(tensor([False, True]), tensor([False, False]), close, close)
    assert score.compute() == 1.0


def test_ties_at_the_cut_count_by_their_mean():
    """One record of four is kept; the surest two are tied, one right of two, and the reference has neither right."""
    for order in ([0, 1, 2, 3], [3, 1, 2, 0], [1, 0, 3, 2]):
        score = DejaVuScore(fraction=0.25)
        own, confidence = tensor([True, False, True, True])[order], tensor([-0.1, -0.1, -0.5, -0.5])[order]
        score.update(own, torch.zeros(4, dtype=torch.bool), confidence, confidence)
        assert score.compute() == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DejaVuScore(0.0), r"fraction must lie in \(0, 1\], got 0.0"),
        (lambda: DejaVuScore(20), r"fraction must lie in \(0, 1\], got 20"),
        (
            lambda: DejaVuScore().update(*records(slice(0, 3))[:3], REFERENCE_CONFIDENCE),
            r"target_correct, .*, reference_confidence must have the same shape \(N,\), a value a record; "
            r"got \(3,\), \(3,\), \(3,\), \(5,\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
