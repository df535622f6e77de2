"""Where files vanish or cannot be written, training goes on without the measurement, or stops and says why."""

import errno
import os
import shutil
import subprocess
import warnings

import lightning.pytorch as pl
import pytest
import torch
from dejavu_lightning.callbacks import EpochCheckpoint, MemorizationEarlyStopping, UtilityMonitor
from lightning.pytorch import Callback
from lightning.pytorch.loggers.logger import DummyLogger
from torch.utils.data import DataLoader

from dejavu_lightning.core import whole_file
from dejavu_lightning.report.runs import read_run
from dejavu_lightning.runs.history import measured_rows, read_history
from dejavu_lightning.utility import NearestNeighborProbe, UtilitySets
from tests.callbacks.test_memorization_monitor import host_monitor, host_sets, train_host
from tests.models import HostModule, Pairs, tiny_trainer
from tests.unbreakable.runs import contents, differing, write_config, write_pictures
from tests.unbreakable.test_killed_fit import Fit


class OnDisk(Pairs):
    """Read from files, which are there or not."""

    there = True

    def __getitem__(self, index):
        if not self.there:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"public/{index}.png")
        return super().__getitem__(index)


class TakeAway(Callback):
    """The data set is there except after these epochs."""

    def __init__(self, dataset, *epochs):
        self.dataset, self.epochs = dataset, epochs

    def on_train_epoch_start(self, trainer, module):
        self.dataset.there = trainer.current_epoch + 1 not in self.epochs

    def on_fit_end(self, trainer, module):
        self.dataset.there = True


def test_a_public_set_that_is_gone_for_a_while_makes_a_measurement_missing(tmp_path):
    public = OnDisk(60, 2)
    monitor = host_monitor(data=host_sets(public=public))
    with pytest.warns(UserWarning, match=r"no measurement after epoch 2, 1 of 3 are missing now: .*public/0\.png"):
        module = train_host(tmp_path, [TakeAway(public, 2), monitor], max_epochs=3)
    whole = host_monitor()
    left_alone = train_host(tmp_path / "whole", [whole], max_epochs=3)
    assert monitor.history == [row if row["epoch"] != 2 else {"epoch": 2.0} for row in whole.history]
    assert read_history(tmp_path / "memorization") == monitor.history
    for name, value in left_alone.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name
    files = {str(file.relative_to(tmp_path / "whole")) for file in (tmp_path / "whole").rglob("*.*") if file.is_file()}
    assert {name for name in files if not (tmp_path / name).is_file()} == {
        f"memorization/epoch=0002/{name}.parquet" for name in ("target", "reference", "terms")
    }


def test_the_last_measurement_can_be_missing_too(tmp_path):
    public = OnDisk(60, 2)
    monitor = host_monitor(data=host_sets(public=public))
    with pytest.warns(UserWarning, match="no measurement after epoch 2"):
        train_host(tmp_path, [TakeAway(public, 2), monitor])
    assert [len(row) > 1 for row in monitor.history] == [True, True, False]
    run = read_run(tmp_path)
    assert [row["epoch"] for row in run.history] == [0, 1]


def test_what_is_missing_from_the_start_stops_the_run(tmp_path):
    public = OnDisk(60, 2)
    public.there = False
    with pytest.raises(ValueError, match=r"public set: FileNotFoundError: .*public/0\.png"):
        train_host(tmp_path, [host_monitor(data=host_sets(public=public))])


def test_a_decision_needs_both_measurements(tmp_path):
    public = OnDisk(60, 2)
    sets = UtilitySets(Pairs(40, 4), Pairs(30, 5), num_classes=10)
    callbacks = [
        TakeAway(public, 2),
        host_monitor(data=host_sets(public=public)),
        UtilityMonitor(probes=[NearestNeighborProbe(k=5)], every_n_epochs=1, data=sets),
        MemorizationEarlyStopping(utility="utility/knn_top1", restore_best=False, patience=3),
        EpochCheckpoint(1, str(tmp_path / "checkpoints")),
    ]
    with pytest.warns(UserWarning, match="no measurement after epoch 2"):
        train_host(tmp_path, callbacks, max_epochs=4, enable_checkpointing=True)
    assert [row["epoch"] for row in callbacks[3].history] == [1, 3, 4]
    assert [row["epoch"] for row in measured_rows(callbacks[2].history)] == [1, 2, 3, 4]


def full_disk(monkeypatch, match):
    """No file of such a name can be written."""
    replace = os.replace

    def full(source, target):
        if match in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target)

    monkeypatch.setattr(whole_file.os, "replace", full)


