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
# Behind the last line of an example: a digest of the weights of each network that there is.
WEIGHTS = """
import gc, hashlib, torch
for network in [one for one in gc.get_objects() if issubclass(type(one), torch.nn.Module)]:
    values = [value.detach().cpu().numpy().tobytes() for value in network.state_dict().values() if value.numel()]
    if len(values) > 1:
        print("weights", hashlib.sha256(b"".join(values)).hexdigest())
"""


def run(script, folder):
    folder.mkdir()
    (folder / "example.py").write_text(script + WEIGHTS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "examples")])}
    done = commands.run(folder / "example.py", cwd=folder, environment=environment)
    (loss,) = [line for line in done.stdout.splitlines() if line.startswith("final loss")]
    weights = {line for line in done.stdout.splitlines() if line.startswith("weights")}
    curves = [path.read_text() for path in folder.rglob("history.csv")]
    return loss, weights, "score" in done.stdout + "".join(curves) or "ppg" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_few_lines_measure_and_change_nothing(tmp_path, name):
    """Without the lines that measure, and with those that split the data, weights and loss are the same, bit by bit."""
    lines = (ROOT / "examples" / f"{name}.py").read_text().splitlines()
    assert f"python examples/{name}.py" in lines
    added = [line for line in lines if line.endswith((MEASURES, SPLITS))]
    assert len(added) <= 6
    loss, weights, measured = run("\n".join(lines), tmp_path / "measured")
    assert measured
    alone, trained, measured = run("\n".join(line for line in lines if not line.endswith(MEASURES)), tmp_path / "alone")
    assert not measured
    assert alone == loss
    assert trained
    assert trained <= weights
    run("\n".join(line for line in lines if not line.endswith((MEASURES, SPLITS))), tmp_path / "without")
