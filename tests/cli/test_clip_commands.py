"""CLIP and object retrieval as users run them, in processes of their own, tiny."""

import csv
import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tests.captions import write_clip_config
from tests.commands import ROOT, history, run
from tests.shards import write_shards


@pytest.fixture
def clip_config(tmp_path):
    return write_clip_config(tmp_path)


@pytest.mark.slow
def test_pair_leaves_everything_and_evaluate_repeats_its_numbers(clip_config, tmp_path):
    out = tmp_path / "out"
    measures = ["ZeroShot", "CaptionRetrieval", "NamedObjects", "LinearProbe"]
    overlay = tmp_path / "utility.yaml"
    probes = [{"class_path": f"dejavu_lightning.utility.{name}"} for name in measures]
    monitor = {
        "class_path": "dejavu_lightning.callbacks.UtilityMonitor",
        "init_args": {"encode": "encode_image", "every_n_epochs": 1, "probes": probes},
    }
    overlay.write_text(yaml.safe_dump({"trainer": {"callbacks+": [monitor]}}))
    masking = ROOT / "configs" / "mitigations" / "text_masking.yaml"
    given = ("--config", clip_config, "--config", overlay, "--config", masking)
    printed = run("train.py", "pair", *given, "--output", out).stdout
    for row in ("PPG", "PRG", "AUCG", "net PPG", "control, PPG", "symmetric PPG", "min_distance", "null"):
        assert row in printed, row
    comparison = out / "comparison"
    for figure in ("curve", "gallery"):
        assert (comparison / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    assert pq.read_table(comparison / "comparison.parquet").num_rows == 21
    written = json.loads((comparison / "metrics.json").read_text())
    assert {row["order"] for row in written["sample_gaps"]} == {"min_distance", "correct", "gap"}
    during = history(out / "target")[-1]
    compared = {name: float(value) for name, value in during.items() if name != "epoch"}
    assert {"ppg", "prg_low", "aucg@1", "ppg@5/top1", "control_ppg", "control_prg_high"} <= set(compared)
    assert compared == {name: written["metrics"][name] for name in compared}

    last = out / "target" / "checkpoints" / "last.ckpt"
    again = tmp_path / "utility.json"
    also = [word for name in ("zero_shot", "caption_retrieval", "named_objects") for word in ("--measures+", name)]
    run("evaluate.py", "utility", "--checkpoint", last, *also, "--output", again)
    found = json.loads(again.read_text())["metrics"]
    with (out / "target" / "utility" / "history.csv").open() as file:
        names, *_, values = (line.strip().split(",") for line in file)
    logged = dict(zip(names, map(float, values), strict=True))
    assert {"zero_shot_top1", "text_to_image@1", "named_objects@10", "linear_top1"} <= set(found)
    assert found == {name: value for name, value in logged.items() if name != "epoch"} | {
        f"{name}{end}": found[f"{name}{end}"] for name in ("knn_top1", "knn_top5") for end in ("", "_low", "_high")
    }
    other = run(
        "evaluate.py",
        "memorization",
        "--target",
        last,
        "--reference",
        out / "reference" / "checkpoints" / "last.ckpt",
        "--k",
        "200",
        code=1,
    ).stderr
    assert "k=200 exceeds the public set of 98 samples" in other


@pytest.mark.slow
def test_early_stopping_stops_at_the_first_measurement_beyond_its_threshold(clip_config, tmp_path):
    """The untrained model's is beyond it, which is seen when the first epoch ends; the final weights are measured."""
    config = yaml.safe_load((ROOT / "configs" / "mitigations" / "early_stopping.yaml").read_text())
    stopping = config["trainer"]["callbacks+"][0]["init_args"]
    stopping |= {"divergence_threshold": -2.0, "monitor": "memorization/unpaired_ppg"}  # without a reference
    overlay = tmp_path / "early_stopping.yaml"
    overlay.write_text(yaml.safe_dump(config))
    given = ("--config", clip_config, "--config", overlay, "--data.train_on", "A", "--trainer.max_epochs", 6)
    out = tmp_path / "out"
    run("train.py", "fit", *given, "--memorization.every_n_epochs", 2, "--trainer.default_root_dir", out)
    assert [float(row["epoch"]) for row in history(out)] == [0, 1]


@pytest.mark.slow
def test_two_processes_train_and_measure_as_one_does(clip_config, tmp_path):
    """The global batches are the same, and of uneven size: 21 samples in three steps."""
    found = {}
    for devices, batch in ((1, 10), (2, 5)):
        out = tmp_path / f"on{devices}"
        devices_given = ("--trainer.devices", devices, "--trainer.strategy", "ddp" if devices > 1 else "auto")
        settings = (
            "--data.train_on",
            "A",
            "--data.batch_size",
            batch,
            "--data.views",
            "null",
            "--data.augmentation",
            "{scale: [1.0, 1.0], ratio: [1.0, 1.0]}",
        )
        run("train.py", "fit", "--config", clip_config, *settings, *devices_given, "--trainer.default_root_dir", out)
        with (out / "metrics.csv").open() as file:
            losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]
        found[devices] = history(out)[0], losses
    assert found[1][0] == found[2][0], "the untrained model's numbers are equal to the last bit"
    assert len(found[1][1]) == 2
    assert found[1][1] == pytest.approx(found[2][1], rel=1e-4)


