"""All variants of a study are judged on the same samples, where one of them stops early."""

import csv
import json

import pytest
import yaml

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.memorization import Records
from dejavu_lightning.runs.utility_samples import read_utility
from dejavu_lightning.studies import plan_runs, read_study
from tests.cli.evaluation.test_leave_out import STOPPING, UTILITY
from tests.commands import TINY, run


@pytest.fixture
def write(tmp_path):
    base, stop = tmp_path / "base.yaml", tmp_path / "stop.yaml"
    trainer = TINY["trainer"] | {"max_epochs": 1, "callbacks": [UTILITY]}
    base.write_text(yaml.safe_dump(TINY | {"trainer": trainer}))
    stop.write_text(yaml.safe_dump({"trainer": {"callbacks+": [STOPPING]}}))

    def written(**variants):
        file = tmp_path / "study.yaml"
        told = {"name": "tiny", "base": [str(base)], "default": "plain", "seeds": [3], "utility": "knn_top1"}
        file.write_text(yaml.safe_dump({**told, "variants": {"plain": {}, **variants}}, sort_keys=False))
        return file

    return written


def shares(file, folder):
    return [planned.leave_out for planned in plan_runs(read_study(file), folder, str)]


def test_the_share_is_found_wherever_the_rule_is_configured(write, tmp_path):
    stopped = {"target_configs": [str(tmp_path / "stop.yaml")]}
    assert shares(write(), tmp_path) == [None]
    assert shares(write(stopped=stopped), tmp_path) == [0.4, 0.4]
    assert shares(write(stopped={"configs": stopped["target_configs"]}), tmp_path) == [0.4, 0.4]
    default = {"class_path": "MemorizationEarlyStopping"}
    assert shares(write(stopped={"overrides": {"trainer.callbacks": [default]}}), tmp_path) == [0.5, 0.5]
    both = write(stopped=stopped, longer={"overrides": {"trainer.callbacks": [default]}})
    assert shares(both, tmp_path) == [0.5] * 3
    assert plan_runs(read_study(both), tmp_path, str)[0].arguments[-2:] == ["--leave_out", "0.5"]
    assert "--leave_out" not in plan_runs(read_study(write()), tmp_path, str)[0].arguments


@pytest.mark.slow
def test_a_variant_that_stops_early_is_judged_as_the_others_are(write, tmp_path):
    output = tmp_path / "out"
    run("train.py", "study", "--config", write(), "--output", output)
    folder = output / "plain" / "seed=3"
    metrics = folder / "comparison" / "metrics.json"
    assert json.loads(metrics.read_text())["left_out"] is None
    trained = (folder / "target" / "checkpoints" / "last.ckpt").stat().st_mtime_ns

    file = write(stopped={"target_configs": [str(tmp_path / "stop.yaml")]})
    run("train.py", "study", "--config", file, "--output", output)
    assert (folder / "target" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == trained
    judged = [Records.load(output / name / "seed=3/comparison/target.parquet").ids for name in ("plain", "stopped")]
    assert judged[0] == judged[1]
    assert not DecisionPart(0.4).decides(judged[0]).any()
    with (output / "table.csv").open() as opened:
        rows = {row["variant"]: row for row in csv.DictReader(opened)}
    for name in ("plain", "stopped"):
        utility = read_utility(output / name / "seed=3" / "target" / "utility", 1, DecisionPart(0.4))
        assert float(rows[name]["knn_top1"]) == pytest.approx(utility["knn_top1"].value)
        assert utility["knn_top1"].value != read_utility(output / name / "seed=3/target/utility", 1)["knn_top1"].value
    assert (output / "report.html").is_file()
    finished = metrics.stat().st_mtime_ns
    run("train.py", "study", "--config", file, "--output", output)
    assert metrics.stat().st_mtime_ns == finished
