"""Other people's training code, with at most five lines added: it trains as it did without them."""

import subprocess
import sys

import pytest

from tests.commands import ROOT

EXAMPLES = ["plain_pytorch", "lightly_vicreg", "solo_learn_style", "open_clip_loop", "hugging_face_trainer"]
ADDED = "# dejavu"


def run(script, folder):
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'examples')]}; exec({script!r})",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (loss,) = [line for line in done.stdout.splitlines() if line.startswith("final loss")]
    return loss, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_five_lines_measure_and_change_nothing(tmp_path, name):
    lines = (ROOT / "examples" / f"{name}.py").read_text().splitlines()
    assert f"python examples/{name}.py" in lines
    added = [line for line in lines if line.endswith(ADDED)]
    assert 1 <= len(added) <= 5
    loss, printed = run("\n".join(lines), tmp_path)
    assert "score" in printed or "ppg" in printed
    alone, silent = run("\n".join(line for line in lines if not line.endswith(ADDED)), tmp_path)
    assert "score" not in silent
    assert "ppg" not in silent
    assert alone == loss
