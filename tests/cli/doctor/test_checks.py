"""Single checks, by hand-worked cases."""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dejavu_lightning.cli.doctor import machine_checks
from dejavu_lightning.cli.doctor.checkup import _hours, _measured, _training
from dejavu_lightning.cli.doctor.data_checks import check_attacked, check_sizes, check_splits, largest_k
from dejavu_lightning.cli.doctor.machine_checks import check_accelerator, check_packages, check_space
from dejavu_lightning.cli.doctor.training_length import batches_of_epoch, count_devices, steps_and_batches
from dejavu_lightning.cli.doctor.trial import Timing, _samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.data import SplitManifest

Usage = namedtuple("Usage", "total used free")
Labelled = namedtuple("Labelled", "ids labels class_names")


def test_checkpoints_against_the_space(monkeypatch, tmp_path):
    monkeypatch.setattr(machine_checks.shutil, "disk_usage", lambda path: Usage(0, 0, 10_000_000_000))
    for checkpoints, state in ((7, "ok"), (9, "note"), (11, "problem")):
        found = check_space(str(tmp_path / "new" / "run"), 1_000_000_000, checkpoints)
        assert found.state == state
        assert found.told == f"{checkpoints} checkpoints of 1.0 GB are {checkpoints}.0 GB; 10.0 GB are free"


@pytest.mark.parametrize(
    ("gpus", "settings", "state", "remedy"),
    [
        (0, {"accelerator": "cpu", "devices": 1}, "ok", ""),
        (0, {"accelerator": "gpu", "devices": 1}, "problem", "--trainer.accelerator cpu"),
        (2, {"accelerator": "gpu", "devices": 4, "precision": "16-mixed"}, "problem", "--trainer.devices 2"),
        (2, {"accelerator": "gpu", "devices": 2, "precision": "bf16-mixed"}, "ok", ""),
        (1, {"accelerator": "auto", "devices": "auto", "precision": "32-true"}, "note", "bf16-mixed is faster"),
        (1, {"accelerator": "cpu", "devices": 1}, "note", "--trainer.accelerator gpu"),
    ],
)
def test_accelerators(gpus, settings, state, remedy, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    found = check_accelerator(settings)
    assert found.state == state
    assert remedy in found.remedy


def test_packages_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(machine_checks, "find_spec", lambda name: None)
    logger = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {}}
    (found,) = check_packages({"trainer": {"logger": [logger]}})
    assert found == ("packages", "WandbLogger needs wandb", "problem", 'pip install "dejavu-lightning[wandb]"')
    assert check_packages({"trainer": {"logger": None}}) == []


def data_of(members, labels):
    ids = [f"i{n}" for n in range(len(labels))]
    source = Labelled(ids, torch.tensor(labels), ["ants", "bees"])
    return SimpleNamespace(manifest=SplitManifest(members), source=source)


def test_splits_that_overlap_and_classes_that_are_short():
    labels = [0, 0, 0, 1, 1, 1]
    (found,) = check_splits(data_of({"A": ["i0", "i1", "i3"], "B": ["i2", "i4"], "public": ["i5"]}, labels), {})
    assert found == ("splits", "3 A, 2 B, 1 public; A has 1 to 2 of each class", "ok", "")
    (found,) = check_splits(data_of({"A": ["i0", "i1", "i3"], "B": ["i2"]}, labels), {"per_class": 2})
    assert found.state == "note"
    assert "1 of 2 classes train on fewer than per_class=2, such as bees 1" in found.told
    manifest = SimpleNamespace(members={"A": ["i0", "i1"], "B": ["i1", "i2"]})
    (found,) = check_splits(SimpleNamespace(manifest=manifest, source=data_of({}, labels).source), {})
    assert found.state == "problem"
    assert "1 of A in B too, such as 'i1'" in found.told


class Items(list):
    labels = np.array([0, 1])


