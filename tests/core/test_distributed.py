"""Work of several processes: who waits for whom, who works alone, and whose values count."""

import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from dejavu_lightning.core import distributed
from dejavu_lightning.core.distributed import copy_first, failing_together, gathered, shared_work, world
from dejavu_lightning.memorization import (
    Checkpoint,
    HeldOut,
    LabelInference,
    MemorizationSets,
    ModuleEncoder,
    measure,
)
from dejavu_lightning.utility import NearestNeighborProbe, UtilitySets, measure_utility
from tests.models import HostModule, Pairs
from tests.processes import run_processes


def by_pixels(images):
    return images.flatten(1)


def measured_alone():
    sets = MemorizationSets(attack=Pairs(20, 1), public=Pairs(20, 2), num_classes=10, other_split=Pairs(20, 3))
    found = measure(by_pixels, LabelInference(k=3, batch_size=8), HeldOut(), sets, distributed=False)
    utility = measure_utility(
        by_pixels, [NearestNeighborProbe(k=3)], UtilitySets(Pairs(20, 2), Pairs(15, 4), 10), distributed=False
    )
    return found.metrics, utility


class OddError(ValueError):
    """Of a kind that other processes need not know."""


def failures(rank):
    """What each rank is told where rank 1 alone fails, both fail, and none."""

    def told(error):
        try:
            with failing_together():
                if error is not None:
                    raise error
        except Exception as caught:
            return type(caught).__name__, str(caught)
        return "went on", gathered(rank)

    alone = (PermissionError("locked"), OddError("odd"), KeyError("x"), FileNotFoundError("gone"), TimeoutError("late"))
    return [
        *(told(error if rank else None) for error in alone),
        told(FileNotFoundError("gone") if rank else TypeError("wrong")),
        told(None),
        unread_reference(rank),
    ]


def unread_reference(rank):
    """A measurement whose reference one rank alone cannot read, and the one after it."""
    reference = Checkpoint("nowhere.ckpt", allow_unverified_split=True)
    sets = MemorizationSets(attack=Pairs(20, 1), public=Pairs(20, 2), num_classes=10)
    module, test = HostModule(), LabelInference(k=3, batch_size=8)
    with tempfile.TemporaryDirectory() as folder:
        if rank == 0:
            reference.path = Path(folder) / "there.ckpt"
            torch.save({"state_dict": module.state_dict()}, reference.path)
        try:
            measure(ModuleEncoder(module, "backbone"), test, reference, sets, epoch=0)
        except FileNotFoundError as error:
            return str(error), measure(ModuleEncoder(module, "backbone"), test, HeldOut(), both(sets)).metrics[
                "records"
            ]


def both(sets):
    return replace(sets, other_split=Pairs(20, 3))


def different_behaviours():
    """What each rank finds where they do not do the same."""
    rank, _ = world()
    found = {"alone": measured_alone() if rank == 0 else None}
    dist.barrier()  # a slow first process would not be the one that waits
    distributed.NOTICED = 0.5
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if rank == 1:
            time.sleep(1.5)
        with shared_work(True):  # rank 1 is late, and comes
            found["late"] = gathered(rank)
        found["warned"] = [str(one.message) for one in caught]
    found["failures"] = failures(rank)
    if rank == 0:  # the other never comes
        begun = time.monotonic()
        try:
            with shared_work(True, patient=1.0):
                found["went on"] = True
        except TimeoutError as error:
            found["refused"] = str(error)
        found["seconds"] = time.monotonic() - begun
    dist.barrier()
    flags = torch.tensor([True, False]) if rank == 0 else torch.tensor([False, False])
    number, wide = torch.tensor(7 + rank), torch.full((2, 3), 0.1 + rank, dtype=torch.float64).t()
    copy_first([flags, number, wide, torch.empty(0)])
    found["copied"] = [flags.tolist(), number.item(), wide.tolist()]
    return found


def test_one_process_alone_late_or_missing_and_values_of_the_first():
    first, second = run_processes(2, different_behaviours)
    assert first["alone"] == measured_alone()  # nobody else called it, and nothing hung
    assert first["late"] == second["late"] == [0, 1]
    assert second["warned"] == []
    (warned,) = first["warned"]
    assert warned.startswith("process 0 waits for 1 to begin the same measurement, which is late, as while it draws")
    assert "if rank == 0:" in warned
    assert warned.endswith("give it distributed=False")
    assert first["refused"].startswith("after 1 seconds process 0 waits for 1")
    assert first["seconds"] < 10
    assert first["copied"] == second["copied"] == [[True, False], 7, [[0.1, 0.1]] * 3]

    alone = "process 1, unlike others: "
    gone = "Checkpoint: path=nowhere.ckpt is neither a file nor a directory"
    assert first["failures"] == [
        ("OSError", f"{alone}PermissionError: locked"),
        ("ValueError", f"{alone}OddError: odd"),
        ("RuntimeError", f"{alone}KeyError: 'x'"),
        ("FileNotFoundError", f"{alone}gone"),
        ("TimeoutError", f"{alone}late"),
        ("TypeError", "wrong"),
        ("went on", [0, 1]),
        (f"{alone}{gone}", 20.0),
    ]
    assert second["failures"] == first["failures"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ([(OSError, "a"), None, (OSError, "b")], "processes 0, 2, unlike others, of 0: a"),
        ([None, (OSError, "a"), None], "process 1, unlike others: a"),
        ([(OSError, "a")] * 3, "a"),
    ],
)
def test_those_that_fail_are_listed(told, message, monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: (0, 3))
    monkeypatch.setattr(distributed, "gathered", lambda value: told)
    with pytest.raises(OSError, match=f"^{message}$"), failing_together():
        pass


def test_a_process_without_others_fails_as_it_does():
    with pytest.raises(KeyError), failing_together():
        raise KeyError("x")


def test_one_process_waits_for_nobody():
    with shared_work(True, patient=0.0):
        assert world() == (0, 1)
    with shared_work(False), pytest.raises(KeyError), shared_work(False):
        raise KeyError
    assert world() == (0, 1)
