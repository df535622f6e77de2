"""Where the trainer starts processes by itself, the curve is with the monitor that was given to it."""

import copy
import pickle

import pytest
from dejavu_lightning.callbacks import MemorizationEarlyStopping
from dejavu_lightning.callbacks.lightning.started_processes import _Return

from dejavu_lightning.runs.history import read_history
from tests.callbacks.hosts import memorization_monitor, train, utility_monitor


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork"])
def test_the_curve_comes_back(tmp_path, strategy):
    stopping = MemorizationEarlyStopping(utility="utility/knn_top1", restore_best=False, patience=3)
    monitors = [memorization_monitor(), utility_monitor()]
    train(tmp_path, [*monitors, stopping], devices=2, strategy=strategy)
    epochs = ([0, 1, 2], [1, 2], [1, 2])
    for curve, measured in zip([*monitors, stopping], epochs, strict=True):
        assert [row["epoch"] for row in curve.history] == measured
        assert curve.history == read_history(tmp_path / curve.name)
    # A second training begins anew, in a folder of its own.
    train(tmp_path, monitors[:1], devices=2, strategy=strategy, max_epochs=1)
    assert [row["epoch"] for row in monitors[0].history] == [0, 1]
    assert monitors[0].version == 1
    assert monitors[0].history == read_history(tmp_path / "version_1" / "memorization")


def test_a_training_in_this_process_gives_nothing_to_others(tmp_path):
    monitor = memorization_monitor()
    other = copy.deepcopy(monitor)
    train(tmp_path, [other], max_epochs=1)
    assert len(other.history) == 2
    assert monitor.history == []


def test_a_copy_gets_its_own_curve_back_and_what_is_pickled_that_of_the_original():
    monitor = memorization_monitor()
    other, sent = copy.deepcopy(monitor), pickle.loads(pickle.dumps(monitor))  # as ddp_spawn sends it
    for returned_by, row in ((other, {"epoch": 1.0}), (sent, {"epoch": 2.0})):
        pickle.loads(pickle.dumps(_Return(returned_by._name_here, lambda row=row: ([row], 0))))
    assert (monitor.history, other.history) == ([{"epoch": 2.0}], [{"epoch": 1.0}])
    assert other.test is not monitor.test
