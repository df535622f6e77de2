"""Measuring 100 times takes no more memory than measuring 25 times."""

import gc
import resource
import sys

import pytest
from lightning.pytorch import Callback

from tests.callbacks.hosts import memorization_monitor, train, utility_monitor

KILOBYTE = 1 if sys.platform == "darwin" else 1024


class Memory(Callback):
    """Most bytes that the process ever held, and objects that it holds, after each epoch."""

    def __init__(self):
        self.held = []

    def on_train_epoch_end(self, trainer, module):
        gc.collect()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE
        self.held.append((peak, len(gc.get_objects())))


@pytest.mark.slow
def test_100_measurements(tmp_path):
    memory, monitors = Memory(), [memorization_monitor(), utility_monitor()]
    train(tmp_path, [*monitors, memory], max_epochs=100)
    assert [len(monitor.history) for monitor in monitors] == [101, 100]
    (bytes_before, objects_before), (bytes_after, objects_after) = memory.held[24], memory.held[-1]
    # 75 rows of some 30 numbers in two curves; what one measurement holds is over 100 objects and 100 kB.
    assert objects_after - objects_before < 75 * 10
    assert bytes_after - bytes_before < 4 * 2**20
