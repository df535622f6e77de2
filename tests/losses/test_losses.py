"""Every objective: by hand, against lightly in value and gradient, and on two processes against one."""

import math

import pytest
import torch
import torch.distributed as dist
from lightly.loss import BarlowTwinsLoss as LightlyBarlowTwins
from lightly.loss import DINOLoss as LightlyDINO
from lightly.loss import NegativeCosineSimilarity
from lightly.loss import NTXentLoss as LightlyNTXent
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dejavu_lightning.losses import (
    BarlowTwinsLoss,
    BYOLLoss,
    DINOLoss,
    NTXentLoss,
    barlow_twins_loss,
    byol_loss,
    dino_loss,
    nt_xent_loss,
    supervised_loss,
    vicreg_loss,
)
from tests.processes import run_processes


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def test_barlow_twins_by_hand():
    """z_a = (-1, 1), twice; z_b = (-1, 1) and (1, -1): already standardised, variance 1."""
    z_a = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    z_b = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    # C = z_a^T z_b / 2 = [[1, -1], [1, -1]]. Diagonal: (1-1)^2 + (1+1)^2 = 4. Off-diagonal: 1 + 1 = 2.
    assert float(barlow_twins_loss(z_a, z_b, redundancy=0.5)) == pytest.approx(4 + 0.5 * 2, abs=1e-3)
    assert float(barlow_twins_loss(z_a, z_b)) == pytest.approx(4 + 0.0051 * 2, abs=1e-3)


def test_nt_xent_by_hand():
    """Two samples, identical views, the samples opposite: cosines 1 with the other view, -1 with both negatives."""
    z = torch.tensor([[2.0, 0.0], [-3.0, 0.0]])
    tau = 0.5
    # Each of the 4 rows: -log(e^{1/tau} / (e^{1/tau} + 2 e^{-1/tau})) = log(1 + 2 e^{-2/tau}) = log(1 + 2 e^{-4}).
    assert float(nt_xent_loss(z, z, temperature=tau)) == pytest.approx(math.log(1 + 2 * math.exp(-4)))


def test_byol_by_hand():
    """Cosines 0 and 1 (lengths do not matter): 2 - 2*0 = 2 and 2 - 2*1 = 0, mean 1; the two roles add up."""
    prediction = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    target = torch.tensor([[0.0, 2.0], [0.0, 1.0]])
    assert float(byol_loss(prediction, target)) == pytest.approx(1)
    # Student a against teacher b costs 1, student b (= target) against teacher a (= prediction) as well.
    assert float(BYOLLoss()((prediction, target), (prediction, target))) == pytest.approx(2)


def test_dino_by_hand():
    """Two large views and one small, one sample, K = 2; the teacher is certain of class 0, then of class 1."""
    teacher = torch.tensor([[[40.0, 0.0]], [[0.0, 40.0]]])
    student = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 2.0]]])
    # Pairs (teacher, student): (0, 1): -log 1/2. (0, 2): class 0 under (0, 2): log(1 + e^2).
    # (1, 0): class 1 under (1, 0): log(1 + e). (1, 2): class 1 under (0, 2): log(1 + e^-2). Same views are left out.
    expected = (math.log(2) + math.log(1 + math.e**2) + math.log(1 + math.e) + math.log(1 + math.e**-2)) / 4
    found = dino_loss(student, teacher, student_temperature=1.0, teacher_temperature=1.0)
    assert float(found) == pytest.approx(expected, abs=1e-6)
    # What the student makes of the teacher's own view never counts.
    changed = student.clone()
    changed[0] += torch.tensor([5.0, 0.0])
    only_first = dino_loss(changed, teacher[:1], student_temperature=1.0, teacher_temperature=1.0)
    assert float(only_first) == float(dino_loss(student, teacher[:1], student_temperature=1.0, teacher_temperature=1.0))


def test_dino_center_follows_the_teacher():
    loss = DINOLoss(2, center_momentum=0.9)
    teacher = torch.tensor([[[1.0, 0.0], [3.0, 0.0]], [[2.0, 4.0], [2.0, 4.0]]])
    loss(torch.zeros(2, 2, 2), teacher, 0.07)
    # Mean over views and samples: ((1 + 3 + 2 + 2) / 4, 8 / 4) = (2, 2), a tenth of it.
    assert torch.allclose(loss.center, torch.tensor([0.2, 0.2]))
    loss(torch.zeros(2, 2, 2), teacher, 0.07)
    assert torch.allclose(loss.center, torch.tensor([0.38, 0.38]))  # 0.9 * 0.2 + 0.1 * 2


def test_supervised_by_hand():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    # -log 1/2 and -log 3/4.
    assert float(supervised_loss(logits, torch.tensor([1, 0]))) == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)


def our_dino(student, teacher):
    # Two steps, so that the second one has a centre.
    module = DINOLoss(student.shape[2])
    module.double()
    module(student, teacher, 0.04)
    return module(student, teacher, 0.06)


def their_dino(student, teacher):
    module = LightlyDINO(student.shape[2], center_momentum=0.9).double()
    module(list(teacher.detach()), list(student), teacher_temp=0.04)
    return module(list(teacher.detach()), list(student), teacher_temp=0.06)


def their_byol(p_a, p_b, z_a, z_b):
    negative = NegativeCosineSimilarity()
    return 4 + 2 * negative(p_a, z_b.detach()) + 2 * negative(p_b, z_a.detach())


