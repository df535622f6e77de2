"""View and pair alignment as users run them: pair, evaluate, study, report, two processes."""

import csv
import json

import pytest
import yaml

from tests.captions import write_clip_config
from tests.commands import ROOT, TINY, history, run

VIEWS = ["--memorization.test.views", "2"]


@pytest.mark.slow
def test_view_alignment_through_pair_evaluation_and_report(config, tmp_path):
    overlay = ROOT / "configs" / "tests" / "view_alignment.yaml"
    given = ["--config", config, "--config", overlay, *VIEWS, "--trainer.max_epochs", "1"]
    printed = run("train.py", "pair", *given, "--output", tmp_path / "views").stdout
    for row in ("SSLMem divided by its range", "net SSLMem", "symmetric SSLMem", "control, SSLMem"):
        assert row in printed, row
    curve = history(tmp_path / "views" / "target")
    assert {"sslmem_low", "net_sslmem_high", "control_sslmem", "sslmem_scaled"} <= set(curve[-1])
    comparison = tmp_path / "views" / "comparison"
    for figure in ("curve", "gallery", "sslmem"):
        assert (comparison / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((comparison / "metrics.json").read_text())
    assert found["metrics"]["net_sslmem"] == float(curve[-1]["net_sslmem"])
    with (comparison / "ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    ranked = [float(row["memorization"]) for row in rows]
    assert ranked == sorted(ranked, reverse=True)
    # Another number of views than the config's, in both directions of the average.
    checkpoints = [tmp_path / "views" / role / "checkpoints" / "last.ckpt" for role in ("target", "reference")]
    given = ["--target", checkpoints[0], "--reference", checkpoints[1], "--symmetric", "true"]
    again = ["--test", "ViewAlignment", "--test.views", "3", "--output", tmp_path / "again"]
    run("evaluate.py", "memorization", *given, *again)
    other = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert other["settings"]["views"] == 3
    assert other["metrics"]["symmetric_sslmem"] != found["metrics"]["symmetric_sslmem"]
    run("evaluate.py", "report", tmp_path / "views", "--output", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "SSLMem of each record" in page
    assert "Which classes are memorized most" not in page
    refused = run("evaluate.py", "memorization", *given, "--test", "ViewAlignment", "--k", "5", code=1)
    assert "--k is of the config's test; of another one give --test.k" in refused.stderr


@pytest.mark.slow
def test_pair_alignment_through_a_study(tmp_path):
    overlay = str(ROOT / "configs" / "tests" / "pair_alignment.yaml")
    settings = {"trainer.max_epochs": 1, "memorization.test.init_args.views": 2}
    study = {
        "name": "pairs",
        "base": [str(write_clip_config(tmp_path)), overlay],
        "default": "plain",
        "seeds": [0],
        "variants": {
            "plain": {"overrides": settings},
            "masked": {"overrides": {**settings, "model.text_masking": 0.5}},
        },
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    run("train.py", "study", "--config", tmp_path / "study.yaml", "--output", tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "study.json").read_text())
    assert facts["headline"] == "net_clipmem"  # the net value of the test's, where the study names none
    with (tmp_path / "out" / "table.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    measured = json.loads((tmp_path / "out" / "plain" / "seed=0" / "comparison" / "metrics.json").read_text())
    for name in ("net_clipmem", "net_clipmem_p_value", "clipmem", "control_clipmem"):
        assert float(rows["plain"][name]) == measured["metrics"][name]
    assert rows["masked"]["difference_interval"] == "records"
    assert "CLIPMem of each record" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["view", "pair"])
def test_two_processes_of_a_trainer_measure_as_one(name, tmp_path):
    if name == "view":
        config = tmp_path / "tiny.yaml"
        config.write_text(yaml.safe_dump(TINY))
    else:
        config = write_clip_config(tmp_path)
    given = ["--config", config, "--config", f"configs/tests/{name}_alignment.yaml", *VIEWS]
    given += ["--trainer.max_epochs", "1", "--trainer.strategy", "ddp"]
    rows = []
    for devices in (1, 2):
        where = ["--trainer.devices", devices, "--trainer.default_root_dir", tmp_path / str(devices)]
        run("train.py", "fit", *given, *where)
        rows.append(history(tmp_path / str(devices)))
    # The untrained weights are the same, so every number is.
    assert rows[0][0] == rows[1][0]
    assert len(rows[0]) == len(rows[1]) == 2
