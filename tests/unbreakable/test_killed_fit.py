"""A fit that is killed, again and again, ends bitwise as one that was left alone."""

import random
import re
import signal

import pytest

from tests.cli.test_requeue import SLURM
from tests.unbreakable.moments import Moment
from tests.unbreakable.runs import contents, continued, differing, write_config, write_pictures

# What must be hit while it is written, and as it takes its name; the seed chooses among the rest.
MUST = ("index.parquet", "epoch=0001.ckpt", "last.ckpt", "target.parquet", "samples.parquet", "history.csv", "curve.")
KILLS, LATER = 16, 4  # 20 together, the latter just after batches


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """A run that was left alone: its folder, its config, and the moments of it."""
    folder = tmp_path_factory.mktemp("whole")
    write_pictures(folder / "data")
    config = write_config(folder / "tiny.yaml", folder / "data", folder / "index.parquet")
    Fit(server, config, folder / "run").ends()
    return folder, config, (folder / "run.moments").read_text().splitlines()


class Fit:
    def __init__(self, server, config, folder, *options, environment=()):
        self.server, self.folder, self.log = server, folder, folder.with_suffix(".log")
        self.arguments = ["fit", "--config", config, "--trainer.default_root_dir", folder, *options]
        self.environment, self.record = environment, folder.with_suffix(".moments")

    def start(self, **how):
        """Start it, or go on; how it ended."""
        again = continued(self.folder)
        return self.server.run(*self.arguments, *again, log=self.log, environment=self.environment, **how)

    def hit(self, moment, code=-signal.SIGKILL):
        assert self.start(moment=moment) == code, (moment, self.log.read_text()[-3000:])

    def ends(self):
        assert self.start(record=self.record) == 0, self.log.read_text()[-3000:]


def moment_of(line, root):
    """A line of a record as a moment; files are told by where they lie in the run, or beside it."""
    call, _, name = line.partition(" ")
    name = name.replace(f"{root}/run/", "").replace(f"{root}/", "")
    if name.startswith(".index"):
        return Moment(call, r"/\.index\.parquet\.\w+\.partial$")
    return Moment(call, f"(^|/){re.escape(name)}$")


def chosen(lines, count, seed):
    """Positions of moments, in order: of each file that must be hit one of each kind, and others."""
    draw = random.Random(seed)
    found = set()
    for call, name in ((call, name) for call in ("half", "replace") for name in MUST):
        found.add(draw.choice([at for at, line in enumerate(lines) if line.startswith(call) and name in line]))
    while len(found) < count:
        found.add(draw.randrange(len(lines)))
    return sorted(found)


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_killed_at_chosen_moments_it_ends_like_one_that_was_left_alone(half, whole, server, tmp_path):
    folder, _, lines = whole
    config = write_config(tmp_path / "tiny.yaml", folder / "data", tmp_path / "index.parquet")
    fit = Fit(server, config, tmp_path / "run")
    for at in chosen(lines, KILLS, seed=1)[half::2]:
        fit.hit(moment_of(lines[at], folder))
    fit.ends()
    assert differing(contents(folder / "run"), contents(tmp_path / "run")) == []
    assert not list((tmp_path / "run").rglob(".*.partial"))
    assert (tmp_path / "index.parquet").read_bytes() == (folder / "index.parquet").read_bytes()


@pytest.mark.slow
def test_killed_just_after_batches_it_ends_like_one_that_was_left_alone(whole, server, tmp_path):
    """In the midst of a step, or of the measurement that follows the last one of an epoch."""
    folder, config, lines = whole
    fit, draw = Fit(server, config, tmp_path / "run"), random.Random(2)
    batches = [line for line in lines if line.startswith("batch")]
    for at in sorted(draw.sample(range(len(batches)), LATER)):
        fit.hit(moment_of(batches[at], folder)._replace(later=draw.uniform(0.001, 0.01)))
    fit.ends()
    assert differing(contents(folder / "run"), contents(tmp_path / "run")) == []


@pytest.mark.slow
def test_sigterm_ends_it_where_it_can_go_on(whole, server, tmp_path):
    folder, config, _ = whole
    fit = Fit(server, config, tmp_path / "run")
    for batch in ("0/0", "1/1", "2/0"):
        fit.hit(Moment("batch", f"^{batch}$", signal.SIGTERM), code=1)
    fit.ends()
    assert differing(contents(folder / "run"), contents(tmp_path / "run")) == []


@pytest.mark.slow
def test_requeued_and_killed_it_ends_like_one_that_was_left_alone(whole, server, tmp_path):
    folder, config, _ = whole
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text("#!/bin/sh\n")
    scontrol.chmod(0o755)
    environment = {**SLURM, "PATH": f"{scontrol.parent}:/usr/bin:/bin"}
    fit = Fit(server, config, tmp_path / "run", environment=environment)
    run = ["fit", "--config", config, "--trainer.default_root_dir", tmp_path / "run"]  # SLURM starts the same again
    moments = {
        Moment("batch", "^1/0$", signal.SIGUSR1): 1,
        Moment("half", r"\.epoch=0002\.ckpt\.partial$"): -signal.SIGKILL,
        None: 0,
    }
    for moment, code in moments.items():
        ended = server.run(*run, log=fit.log, moment=moment, environment=environment)
        assert ended == code, (moment, fit.log.read_text()[-3000:])
        assert (tmp_path / "run" / "hpc_ckpt_1.ckpt").is_file() == (code != 0)  # goes when the training is complete
    assert differing(contents(folder / "run"), contents(tmp_path / "run")) == []
