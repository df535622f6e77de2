"""Any number of processes gives the memorization numbers of one."""

import csv
import os
import subprocess
import sys

import pytest
import torch
import yaml
from dejavu_lightning.callbacks import RandomState

from dejavu_lightning.memorization import HeldOut, LabelInference, MemorizationSets, ModuleEncoder, measure
from tests.models import HostModule, Pairs
from tests.processes import run_processes
from tests.test_commands import ROOT, TINY


def measured(batch_size):
    torch.manual_seed(0)
    module = HostModule()
    # 45 records and 67 public images in batches of 8: uneven shares, padded last batches.
    sets = MemorizationSets(attack=Pairs(45, 1), public=Pairs(67, 2), num_classes=10, unseen=Pairs(31, 3))
    found = measure(ModuleEncoder(module, "backbone"), LabelInference(k=7, batch_size=batch_size), HeldOut(), sets)
    return found.metrics, found.target.table.to_pylist()


@pytest.mark.parametrize("processes", [2, 4])
def test_numbers_equal_one_process(processes):
    alone = measured(8)
    assert alone[0]["target_accuracy"] > 0
    for found in run_processes(processes, measured, 8):
        assert found == alone


def test_more_processes_than_batches():
    alone = measured(64)
    for found in run_processes(3, measured, 64):
        assert found == alone


def nan_on_one_rank():
    sets = MemorizationSets(attack=Pairs(20, 1), public=Pairs(20, 2), num_classes=10, unseen=Pairs(20, 3))

    def encode(images):
        # Only the batch that rank 1 holds is broken.
        return images.flatten(1) * (torch.nan if torch.equal(images[0], sets.public[10][0]) else 1)

    try:
        measure(encode, LabelInference(k=3, batch_size=10), HeldOut(), sets)
    except ValueError as error:
        return str(error)
    return "nothing raised"


def test_an_error_on_one_rank_reaches_all_and_nothing_hangs():
    told = run_processes(2, nan_on_one_rank)
    assert told[0] == told[1]
    assert "'public/10'" in told[0]


# Without batch norm, whose statistics are each process's own, and with views that are not random.
EXACT = {
    "model": {
        "class_path": "dejavu_lightning.methods.VICReg",
        "init_args": {
            "backbone": "vit_tiny_patch16_224",
            "backbone_options": {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2},
            "projector_widths": [16],
            "image_size": 32,
            "optimizer": {"name": "adamw", "base_lr": 0.05, "warmup_epochs": 0},
        },
    },
}
EXACT_VIEWS = {"scale": [1.0, 1.0], "ratio": [1.0, 1.0], "flip": 0.0, "jitter": 0.0, "grayscale": 0.0}


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ddp_trains_and_measures_as_one_process_does(processes, tmp_path):
    """40 pictures of a split with a global batch of 12: the last 4 never fill a batch."""
    config = tmp_path / "exact.yaml"
    views = {"class_path": "dejavu_lightning.data.RandomViews", "init_args": {"image_size": 32, **EXACT_VIEWS}}
    data = {**TINY["data"], "init_args": {**TINY["data"]["init_args"], "views": views}}
    monitor = {"class_path": "dejavu_lightning.callbacks.UtilityMonitor", "init_args": {"every_n_epochs": 2}}
    trainer = {**TINY["trainer"], "callbacks": [monitor], "strategy": "ddp", "log_every_n_steps": 1}
    config.write_text(yaml.safe_dump({**TINY, **EXACT, "data": data, "trainer": trainer}))
    rows, losses, utility = {}, {}, {}
    for devices in (1, processes):
        folder = tmp_path / str(devices)
        command = [sys.executable, "train.py", "fit", "--config", str(config), "--trainer.devices", str(devices)]
        command += ["--data.batch_size", str(12 // devices), "--trainer.default_root_dir", str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        with (folder / "memorization" / "history.csv").open() as file:
            rows[devices] = list(csv.DictReader(file))
        with (folder / "utility" / "history.csv").open() as file:
            utility[devices] = list(csv.DictReader(file))
        with (folder / "metrics.csv").open() as file:
            losses[devices] = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert len(losses[1]) == 2
    assert losses[1][0] > losses[1][1]
    # The untrained weights are the same, so every number is.
    assert rows[processes][0] == rows[1][0]
    # Later ones were summed up in another order.
    assert losses[processes] == pytest.approx(losses[1], rel=1e-4)
    assert [row["epoch"] for row in rows[processes]] == ["0.0", "1.0", "2.0"]
    final = [float(found[-1]["target_accuracy"]) for found in (rows[processes], rows[1])]
    assert final[0] == pytest.approx(final[1], abs=0.1)
    final = [float(found[-1]["knn_top1"]) for found in (utility[processes], utility[1])]
    assert final[0] == pytest.approx(final[1], abs=0.1)


def draws_of_each_rank():
    state = RandomState()
    torch.manual_seed(7)
    state.on_train_start(None, None)
    return torch.rand(3).tolist()


def test_ranks_draw_their_own_augmentations():
    torch.manual_seed(7)
    alone = torch.rand(3).tolist()
    first, second = run_processes(2, draws_of_each_rank)
    assert first == alone
    assert second != alone