def test_tables_that_cannot_be_written_are_left_out(tmp_path, monkeypatch):
    full_disk(monkeypatch, "epoch=0001")
    monitor = host_monitor()
    with pytest.warns(UserWarning, match=r"memorization: .* cannot be written: .*No space left on device"):
        train_host(tmp_path, [monitor])
    assert [row["epoch"] for row in read_history(tmp_path / "memorization")] == [0, 1, 2]
    assert [file.parent.name for file in sorted(tmp_path.rglob("target.parquet"))] == ["epoch=0000", "epoch=0002"]
    assert not list(tmp_path.rglob(".*.partial"))


def test_a_checkpoint_that_cannot_be_written_stops_the_run_and_keeps_the_earlier_ones(tmp_path, monkeypatch):
    full_disk(monkeypatch, "epoch=0002")
    saver = EpochCheckpoint(1, str(tmp_path / "checkpoints"))
    with pytest.raises(OSError, match=r"epoch=0002\.ckpt cannot be written: No space left on device\. The earlier"):
        train_host(tmp_path, [saver], enable_checkpointing=True)
    monkeypatch.undo()
    resumed = EpochCheckpoint(1, str(tmp_path / "checkpoints"))
    tiny_trainer(tmp_path, callbacks=[resumed], enable_checkpointing=True).fit(
        HostModule(), DataLoader(Pairs(40, 0), batch_size=10), ckpt_path=tmp_path / "checkpoints" / "last.ckpt"
    )
    assert (tmp_path / "checkpoints" / "epoch=0002.ckpt").is_file()


class Unreachable(DummyLogger):
    """Its server is gone after the first row of the monitor."""

    def __init__(self):
        super().__init__()
        self.rows = 0

    def log_metrics(self, metrics, step=None):
        if any(key.startswith("memorization/") for key in metrics):
            self.rows += 1
            if self.rows > 1:
                raise ConnectionError("server does not answer")


def test_a_logger_that_fails_is_told_of_and_training_goes_on(tmp_path):
    monitor = host_monitor()
    with pytest.warns(
        UserWarning, match="Unreachable failed and is not told of this: ConnectionError: server does not"
    ):
        train_host(tmp_path, [monitor], logger=Unreachable())
    assert [row["epoch"] for row in read_history(tmp_path / "memorization")] == [0, 1, 2]


def test_without_failures_nothing_is_warned_of(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train_host(tmp_path, [host_monitor()], trainer=pl.Trainer)
    assert not [warning for warning in caught if "Training goes on" in str(warning.message)]


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of a few hundred kilobytes; a function that gives it room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield disk, lambda: subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
    subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_a_run_whose_disk_is_full_says_so_and_goes_on_with_more_room(tiny_disk, server, tmp_path):
    disk, make_room = tiny_disk
    write_pictures(tmp_path / "data")
    config = write_config(tmp_path / "tiny.yaml", tmp_path / "data", tmp_path / "index.parquet", utility=False)
    Fit(server, config, tmp_path / "whole").ends()
    fit = Fit(server, config, disk / "run")
    fit.log, fit.record = tmp_path / "log", tmp_path / "record"
    assert fit.start() == 1
    assert (
        "No space left on device" in fit.log.read_text().splitlines()[-1] or "cannot be written" in fit.log.read_text()
    )
    assert len(fit.log.read_text().split("error: ")[-1].splitlines()) <= 10
    make_room()
    fit.ends()
    assert differing(contents(tmp_path / "whole"), contents(disk / "run")) == []


class AfterEpoch(Callback):
    """Does something once an epoch begins."""

    def __init__(self, epoch, act):
        self.epoch, self.act = epoch, act

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            self.act()


def test_a_run_folder_that_vanishes_is_made_anew(tmp_path):
    """The curve travels with the monitor: it is whole again after the next measurement."""
    monitor = host_monitor()
    train_host(tmp_path, [AfterEpoch(1, lambda: shutil.rmtree(tmp_path / "memorization")), monitor])
    assert read_history(tmp_path / "memorization") == monitor.history
    assert [row["epoch"] for row in monitor.history] == [0, 1, 2]
    assert [file.parent.name for file in tmp_path.rglob("target.parquet")] == ["epoch=0002"]


def test_a_folder_that_becomes_read_only_costs_the_files_of_a_measurement(tiny_disk, tmp_path):
    """Of the curve those rows are written that came before; the monitor, and so checkpoints, have all."""
    disk, _ = tiny_disk
    monitor = host_monitor(folder=str(disk / "memorization"), figures=False)
    sealed = AfterEpoch(1, lambda: subprocess.run(["mount", "-o", "remount,ro", disk], check=True))
    with pytest.warns(UserWarning, match=r"memorization cannot be written: .*Read-only file system") as warned:
        module = train_host(tmp_path / "sealed", [sealed, monitor])
    assert not [one for one in warned if "is not told of this" in str(one.message)]
    assert [row["epoch"] for row in read_history(disk / "memorization")] == [0, 1]
    assert [row["epoch"] for row in monitor.history] == [0, 1, 2]
    alone = train_host(tmp_path / "alone", [host_monitor()])
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in alone.state_dict().items())