@pytest.mark.slow
def test_a_stopped_run_continues_bitwise(clip_config, tmp_path):
    def fit(out, *more):
        settings = ("--data.train_on", "A", "--trainer.default_root_dir", out)
        run("train.py", "fit", "--config", clip_config, *settings, *more)
        return torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"], history(out)

    masked = ("--model.text_masking", "0.3", "--trainer.max_epochs", "3")
    weights, curve = fit(tmp_path / "whole", *masked)
    stopped = tmp_path / "stopped"
    shutil.copytree(tmp_path / "whole", stopped)
    for later in ("epoch=0002.ckpt", "epoch=0003.ckpt", "last.ckpt"):
        (stopped / "checkpoints" / later).unlink()
    continued, its_curve = fit(stopped, *masked, "--ckpt_path", stopped / "checkpoints" / "epoch=0001.ckpt")
    assert its_curve == curve
    assert all(torch.equal(continued[name], value) for name, value in weights.items())


@pytest.mark.slow
def test_shards_are_trained_on_and_measured(clip_config, tmp_path):
    """As img2dataset writes them, by two workers, from fit to the offline comparison."""
    write_shards(tmp_path / "shards", (70, 3, 0, 90, 60))
    config = yaml.safe_load(clip_config.read_text())
    config["data"] = {
        "class_path": "dejavu_lightning.data.ShardDataModule",
        "init_args": {
            "shards": str(tmp_path / "shards" / "*.tar"),
            "index": str(tmp_path / "index.parquet"),
            "fractions": {"A": 0.3, "B": 0.3, "held_out": 0.1},
            "image_size": 32,
            "batch_size": 10,
            "num_workers": 2,
        },
    }
    clip_config.write_text(yaml.safe_dump(config))
    out = tmp_path / "out"
    printed = run("train.py", "pair", "--config", clip_config, "--output", out).stdout
    assert "net PPG, precision gap" in printed
    written = json.loads((out / "comparison" / "metrics.json").read_text())["metrics"]
    during = history(out / "target")[-1]
    assert {name: written[name] for name in during if name != "epoch"} == {
        name: float(value) for name, value in during.items() if name != "epoch"
    }
    last = out / "target" / "checkpoints" / "last.ckpt"
    found = run("evaluate.py", "utility", "--checkpoint", last, "--measures+", "named_objects").stdout
    assert "named_objects@10" in found
    assert "linear_top1" not in found, "shards have no labels"
    assert (
        "no labels to probe; name others by --measures"
        in run("evaluate.py", "utility", "--checkpoint", last, code=1).stderr
    )