def test_records_that_cannot_be_attacked_or_answered_for():
    public = Items("ab")
    public.labels = np.array([0, 0])
    sets = MemorizationSets(Items("ab"), public, 2, excluded=8, class_names=["ants", "bees"])
    found = check_attacked(sets, {"min_crop_side": 100}, SimpleNamespace(k=3))
    assert [(one.check, one.state) for one in found] == [
        ("attacked records", "note"),
        ("public set", "problem"),
        ("public set", "problem"),
    ]
    assert "8 leave no background wider and higher than min_crop_side=100 pixels" in found[0].told
    assert found[1].told == "k=3 exceeds the public set of 2"
    assert found[2].told == "no public picture of 1 attacked classes, such as bees"


def test_small_pictures():
    source = SimpleNamespace(sizes=np.array([[100, 50], [90, 60], [300, 200]]))
    (found,) = check_sizes(SimpleNamespace(source=source, image_size=64))
    assert found.state == "note"
    assert found.told.endswith("67% are smaller than image_size=64")


def test_times_and_cadence():
    assert _measured(100, 40) == {0, 40, 80, 100}
    assert [_hours(seconds) for seconds in (1.23, 60, 600, 7200)] == ["1.2 s", "60 s", "10 minutes", "2.0 hours"]
    pictures = torch.zeros(5, 3)
    for batch in (pictures, [pictures, 1], {"image": pictures}, {"caption": ["a"] * 5}, ([pictures, pictures], 0)):
        assert _samples(batch) == 5


def test_the_most_neighbours():
    tests = (SimpleNamespace(k=5), SimpleNamespace(k=5, ks=[1, 100]), SimpleNamespace(k=None), SimpleNamespace())
    assert [largest_k(test) for test in tests] == [5, 100, 0, 0]


@pytest.mark.parametrize(
    ("batches", "devices", "limit", "each"),
    [
        (100, 4, 1.0, 25),
        (101, 4, None, 26),
        (100, 4, 0.5, 12),  # of the 25 of each device
        (100, 4, 10, 10),  # an integer is of each device
        (100, 4, 40, 25),
        (np.inf, 4, 10, 10),
        (np.inf, 4, 1.0, np.inf),
    ],
)
def test_batches_of_an_epoch(batches, devices, limit, each):
    assert batches_of_epoch(batches, devices, limit) == each


@pytest.mark.parametrize(
    ("together", "max_steps", "steps", "batches"),
    [
        (1, -1, 30, 30),
        (4, None, 9, 30),  # 4 + 4 + 2 batches an epoch
        (4, 9, 9, 30),
        (4, 5, 5, 18),  # an epoch of 3 steps and 10 batches, and 2 steps of 4
        (1, 7, 7, 7),
    ],
)
def test_steps_of_the_optimiser_and_their_batches(together, max_steps, steps, batches):
    assert steps_and_batches(10, 3, together, max_steps) == (steps, batches)


def test_the_hours_count_batches_where_gradients_are_accumulated():
    trainer = {"accelerator": "cpu", "devices": 1, "accumulate_grad_batches": 4, "max_steps": 100}
    timing = Timing(samples=1e6, batch=2.0, batches=40)
    found = _training(timing, {"trainer": trainer, "data": {}}, 1000)
    assert found[-1].told == "8 s a step, 100 steps in 1000 epochs: 13 minutes"  # 400 batches of 2 s


def test_a_loader_of_one_batch_is_not_timed():
    loader, _ = _training(Timing(batch=2.0, batches=1), {"trainer": {"accelerator": "cpu"}, "data": {}}, 3)
    assert loader.told == "not timed: an epoch has too few batches"


@pytest.mark.parametrize(
    ("devices", "accelerator", "count"),
    [
        (3, "cpu", 3),
        ([0, 2], "gpu", 2),
        ("0,1", "cuda", 2),
        ("auto", "auto", 4),
        (-1, "gpu", 4),
        ("-1", "cuda", 4),
        ("auto", "cpu", 1),
        (None, "gpu", 4),
    ],
)
def test_devices_as_lightning_counts_them(devices, accelerator, count, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert count_devices({"devices": devices, "accelerator": accelerator}) == count
