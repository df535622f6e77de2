"""Notices that nobody can act on are passed over inside commands; what users' own code says stays."""

import logging
import os
import re
import subprocess
import sys
import warnings

import pytest
import yaml

from dejavu_lightning.cli.terminal.quiet import LOGS, OUTSIDE_A_JOB, OWN_MODELS, WARNINGS, pass_over, quiet
from tests.commands import ROOT, TINY

WORKERS = "The 'train_dataloader' does not have many workers which may be a bottleneck"
TIP = "💡 Tip: For seamless cloud logging, try installing something"
SYNC = "It is recommended to use `self.log('train/loss', ..., sync_dist=True)` when"


def test_each_notice_has_a_reason_and_is_a_pattern():
    for notice in (*WARNINGS, *LOGS, *OWN_MODELS, OUTSIDE_A_JOB):
        assert notice.reason
        assert re.compile(notice.text)
        assert re.compile(notice.origin)


def test_only_these_warnings_and_only_inside():
    def warn():
        for module in ("lightning.pytorch.trainer", "mine"):
            for text in (WORKERS, SYNC, "mine alone"):
                warnings.warn_explicit(text, UserWarning, "file.py", 1, module=module)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            warn()
            for notice in OWN_MODELS:
                pass_over(notice)
            warn()
        inside = [str(warning.message) for warning in caught]
        warn()
    assert inside == [SYNC, "mine alone", WORKERS, SYNC, "mine alone", "mine alone", WORKERS, SYNC, "mine alone"]
    assert len(caught) - len(inside) == 6


@pytest.mark.parametrize(("job", "told"), [(None, 0), ("17", 1)])
def test_srun_is_recalled_inside_a_job_alone(job, told, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if job:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    text = "The `srun` command is available on your system but is not used. HINT: If your intention is to run"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            warnings.warn_explicit(
                text, UserWarning, "file.py", 1, module="lightning.fabric.plugins.environments.slurm"
            )
    assert len(caught) == told


def test_only_these_lines_of_a_logger(monkeypatch):
    told = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    own, top = logging.getLogger("mine"), logging.getLogger()
    for one in (logger, own, top):
        monkeypatch.setattr(one, "handlers", [handler])
        monkeypatch.setattr(one, "propagate", False)
        monkeypatch.setattr(one, "level", logging.INFO)
    with quiet():
        logger.info(TIP)
        logger.info("memorization: 40 records")
        own.info(TIP)
        logging.warning("No pretrained weights loaded for model 'x'. Model initialized randomly.")
    logger.info(TIP)
    assert told == ["memorization: 40 records", TIP, TIP]


OWN = """
import warnings
from lightning.pytorch import Callback

class Warner(Callback):
    def on_train_start(self, trainer, pl_module):
        warnings.warn("a warning of my own")
"""
NOISE = re.compile(r"\btip\b|deprecat|LeafSpec|weights_only|sync_dist|have many workers|\bTPU\b", re.IGNORECASE)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["pair", "two processes"])
def test_real_runs_are_quiet(command, tmp_path):
    (tmp_path / "own_code.py").write_text(OWN)
    trainer = {**TINY["trainer"], "callbacks": [{"class_path": "own_code.Warner"}]}
    trainer.pop("enable_progress_bar")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "trainer": trainer}))
    words = ["pair" if command == "pair" else "fit", "--config", str(tmp_path / "tiny.yaml")]
    words += ["--trainer.default_root_dir", str(tmp_path / "run")]
    if command == "two processes":
        words += ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "10"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    program = [sys.executable, "-m", "dejavu_lightning", *words]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [line for line in (done.stdout + done.stderr).splitlines() if "`srun`" not in line]
    own = [line for line in told if "a warning of my own" in line]
    assert own
    assert not [line for line in told if line not in own and ("Warning" in line or NOISE.search(line))]
    assert "━" not in done.stderr
    assert "\r" not in done.stderr
