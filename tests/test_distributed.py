"""Any number of processes gives the memorization numbers of one."""

import csv
import subprocess
import sys

import pytest
import torch
import yaml

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


def test_ddp_training_measures_what_one_process_measures(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))
    rows = {}
    for devices in (1, 2):
        command = [sys.executable, "train.py", "fit", "--config", str(config), "--trainer.devices", str(devices)]
        command += ["--trainer.strategy", "ddp", "--data.batch_size", str(20 // devices)]
        command += ["--trainer.default_root_dir", str(tmp_path / str(devices)), "--trainer.max_epochs", "1"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        with (tmp_path / str(devices) / "memorization" / "history.csv").open() as file:
            rows[devices] = list(csv.DictReader(file))
    # The untrained weights are the same, so every number is.
    assert rows[1][0] == rows[2][0]
    assert [row["epoch"] for row in rows[2]] == ["0.0", "1.0"]
