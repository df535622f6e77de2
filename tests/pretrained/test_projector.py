"""Projectors are rebuilt from names and shapes alone."""

import pytest
import torch
from torch import nn

from dejavu_lightning.pretrained.projector import rebuild_projector
from tests.published import scrambled


def block(*widths, norm=True, activation=nn.ReLU):
    return nn.Sequential(nn.Linear(*widths), *([nn.BatchNorm1d(widths[1])] if norm else []), activation())


PROJECTORS = {
    "the paper's": nn.Sequential(block(6, 5), block(5, 4), nn.Linear(4, 3, bias=False)),
    "without batch norm": nn.Sequential(block(6, 5, norm=False), block(5, 4, norm=False), nn.Linear(4, 3)),
    "the last in a block": nn.Sequential(block(6, 5), nn.Sequential(nn.Linear(5, 3))),
    "activation beside": nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)), nn.ReLU(), nn.Linear(5, 3)),
    "norm in the next block": nn.Sequential(
        nn.Sequential(nn.Linear(6, 5)), nn.Sequential(nn.BatchNorm1d(5), nn.ReLU()), nn.Linear(5, 3)
    ),
    "blocks of blocks": nn.Sequential(nn.Sequential(block(6, 5), block(5, 4)), block(4, 4), nn.Linear(4, 3)),
    "flat": nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)),
}


@pytest.mark.parametrize("name", PROJECTORS)
def test_it_embeds_as_the_original(name):
    original = scrambled(PROJECTORS[name])
    weights = original.state_dict()
    found = rebuild_projector(weights, "relu", "FILE").eval()
    found.load_state_dict(weights)
    inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found(inputs), original(inputs))
    assert (found(inputs).std(dim=0) > 1e-4).all()


def test_other_activations():
    original = scrambled(nn.Sequential(block(6, 5, activation=nn.GELU), nn.Linear(5, 3)))
    found = rebuild_projector(original.state_dict(), "gelu", "FILE").eval()
    found.load_state_dict(original.state_dict())
    inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found(inputs), original(inputs))