PEERS = {
    "barlow_twins": (BarlowTwinsLoss(), LightlyBarlowTwins(lambda_param=0.0051), [(16, 12)] * 2),
    "barlow_twins_other_lambda": (BarlowTwinsLoss(0.2), LightlyBarlowTwins(lambda_param=0.2), [(16, 12)] * 2),
    "nt_xent": (NTXentLoss(), LightlyNTXent(temperature=0.15), [(16, 12)] * 2),
    "nt_xent_warm": (NTXentLoss(0.5), LightlyNTXent(temperature=0.5), [(5, 3)] * 2),
    "dino": (our_dino, their_dino, [(6, 8, 10), (2, 8, 10)]),
    "byol": (lambda a, b, c, d: BYOLLoss()((a, b), (c, d)), their_byol, [(8, 6)] * 4),
    "supervised": (
        lambda logits: supervised_loss(logits, torch.arange(8) % 5),
        lambda logits: nn.functional.cross_entropy(logits, torch.arange(8) % 5),
        [(8, 5)],
    ),
}


@pytest.mark.parametrize("name", PEERS)
def test_values_and_gradients_equal_the_peer(name):
    ours, theirs, shapes = PEERS[name]
    found = []
    for function in (ours, theirs):
        inputs = [draw(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes)]
        loss = function(*inputs)
        loss.backward()
        found.append((loss, [value.grad for value in inputs]))
    (value, gradients), (its_value, its_gradients) = found
    assert value.item() == pytest.approx(its_value.item(), abs=1e-5, rel=1e-5)
    assert any(gradient is not None and gradient.abs().max() > 1e-4 for gradient in gradients)
    for mine, other in zip(gradients, its_gradients, strict=True):
        zero = torch.zeros(())
        assert torch.allclose(zero if mine is None else mine, zero if other is None else other, atol=1e-5)


def objective(name, output):
    """A loss of the network's outputs (B, V, D) for views of the same samples."""
    views = output.unbind(1)
    if name == "vicreg":
        return vicreg_loss(*views[:2])
    if name == "barlow_twins":
        return barlow_twins_loss(*views[:2])
    if name == "nt_xent":
        return nt_xent_loss(*views[:2])
    if name == "byol":
        return BYOLLoss()(views[:2], (views[1].abs(), views[0].abs()))
    if name == "supervised":
        return supervised_loss(views[0], (views[1].detach() > 0).long().argmax(1))
    module = DINOLoss(views[0].shape[1]).double()
    stacked = torch.stack(views)
    module(stacked, stacked[:2] * 2, 0.05)
    return module(stacked, stacked[:2] * 2, 0.05) + module.center.square().sum()


NAMES = ["vicreg", "barlow_twins", "nt_xent", "byol", "dino", "supervised"]


def train_step(name, batch):
    """Loss and parameter gradients of one step, under DDP if there is a process group; batch (B, V, 6)."""
    torch.manual_seed(0)
    network: nn.Module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5)).double()
    if dist.is_initialized():
        network = DistributedDataParallel(network)
        batch = batch.chunk(dist.get_world_size())[dist.get_rank()]
    # All views in one call: DistributedDataParallel expects one forward a step.
    loss = objective(name, network(batch.flatten(0, 1)).unflatten(0, (-1, batch.shape[1])))
    loss.backward()
    return loss.item(), [parameter.grad.tolist() for parameter in network.parameters()]


def distributed_steps(batch):
    return {name: train_step(name, torch.tensor(batch, dtype=torch.float64)) for name in NAMES}


def test_two_processes_equal_one_on_the_concatenated_batch():
    batch = draw(12, 4, 6, seed=1)
    alone = {name: train_step(name, batch) for name in NAMES}
    half = {name: train_step(name, batch[:6]) for name in NAMES}
    for found in run_processes(2, distributed_steps, batch.tolist()):
        for name in NAMES:
            assert found[name][0] == pytest.approx(alone[name][0], abs=1e-11), name
            for mine, expected in zip(found[name][1], alone[name][1], strict=True):
                assert torch.allclose(torch.tensor(mine), torch.tensor(expected), atol=1e-11), name
            # What a process would find on its own half is something else.
            assert abs(half[name][0] - alone[name][0]) > 1e-3, name


@pytest.mark.parametrize("name", NAMES)
def test_16_bit_inputs_and_autocast_lose_nothing_in_the_loss(name):
    output = draw(64, 4, 16).to(torch.bfloat16)
    if name == "dino":
        found = dino_loss(*([output.transpose(0, 1)] * 2)), dino_loss(*([output.float().transpose(0, 1)] * 2))
    else:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = objective(name, output)
        found = inside, objective(name, output.float())
    assert found[0].dtype == torch.float32
    assert float(found[0]) == float(found[1])


def pair(rows):
    return torch.zeros(rows, 3), torch.zeros(rows, 3)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: barlow_twins_loss(*pair(1)), "at least 2 samples, got 1"),
        (lambda: nt_xent_loss(*pair(1)), "at least 2, got 1"),
        (lambda: nt_xent_loss(*pair(4), temperature=0), "temperature must be positive, got 0"),
        (lambda: barlow_twins_loss(torch.zeros(4, 3), torch.zeros(4, 2)), r"same shape \(B, D\), got \(4, 3\)"),
        (lambda: byol_loss(torch.zeros(4, 3), torch.zeros(3, 3)), r"same shape \(B, D\), got \(4, 3\) and \(3, 3\)"),
        (lambda: dino_loss(torch.zeros(1, 4, 3), torch.zeros(1, 4, 3)), "at least 2 views are needed"),
        (lambda: dino_loss(torch.zeros(1, 4, 3), torch.zeros(2, 4, 3)), "T <= S"),
        (lambda: dino_loss(torch.zeros(2, 4, 3), torch.zeros(2, 4, 3), teacher_temperature=-1.0), "got 0.1 and -1.0"),
    ],
)
def test_bad_input(function, message):
    with pytest.raises(ValueError, match=message):
        function()
