"""Usage lines name what was typed."""

import subprocess
import sys

import pytest

from tests.commands import ROOT

SCRIPT = "import sys; sys.argv[0] = {!r}; from dejavu_lightning.cli import main; main(sys.argv[1:])"


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("/usr/bin/dejavu-lightning", "dejavu-lightning"),
        ("/usr/lib/dejavu_lightning/__main__.py", "python -m dejavu_lightning"),
        ("train.py", "python train.py"),
    ],
)
def test_usage_names_what_was_typed(name, typed):
    for arguments, told in (([], f"usage: {typed} COMMAND ..."), (["report", "--help"], f"usage: {typed} report ")):
        command = [sys.executable, "-c", SCRIPT.format(name), *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(told), done.stdout[:200]
