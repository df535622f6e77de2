"""Under DDP without SyncBatchNorm all ranks measure the first one's running statistics, which checkpoints hold."""

import os

import lightning.pytorch as pl
import pytest
import torch
from dejavu_lightning.callbacks import EpochCheckpoint

from dejavu_lightning.core.distributed import gathered, world
from dejavu_lightning.memorization import HeldOut, LabelInference, ModuleEncoder, measure
from dejavu_lightning.runs.checkpoints import load_checkpoint
from dejavu_lightning.utility import NearestNeighborProbe, UtilitySets, measure_utility
from tests.callbacks.hosts import memorization_monitor, memorization_sets, train, utility_monitor
from tests.models import HostModule, Pairs
from tests.processes import run_processes


def trained(folder, monitored):
    """A rank's final state, and the last rows of both curves."""
    rank, _ = world()
    os.environ["LOCAL_RANK"] = str(rank)
    monitors = [memorization_monitor(folder=f"{folder}/m"), utility_monitor(folder=f"{folder}/u")] if monitored else []
    callbacks = [*monitors, EpochCheckpoint(every_n_epochs=1, dirpath=f"{folder}/kept")]
    module = train(folder, callbacks, devices=2, strategy="ddp", enable_checkpointing=True)
    state = {name: value.tolist() for name, value in module.state_dict().items()}
    return state, [monitor.history[-1] for monitor in monitors]


@pytest.mark.slow
def test_two_processes_measure_what_one_does_with_the_weights_of_the_first(tmp_path):
    (first, curves), (second, same) = run_processes(2, trained, str(tmp_path / "with"), True)
    assert first["backbone.1.running_var"] != second["backbone.1.running_var"]
    assert first["backbone.0.weight"] == second["backbone.0.weight"]
    assert curves == same

    module = HostModule()
    module.load_state_dict(load_checkpoint(tmp_path / "with" / "kept" / "epoch=0002.ckpt")["state_dict"])
    encoder, test = ModuleEncoder(module, "backbone"), LabelInference(k=5, batch_size=16)
    alone = measure(encoder, test, HeldOut(), memorization_sets()).metrics
    sets = UtilitySets(Pairs(30, 2), Pairs(20, 4), 10)
    assert curves == [
        {"epoch": 2.0, **alone},
        {"epoch": 2.0, **measure_utility(encoder, [NearestNeighborProbe(k=5)], sets)},
    ]
    # Each goes on with its own, bitwise.
    assert run_processes(2, trained, str(tmp_path / "without"), False) == [(first, []), (second, [])]


def embedded():
    """Sums of what two ranks embed, whose statistics differ grossly, and whether each keeps its own."""
    rank, _ = world()
    pl.seed_everything(0, verbose=False)
    module = HostModule()
    module.backbone[1].running_mean += rank
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = measure(
        ModuleEncoder(module, "backbone"), LabelInference(k=5, batch_size=4), HeldOut(), memorization_sets()
    )
    kept = all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    return gathered(kept), found.metrics, found.target.table.to_pylist()


@pytest.mark.slow
def test_records_are_those_of_the_first_process_alone():
    alone = embedded()
    for kept, metrics, records in run_processes(2, embedded):
        assert kept == [True, True]
        assert (metrics, records) == alone[1:]
