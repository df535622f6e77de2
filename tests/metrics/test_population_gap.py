import pytest
import torch
from torch import tensor
from torchmetrics import MetricCollection

from dejavu_lightning.metrics import AUCGap, PopulationGap


def test_gaps_by_hand():
    gaps = MetricCollection({"prg": PopulationGap(), "aucg": AUCGap()})
    gaps.update(tensor([0.5, 0.2]), tensor([0.1, 0.4]))
    gaps.update(tensor([0.7, 1.0]), tensor([0.7, 0.0]))
    # Better, worse, equal, better: 2/4 - 1/4. Means: 2.4/4 - 1.2/4.
    assert {name: float(value) for name, value in gaps.compute().items()} == pytest.approx({"prg": 0.25, "aucg": 0.3})


@pytest.mark.parametrize("gap", [PopulationGap, AUCGap])
def test_models_exchanged_turn_the_sign(gap):
    target, reference = torch.rand(2, 50, generator=torch.Generator().manual_seed(0)).double()
    ahead, behind = gap(), gap()
    ahead.update(target, reference)
    behind.update(reference, target)
    assert ahead.compute() == -behind.compute() != 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: PopulationGap().update(torch.rand(3), torch.rand(2)),
            r"target, reference must have the same shape \(N,\), a value a record; got \(3,\), \(2,\)",
        ),
        (
            lambda: AUCGap().update(torch.rand(3, 1), torch.rand(3, 1)),
            r"target_recall, reference_recall must have the same shape \(N,\), .* got \(3, 1\), \(3, 1\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
