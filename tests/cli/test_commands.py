"""The commands as users run them, in processes of their own, tiny."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from dejavu_lightning.data import Scenes, SplitManifest
from tests.commands import ROOT, command, history, run
from tests.forks import KILL


@pytest.mark.slow
def test_pair_leaves_everything_and_evaluate_repeats_its_numbers(config, tmp_path):
    out = tmp_path / "out"
    printed = run("train.py", "pair", "--config", config, "--output", out).stdout
    for row in ("target accuracy", "net déjà vu score", "control, déjà vu score", "memorized", "symmetric"):
        assert row in printed
    for role in ("target", "reference"):
        assert {f"epoch=000{n}.ckpt" for n in range(3)} <= {p.name for p in (out / role / "checkpoints").iterdir()}
        assert (out / role / "config.yaml").is_file()
        assert SplitManifest.load(out / role / "splits.parquet").members["A"]
        assert "train/loss" in (out / role / "metrics.csv").read_text()
    for figure in ("curve", "partition"):
        assert (out / "comparison" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    comparison = pq.read_table(out / "comparison" / "comparison.parquet")
    assert comparison.num_rows == 40
    metrics = json.loads((out / "comparison" / "metrics.json").read_text())["metrics"]
    # The offline evaluator and the callback agree to the last bit, metric by metric.
    during = history(out / "target")[-1]
    compared = {name: float(value) for name, value in during.items() if name != "epoch"}
    assert len(compared) > 30
    assert compared == {name: metrics[name] for name in compared}

    earlier = tmp_path / "earlier"
    checkpoints = [out / role / "checkpoints" / "epoch=0001.ckpt" for role in ("target", "reference")]
    run("evaluate.py", "memorization", "--target", checkpoints[0], "--reference", checkpoints[1], "--output", earlier)
    metrics = json.loads((earlier / "metrics.json").read_text())["metrics"]
    assert metrics["score"] == float(history(out / "target")[1]["score"])

    later = out / "reference" / "checkpoints" / "last.ckpt"
    unequal = ["memorization", "--target", checkpoints[0], "--reference", later]
    told = run("evaluate.py", *unequal, code=1).stderr
    assert re.search(r"target \S+1.ckpt was saved after 1 epochs, the reference \S+last.ckpt after 2 epochs", told)
    assert "Name checkpoints of one epoch" in told
    run("evaluate.py", *unequal, "--allow_unequal_epochs", "true")

    scenes, tags = Scenes(300), tmp_path / "tags.jsonl"
    told = zip(scenes.ids, scenes.labels.tolist(), strict=True)
    tags.write_text(
        "\n".join(json.dumps({"id": identifier, "objects": [f"kind {label}"]}) for identifier, label in told)
    )
    naive_bayes = ["--reference", "NaiveBayes", "--reference.tags", tags]
    product = {"tags": str(tags), "form": "product"}
    also = {"product": {"class_path": "NaiveBayes", "init_args": product}, "second": str(checkpoints[1])}
    (tmp_path / "also.yaml").write_text(yaml.safe_dump(also))
    given = [
        "--target",
        checkpoints[0],
        *naive_bayes,
        "--extra_references",
        tmp_path / "also.yaml",
        "--output",
        tmp_path / "nb",
    ]
    printed = " ".join(run("evaluate.py", "memorization", *given).stdout.split())
    assert "epoch=0001.ckpt against NaiveBayes" in printed
    assert "agreement of the references" in printed
    for file in ("agreement.csv", "ranking.csv", "confidence.png", "product/comparison.parquet"):
        assert (tmp_path / "nb" / file).is_file()
    found = json.loads((tmp_path / "nb" / "metrics.json").read_text())["metrics"]
    assert found["reference_accuracy"] == 1
    assert found["target_accuracy"] == metrics["target_accuracy"]
    assert found["product/score"] == found["score"]
    assert found["agreement/NaiveBayes/product"] == 1
    # Beside others a second model gives what it gives alone.
    assert {name: found[f"second/{name}"] for name in ("score", "control_score", "net_score")} == {
        name: metrics[name] for name in ("score", "control_score", "net_score")
    }

    written = json.loads((tmp_path / "nb" / "metrics.json").read_text())
    assert [Path(word).name for word in written["command"].split()[1:3]] == ["evaluate.py", "memorization"]
    assert "--extra_references" in written["command"]
    assert set(written["preprocessing"]) == {"target", "second"}
    assert torch.__version__.startswith(written["versions"]["torch"])
    refused = run("evaluate.py", "memorization", *given, code=1).stderr
    assert "nb exists; name a new folder, or --overwrite true" in refused
    (tmp_path / "nb" / "stale.txt").touch()
    run("evaluate.py", "memorization", *given, "--overwrite", "true")
    assert not (tmp_path / "nb" / "stale.txt").exists()
    assert json.loads((tmp_path / "nb" / "metrics.json").read_text())["metrics"] == found
    other = [*given[:-1], tmp_path / "earlier" / "nothing"]
    other[-1].mkdir()
    assert (
        "holds no earlier evaluation"
        in run("evaluate.py", "memorization", *other, "--overwrite", "true", code=1).stderr
    )

    refused = run("train.py", "pair", "--config", config, "--output", out, code=1).stderr
    assert "exists. Name another with --output, or continue with --resume" in refused
    refused = run(
        "evaluate.py", "memorization", "--target", checkpoints[0], "--reference", checkpoints[0], code=1
    ).stderr
    assert "error:" in refused
    assert "trained on split 'A', like the target" in refused
    assert "Traceback" not in refused


@pytest.mark.slow
def test_without_a_checkout(config, tmp_path):
    """`python -m dejavu_lightning` from elsewhere, refusing a run folder that exists."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = ["fit", "--config", str(config)]
    words += ["--trainer.default_root_dir", str(tmp_path / "run"), "--trainer.max_epochs", "1"]
    real = [sys.executable, "-m", "dejavu_lightning", *words]
    done = subprocess.run(real, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = run("dejavu_lightning", *words, cwd=tmp_path, environment=environment, code=1)
    assert "exists and holds a run. Name another with" in again.stderr


def test_unknown_commands_and_help(tmp_path):
    assert "unknown command 'fti'; did you mean fit?" in run("train.py", "fti", code=1).stderr
    assert "measure what a checkpoint, or any published model, memorized" in run("evaluate.py", "--help").stdout


@pytest.mark.slow
def test_diverging_training_stops_with_advice(config, tmp_path):
    arguments = ("--trainer.default_root_dir", tmp_path / "run", "--model.optimizer.base_lr", "1e30")
    told = run("train.py", "fit", "--config", config, *arguments, code=1).stderr
    assert "error: the training loss is" in told
    assert "Lower the optimizer's learning rate" in told


# The larger pictures begin in the epoch in which the run is killed, or after it.
CHANGING = ("--data.resolutions", "{0: 16, 2: 24, 4: 32}")


@pytest.mark.slow
@pytest.mark.parametrize("pictures", [CHANGING, (*CHANGING, "--data.crop_from", "original")])
def test_a_killed_run_resumes_to_the_same_weights_and_curve(config, tmp_path, pictures):
    def given(folder, *more):
        options = ["--trainer.default_root_dir", folder, "--trainer.max_epochs", "6", "--data.num_workers", "1"]
        return "train.py", "fit", "--config", config, *options, *pictures, *more

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(*given(whole))
    process = subprocess.Popen(command(*given(broken)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not (broken / "checkpoints" / "epoch=0002.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(KILL)
    assert process.wait() == -signal.SIGKILL
    last = broken / "checkpoints" / "last.ckpt"
    run(*given(broken, "--ckpt_path", last))
    states = [
        torch.load(folder / "checkpoints" / "epoch=0006.ckpt", weights_only=True)["state_dict"]
        for folder in (whole, broken)
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert history(whole) == history(broken)
