import pytest
from torch import tensor
from torchmetrics import MetricCollection

from dejavu_lightning.metrics import ObjectOverlap


def test_means_by_hand():
    """Truth {0, 1}; predicted {0, 2, 3}, nothing, {0, 1}."""
    overlap = ObjectOverlap()
    overlap.update(tensor([[1, 0, 1, 1], [0, 0, 0, 0]]), tensor([[1, 1, 0, 0], [1, 1, 0, 0]]))
    overlap.update(tensor([[1, 1, 0, 0]]), tensor([[1, 1, 0, 0]]))
    # Precisions 1/3, 0, 1; recalls 1/2, 0, 1; F of the first 2 * 1 / (3 + 2).
    expected = {"precision": (1 / 3 + 0 + 1) / 3, "recall": (1 / 2 + 0 + 1) / 3, "f_score": (2 / 5 + 0 + 1) / 3}
    assert {name: float(value) for name, value in overlap.compute().items()} == pytest.approx(expected)


def test_a_collection_names_the_three_means():
    collection = MetricCollection({"objects": ObjectOverlap()}, prefix="target_")
    collection.update(predicted=tensor([[1, 0]]), truth=tensor([[1, 1]]))
    assert set(collection.compute()) == {"target_precision", "target_recall", "target_f_score"}


def test_a_record_without_objects_is_refused_and_nothing_is_added():
    overlap = ObjectOverlap()
    with pytest.raises(ValueError, match="record 1 has no true object, its recall is undefined"):
        overlap.update(tensor([[1, 0], [1, 0]]), tensor([[1, 0], [0, 0]]))
    overlap.update(tensor([[1, 0]]), tensor([[1, 0]]))
    assert overlap.compute()["recall"] == 1
    with pytest.raises(ValueError, match=r"same shape \(N, C\), got \(1, 2\) and \(1, 3\)"):
        overlap.update(tensor([[1, 0]]), tensor([[1, 0, 0]]))
