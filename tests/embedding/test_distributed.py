"""Any number of processes gives the memorization numbers of one."""

import csv

import pytest
import torch
import yaml
from dejavu_lightning.callbacks import RandomState

from dejavu_lightning.memorization import HeldOut, LabelInference, MemorizationSets, ModuleEncoder, measure
from tests.commands import TINY, run
from tests.models import HostModule, Pairs
from tests.processes import run_processes


def measured(batch_size):
    torch.manual_seed(0)
    module = HostModule()
    # 45 records and 67 public images in batches of 8: uneven shares, padded last batches.
    sets = MemorizationSets(attack=Pairs(45, 1), public=Pairs(67, 2), num_classes=10, other_split=Pairs(31, 3))
    found = measure(ModuleEncoder(module, "backbone"), LabelInference(k=7, batch_size=batch_size), HeldOut(), sets)
    return found.metrics, found.target.table.to_pylist()


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_numbers_equal_one_process(processes):
    alone = measured(8)
    assert alone[0]["target_accuracy"] > 0
    for found in run_processes(processes, measured, 8):
        assert found == alone


@pytest.mark.slow
def test_more_processes_than_batches():
    alone = measured(64)
    for found in run_processes(3, measured, 64):
        assert found == alone


def nan_on_one_rank():
    sets = MemorizationSets(attack=Pairs(20, 1), public=Pairs(20, 2), num_classes=10, other_split=Pairs(20, 3))

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
DINO = {
    "class_path": "dejavu_lightning.methods.DINO",
    "init_args": {
        **EXACT["model"]["init_args"],
        "projector_widths": [16, 8],
        "prototypes": 12,
        "momentum": 0.7,
        "teacher_warmup_epochs": 0,
        "optimizer": {"name": "adamw", "base_lr": 0.01, "warmup_epochs": 0},
    },
}
EXACT_VIEWS = {"scale": [1.0, 1.0], "ratio": [1.0, 1.0], "flip": 0.0, "jitter": 0.0, "grayscale": 0.0}


def train(folder, config, devices):
    given = ["--data.batch_size", 12 // devices, "--trainer.default_root_dir", folder]
    run("train.py", "fit", "--config", config, "--trainer.devices", devices, *given)


def exact_config(path, **changed):
    views = {"class_path": "dejavu_lightning.data.RandomViews", "init_args": {"image_size": 32, **EXACT_VIEWS}}
    data = {**TINY["data"], "init_args": {**TINY["data"]["init_args"], "views": views}}
    monitor = {"class_path": "dejavu_lightning.callbacks.UtilityMonitor", "init_args": {"every_n_epochs": 2}}
    trainer = {**TINY["trainer"], "callbacks": [monitor], "strategy": "ddp", "log_every_n_steps": 1}
    path.write_text(yaml.safe_dump({**TINY, **EXACT, "data": data, "trainer": trainer, **changed}))
    return path


def rows_of(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ddp_trains_and_measures_as_one_process_does(processes, tmp_path):
    """40 pictures of a split with a global batch of 12: the last 4 never fill a batch."""
    config = exact_config(tmp_path / "exact.yaml")
    measured, losses, utility = {}, {}, {}
    for devices in (1, processes):
        folder = tmp_path / str(devices)
        train(folder, config, devices)
        measured[devices] = rows_of(folder / "memorization" / "history.csv")
        utility[devices] = rows_of(folder / "utility" / "history.csv")
        losses[devices] = [float(row["train/loss"]) for row in rows_of(folder / "metrics.csv") if row["train/loss"]]
    assert len(losses[1]) == 2
    assert losses[1][0] > losses[1][1]
    # The untrained weights are the same, so every number is.
    assert measured[processes][0] == measured[1][0]
    # Later ones were summed up in another order.
    assert losses[processes] == pytest.approx(losses[1], rel=1e-4)
    assert [row["epoch"] for row in measured[processes]] == ["0.0", "1.0", "2.0"]
    final = [float(found[-1]["target_accuracy"]) for found in (measured[processes], measured[1])]
    assert final[0] == pytest.approx(final[1], abs=0.1)
    final = [float(found[-1]["knn_top1"]) for found in (utility[processes], utility[1])]
    assert final[0] == pytest.approx(final[1], abs=0.1)


@pytest.mark.slow
def test_teacher_centre_and_frozen_prototypes_under_ddp_are_those_of_one_process(tmp_path):
    config = exact_config(tmp_path / "dino.yaml", model=DINO)
    weights = {}
    for devices in (1, 2):
        train(tmp_path / str(devices), config, devices)
        folder = tmp_path / str(devices) / "checkpoints"
        weights[devices] = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    start = torch.load(tmp_path / "1" / "checkpoints" / "epoch=0000.ckpt", weights_only=True)["state_dict"]
    for name, value in weights[1].items():
        assert torch.allclose(value, weights[2][name], rtol=1e-3, atol=1e-5), name
    for name in ("loss.center", "teacher.backbone.blocks.0.attn.qkv.weight", "prototypes.weight"):
        moved = (weights[1][name] - start[name]).abs().max()
        assert moved > 20 * (weights[1][name] - weights[2][name]).abs().max(), name
        assert moved > 1e-4, name


def draws_of_each_rank():
    state = RandomState()
    torch.manual_seed(7)
    state.on_train_start(None, None)
    return torch.rand(3).tolist()


@pytest.mark.slow
def test_ranks_draw_their_own_augmentations():
    torch.manual_seed(7)
    alone = torch.rand(3).tolist()
    first, second = run_processes(2, draws_of_each_rank)
    assert first == alone
    assert second != alone
