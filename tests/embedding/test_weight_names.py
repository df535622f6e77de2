"""Weights of wrapped modules fit the module, and those of another do not."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dejavu_lightning.embedding.encoders import ModuleEncoder
from dejavu_lightning.embedding.weight_names import plain_name, under_own_names


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def compiled(module):
    return nn.ModuleDict({"_orig_mod": module})  # the names that torch.compile makes


def inside(module):
    """One layer of it is compiled."""
    return nn.Sequential(compiled(module[0]), module[1], module[2])


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("module._orig_mod.a.weight", "a.weight"),
        ("_orig_mod.module.a.weight", "a.weight"),
        ("a._orig_mod.b.weight", "a.b.weight"),
        ("_forward_module.module.a", "a"),
        ("a.module.b", "a.module.b"),
        ("module", "module"),
    ],
)
def test_what_wrappers_add_is_left_out(name, plain):
    assert plain_name(name) == plain


@pytest.mark.parametrize(
    "wrap",
    [
        AveragedModel,
        compiled,
        inside,
        lambda module: nn.ModuleDict({"module": module}),
        lambda module: nn.ModuleDict({"module": compiled(module)}),
        lambda module: nn.ModuleDict({"_forward_module": module}),
    ],
    ids=["averaged", "compiled", "a layer compiled", "DDP", "DDP of compiled", "strategy"],
)
def test_weights_of_wrapped_modules_fit(wrap):
    target, other = network(0), network(1)
    inputs = torch.randn(5, 4)
    expected = other.eval()(inputs)
    state = wrap(other).state_dict()
    assert set(state) != set(target.state_dict())
    found = ModuleEncoder(target.eval()).with_weights(state, "FILE")(inputs)
    torch.testing.assert_close(found, expected)
    # And the other way round: the host's own module is the wrapped one.
    wrapped = wrap(network(2))
    if not isinstance(wrapped, AveragedModel):  # which counts beside its weights
        assert set(under_own_names(wrapped.state_dict(), other.state_dict())) == set(wrapped.state_dict())
    loaded = network(3)
    ModuleEncoder(loaded).load(state, "FILE")
    torch.testing.assert_close(loaded.eval()(inputs), expected)


def test_other_names_stay_as_they_are():
    state = {"module.0.weight": torch.zeros(3, 4), "module.head": torch.zeros(1)}
    assert under_own_names(network(0).state_dict(), state) == state
    with pytest.raises(ValueError, match=r"FILE: its weights do not fit Sequential .*unexpected: module\.0\.weight"):
        ModuleEncoder(network(0)).load(state, "FILE")


def test_two_that_would_get_one_name_stay_as_they_are():
    own = {"a": 1}
    assert under_own_names(own, {"module.a": 1, "_orig_mod.a": 2}) == {"module.a": 1, "_orig_mod.a": 2}


def test_what_is_no_tensor_is_named():
    state = {**network(0).state_dict(), "0.weight": "text"}
    with pytest.raises(ValueError, match=r"of another shape: 0\.weight a str, no tensor, for \(3, 4\)"):
        ModuleEncoder(network(1)).load(state, "FILE")
