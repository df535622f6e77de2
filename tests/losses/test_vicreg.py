import pytest
import torch
from lightly.loss import VICRegLoss as LightlyVICReg

from dejavu_lightning.losses import VICRegLoss, vicreg_loss


def test_by_hand():
    """Two samples, one dimension: z_a = (0, 2), z_b = (1, 1)."""
    z_a, z_b = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [1.0]])
    # Invariance: mean of (0-1)^2, (2-1)^2 = 1. Variance (unbiased): 2 and 0.
    # Hinge: max(0, 1 - sqrt(2.0001)) = 0 and 1 - sqrt(0.0001) = 0.99; half their sum is 0.495.
    # Covariance: one dimension has no off-diagonal.
    assert float(vicreg_loss(z_a, z_b)) == pytest.approx(25 * 1 + 25 * 0.495, abs=1e-5)


def test_covariance_by_hand():
    """Two perfectly correlated dimensions of variance 2: off-diagonal 2 twice, squared 4 + 4, over D = 2."""
    z = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    assert float(vicreg_loss(z, z, invariance=0, variance=0, covariance=1)) == pytest.approx(4 + 4)


@pytest.mark.parametrize("coefficients", [(25.0, 25.0, 1.0), (10.0, 3.0, 7.0)])
def test_values_and_gradients_equal_lightly(coefficients):
    torch.manual_seed(0)
    z_a = torch.randn(16, 12, dtype=torch.float64, requires_grad=True)
    z_b = torch.randn(16, 12, dtype=torch.float64, requires_grad=True)
    ours = VICRegLoss(*coefficients)(z_a, z_b)
    theirs = LightlyVICReg(*coefficients)(z_a, z_b)
    assert float(ours) == pytest.approx(float(theirs), abs=1e-8)
    for mine, other in zip(torch.autograd.grad(ours, (z_a, z_b)), torch.autograd.grad(theirs, (z_a, z_b)), strict=True):
        assert torch.allclose(mine, other, atol=1e-8)


@pytest.mark.parametrize(
    ("z_a", "z_b", "message"),
    [
        (torch.zeros(4, 3), torch.zeros(4, 2), "same shape"),
        (torch.zeros(1, 3), torch.zeros(1, 3), "at least 2 samples, got 1"),
        (torch.zeros(3), torch.zeros(3), r"shape \(B, D\)"),
    ],
)
def test_bad_input(z_a, z_b, message):
    with pytest.raises(ValueError, match=message):
        vicreg_loss(z_a, z_b)
