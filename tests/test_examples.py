"""Other people's training code, with at most six lines added: it trains as it did without those that measure."""

import os

import pytest

from tests import commands
from tests.commands import ROOT

EXAMPLES = [
    "plain_pytorch",
    "lightly_vicreg",
    "solo_learn_style",
    "stable_pretraining_style",
    "open_clip_loop",
    "hugging_face_trainer",
]
MEASURES, SPLITS = "# dejavu", "# dejavu, the split"


def run(script, folder):
    folder.mkdir()
    (folder / "example.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "examples")])}
    done = commands.run(folder / "example.py", cwd=folder, environment=environment)
    (loss,) = [line for line in done.stdout.splitlines() if line.startswith("final loss")]
    curves = [path.read_text() for path in folder.rglob("history.csv")]
    return loss, "score" in done.stdout + "".join(curves) or "ppg" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_few_lines_measure_and_change_nothing(tmp_path, name):
    """Without the lines that measure, and with those that split the data, the loss is the same to the last digit."""
    lines = (ROOT / "examples" / f"{name}.py").read_text().splitlines()
    assert f"python examples/{name}.py" in lines
    added = [line for line in lines if line.endswith((MEASURES, SPLITS))]
    assert len(added) <= 6
    loss, measured = run("\n".join(lines), tmp_path / "measured")
    assert measured
    alone, measured = run("\n".join(line for line in lines if not line.endswith(MEASURES)), tmp_path / "alone")
    assert not measured
    assert alone == loss
    run("\n".join(line for line in lines if not line.endswith((MEASURES, SPLITS))), tmp_path / "without")
