"""A memorization test from outside the package runs through monitor, evaluator and report, as docs/design.md says."""

import os

import pytest
import yaml

from tests import commands
from tests.commands import ROOT, TINY, history

TOY = '''
from __future__ import annotations

import pyarrow as pa
from torch.nn.functional import cosine_similarity

from dejavu_lightning.embedding.embed import embed
from dejavu_lightning.memorization import (
    Attack, Comparison, Display, Encoder, MemorizationSets, Records, register_test
)
from dejavu_lightning.memorization.alignment import compare_alignment
from dejavu_lightning.memorization.display import Answers, TableRow


@register_test
class Mirror:
    """How like a model finds a picture and its mirror image."""

    name, headline = "mirror", "mirror_gap"
    display = Display(
        rows=(TableRow("mirror gap", "mirror_gap", True), TableRow("control", "control_mirror_gap", True)),
        answers=Answers("likeness", "likeness of mirror images"),
        gaps={"mirror_gap": "mirror gap"},
    )

    def check(self, encoder: Encoder) -> None:
        encoder.resolve()

    def prepare(self, encoder: Encoder, sets: MemorizationSets) -> Attack:
        return MirrorAttack(self, encoder, sets)

    @staticmethod
    def compare(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
        return compare_alignment(target, reference, paired, seed, column="likeness", metric="mirror_gap", sign=1)


class MirrorAttack:
    def __init__(self, test, encoder, sets):
        self.test, self.encoder, self.sets = test, encoder, sets
        self.settings = {"test": test.name}

    def on(self, encoder, sets):
        return MirrorAttack(self.test, encoder, sets)

    def __call__(self, dataset, role):
        def likeness(images):
            return cosine_similarity(self.encoder(images), self.encoder(images.flip(-1)))[:, None]

        found = embed(likeness, dataset, role, batch_size=20, num_workers=0)
        return Records(pa.table({"id": found.ids, "likeness": found.gather()[:, 0].numpy()}), self.settings)
'''


def run(folder, *arguments, code=0):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    done = commands.run("dejavu_lightning", *arguments, cwd=folder, code=code, environment=environment)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_test_of_one_s_own(tmp_path):
    (tmp_path / "mirror.py").write_text(TOY)
    config = tmp_path / "mirror.yaml"
    trainer = {**TINY["trainer"], "max_epochs": 1}
    memorization = {"test": {"class_path": "mirror.Mirror"}, "every_n_epochs": 1}
    config.write_text(yaml.safe_dump({**TINY, "trainer": trainer, "memorization": memorization}))
    told = run(tmp_path, "pair", "--config", config, "--output", tmp_path / "pair")
    assert "mirror gap" in told
    curve = history(tmp_path / "pair" / "target")
    assert [row["epoch"] for row in curve] == ["0.0", "1.0"]
    assert {"mirror_gap_low", "net_mirror_gap", "control_mirror_gap_high"} <= set(curve[-1])
    checkpoints = [tmp_path / "pair" / role / "checkpoints" / "epoch=0001.ckpt" for role in ("target", "reference")]
    again = run(tmp_path, "memorization", "--target", checkpoints[0], "--reference", checkpoints[1])
    row = next(line for line in again.splitlines() if "mirror gap" in line)
    assert f"{float(curve[-1]['mirror_gap']):+.3f}" in row
    report = ["report", tmp_path / "pair", "--output", tmp_path / "page.html"]
    assert "--import MODULE" in run(tmp_path, *report, code=1)
    run(tmp_path, *report, "--import", "mirror")
    assert "mirror gap" in (tmp_path / "page.html").read_text()
