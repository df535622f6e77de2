"""The demonstration, in full: an overfit model must score higher on its own split."""

import csv
import json
import subprocess
import sys

import pytest

from tests.commands import ROOT, run


@pytest.mark.slow
def test_the_quickstart_shows_memorization(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "train.py", "pair", "--config", "configs/quickstart.yaml", "--output", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((out / "comparison" / "metrics.json").read_text())["metrics"]
    assert metrics["score"] > 0.12
    assert metrics["score_low"] > 0
    assert abs(metrics["control_score"]) < 0.06
    with (out / "target" / "memorization" / "history.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows[0]["score_low"] <= 0 <= rows[0]["score_high"]
    assert rows[-1]["target_accuracy"] > rows[0]["target_accuracy"] + 0.1
    assert abs(rows[-1]["reference_accuracy"] - rows[0]["reference_accuracy"]) < 0.1
    for figure in ("curve", "partition", "gallery"):
        assert (out / "comparison" / f"{figure}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_clip_quickstart_shows_memorization_and_masking_lowers_it(tmp_path):
    found, utility = {}, {}
    for name, overlay in (("plain", []), ("masked", ["--config", "configs/mitigations/text_masking.yaml"])):
        out = tmp_path / name
        run("train.py", "pair", "--config", "configs/quickstart_clip.yaml", *overlay, "--output", out)
        found[name] = json.loads((out / "comparison" / "metrics.json").read_text())["metrics"]
        with (out / "target" / "utility" / "history.csv").open() as file:
            last = list(csv.DictReader(file))[-1]
        utility[name] = [float(last["named_objects@10"]), float(last["zero_shot_top1"])]
        for metric in ("control_ppg", "control_prg"):
            assert abs(found[name][metric]) < 0.12
        for figure in ("curve", "gallery"):
            assert (out / "comparison" / f"{figure}.png").stat().st_size > 10_000
    assert found["plain"]["ppg"] > 0.3
    assert found["plain"]["prg"] > 0.3
    assert found["masked"]["ppg"] < found["plain"]["ppg"] - 0.08
    assert min(utility["plain"]) > 0.2  # chance is 1 / 8
    assert all(masked >= plain for masked, plain in zip(utility["masked"], utility["plain"], strict=True))
