"""A study and a run of two processes that are killed, again and again, end bitwise as those that were left alone."""

import random
import shutil
import signal

import pytest
import yaml

from tests.unbreakable.runs import contents, differing, write_config, write_pictures
from tests.unbreakable.test_killed_fit import Fit, moment_of

STUDY = {"name": "tiny", "seeds": [0], "default": "plain", "variants": {"plain": {}}}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder / "data")
    return folder


def small(pictures, **trainer):
    """Of one epoch, and without probes."""
    config = write_config(pictures / "tiny.yaml", pictures / "data", pictures / "index.parquet", utility=False)
    content = yaml.safe_load(config.read_text())
    content["trainer"] |= trainer
    config.write_text(yaml.safe_dump(content))
    return config


def spread_over(lines, count, seed):
    """Positions of so many moments in order, one in each equal part of the run."""
    draw, part = random.Random(seed), len(lines) / count
    return [min(len(lines) - 1, int(part * (at + draw.random()))) for at in range(count)]


@pytest.mark.slow
def test_a_study_killed_ten_times_ends_like_one_that_was_left_alone(pictures, server, tmp_path):
    config, file = small(pictures, max_epochs=1), tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**STUDY, "base": [str(config)]}))
    log, record = tmp_path / "log", tmp_path / "moments"

    def start(name, **how):
        return server.run("study", "--config", file, "--output", tmp_path / name, log=log, **how)

    assert start("whole", record=record) == 0, told(tmp_path / "whole", log)
    lines = [line.replace("/whole/", "/run/") for line in record.read_text().splitlines() if "/whole/" in line]
    for at in spread_over(lines, 10, seed=3):
        assert start("run", moment=moment_of(lines[at], tmp_path)) == -signal.SIGKILL, (lines[at], told(tmp_path, log))
    assert start("run") == 0, told(tmp_path / "run", log)
    assert differing(contents(tmp_path / "whole"), contents(tmp_path / "run")) == []


def told(folder, log):
    return "\n".join(file.read_text()[-2000:] for file in [log, *folder.rglob("log.txt")])


@pytest.mark.slow
def test_two_processes_killed_ten_times_end_like_those_that_were_left_alone(pictures, server, tmp_path):
    config = small(pictures, max_epochs=2, devices=2, strategy="ddp")
    whole = Fit(server, config, tmp_path / "run")
    whole.ends()
    shutil.move(tmp_path / "run", tmp_path / "whole")
    lines = [line for line in whole.record.read_text().splitlines() if "/run/" in line]
    fit = Fit(server, config, tmp_path / "run")
    for at in spread_over(lines, 10, seed=4):
        fit.hit(moment_of(lines[at], tmp_path))
    fit.ends()
    assert differing(contents(tmp_path / "whole"), contents(tmp_path / "run")) == []
