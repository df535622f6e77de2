import math

import pytest
import torch
from open_clip.loss import SigLipLoss
from torch import nn

from dejavu_lightning.losses import siglip_loss
from tests.processes import run_processes


def pairs(count):
    generator = torch.Generator().manual_seed(0)
    return [nn.functional.normalize(torch.randn(count, 6, generator=generator), dim=1).double() for _ in range(2)]


def numbers(*values):
    return [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]


def averaged(found):
    """What DistributedDataParallel would give: the mean over ranks."""
    import torch.distributed as dist

    ranks = dist.get_world_size() if dist.is_initialized() else 1
    for value in found if ranks > 1 else ():
        dist.all_reduce(value)
    return [(value / ranks).tolist() for value in found]


def own_rows(rows):
    import torch.distributed as dist

    return slice(*rows[dist.get_rank() if dist.is_initialized() else 0])


def loss_and_gradients(rows, count, local):
    image, text = (part.requires_grad_() for part in pairs(count))
    temperature, bias = numbers(0.1, -3.0)
    own = own_rows(rows)
    loss = siglip_loss(image[own], text[own], temperature=temperature, bias=bias, local_loss=local)
    loss.backward()
    return averaged([loss.detach(), image.grad, text.grad, temperature.grad, bias.grad])


def peer_loss():
    """open_clip's own exchange between two ranks of four pairs each."""
    import torch.distributed as dist

    image, text = (part.requires_grad_() for part in pairs(8))
    scale, bias = numbers(10.0, -3.0)
    own = own_rows([(0, 4), (4, 8)])
    loss = SigLipLoss(rank=dist.get_rank(), world_size=2)(image[own], text[own], scale, bias)
    loss.backward()
    return averaged([loss.detach(), image.grad, text.grad, bias.grad])


VARIANTS = [(cut, local) for cut in (4, 5) for local in (False, True)]


def every_variant():
    return [loss_and_gradients([(0, cut), (cut, 8)], 8, local) for cut, local in VARIANTS], peer_loss()


def test_loss_is_the_equation():
    """Two pairs of unit vectors with cosines 1 and 0: two terms of a pair, two of none."""
    eye, (temperature, bias) = torch.eye(2).double(), numbers(0.5, -1.0)
    by_hand = (2 * math.log1p(math.exp(-(1 / 0.5 - 1))) + 2 * math.log1p(math.exp(-1))) / 2
    assert siglip_loss(eye, eye, temperature=temperature, bias=bias).item() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("local", [False, True])
def test_loss_is_a_plain_sum_over_all_pairs(local):
    image, text = pairs(5)
    total = 0.0
    for i in range(5):
        for j in range(5):
            logit = float(image[i] @ text[j]) / 0.2 - 2
            total += math.log1p(math.exp(-logit if i == j else logit))
    temperature, bias = numbers(0.2, -2.0)
    found = siglip_loss(image, text, temperature=temperature, bias=bias, local_loss=local)
    assert found.item() == pytest.approx(total / 5, rel=1e-12)


@pytest.mark.slow
def test_two_processes_equal_one_and_open_clip_in_value_and_gradient():
    expected = loss_and_gradients([(0, 8)], 8, False)
    for found, peer in run_processes(2, every_variant):
        for variant, values in zip(VARIANTS, found, strict=True):
            for value, one in zip(values, expected, strict=True):
                assert torch.allclose(torch.tensor(value), torch.tensor(one), rtol=1e-10, atol=1e-12), variant
        for value, one in zip(peer, (*expected[:3], expected[4]), strict=True):
            assert torch.allclose(torch.tensor(value), torch.tensor(one), rtol=1e-10, atol=1e-12)


def test_shapes_must_fit():
    temperature, bias = numbers(0.1, -10.0)
    with pytest.raises(ValueError, match=r"same shape \(B, D\), got \(3, 6\) and \(2, 6\)"):
        siglip_loss(pairs(3)[0], pairs(2)[0], temperature=temperature, bias=bias)
