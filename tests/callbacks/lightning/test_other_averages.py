"""Which averages of weights are seen, and what is advised; all of it works when followed."""

import copy
import re
import warnings
from types import SimpleNamespace

import pytest
import torch
from dejavu_lightning.callbacks.lightning.other_averages import other_averages
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging
from timm.utils import ModelEmaV2
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dejavu_lightning.embedding.encoders import ModuleEncoder
from tests.callbacks.hosts import memorization_monitor, train
from tests.models import HostModule


def told(module, encode="backbone", callbacks=()):
    return other_averages(SimpleNamespace(callbacks=list(callbacks)), module, encode)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(4, 3)


class Host(HostModule):
    def __init__(self, **parts):
        super().__init__()
        self.net = Net()
        for name, part in parts.items():
            setattr(self, name, part)


class ExponentialMovingAverage:
    """As of torch_ema: a list of tensors."""


@pytest.mark.parametrize(
    ("name", "average", "encode", "path"),
    [
        ("ema_model", AveragedModel(Net()), "net.backbone", "ema_model.module.backbone"),
        ("ema_model", AveragedModel(nn.Linear(4, 3)), "net.backbone", "ema_model.module"),
        ("slow", ModelEmaV2(Net()), "net.backbone", "slow.module.backbone"),
        ("slow", ModelEmaV2(Net()), None, "slow.module.backbone"),
        ("net_ema", Net(), "net.backbone", "net_ema.backbone"),
    ],
)
def test_an_average_in_the_module(name, average, encode, path):
    module = Host(**{name: average})
    advice = told(module, encode)
    assert advice == f'to measure {name} ({type(average).__name__}) instead give encode="{path}"'
    assert ModuleEncoder(module, re.search('encode="(.*)"', advice)[1])(torch.ones(2, 4)).shape == (2, 3)
    assert told(module, path) == told(module, lambda module, images: images) == ""


def test_what_has_no_network_to_measure():
    assert told(Host(ema=ExponentialMovingAverage())).startswith(
        "ema (ExponentialMovingAverage) holds averaged weights without a network to measure"
    )


class EMACallback(Callback):
    pass


class Swaps(Callback):
    def __init__(self):
        self.average = ModelEmaV2(Net())


@pytest.mark.parametrize("callback", [EMACallback(), Swaps()])
def test_a_callback(callback):
    assert told(Host(), callbacks=[callback]).startswith(f"{type(callback).__name__} keeps an average that it may")


def test_what_is_no_average():
    pools = {"avg_pool": nn.AdaptiveAvgPool2d(1), "avg_head": nn.Linear(7, 7), "teacher": copy.deepcopy(Net())}
    lightning = EMAWeightAveraging()
    lightning._average_model = AveragedModel(Net())
    assert told(Host(**pools), callbacks=[lightning, Callback()]) == ""


def test_monitors_say_which_weights_they_measure(tmp_path):
    module = HostModule()
    module.ema_model = AveragedModel(module.backbone)
    advice = r"measures the module's own weights, which checkpoints hold; .*encode=\"ema_model\.module\""
    with pytest.warns(UserWarning, match=advice) as caught:
        train(tmp_path / "own", [memorization_monitor()], module=module, max_epochs=1)
    assert len([one for one in caught if "own weights" in str(one.message)]) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*own weights")
        train(tmp_path / "average", [memorization_monitor(encode="ema_model.module")], module=module, max_epochs=1)
