"""The short help: its options exist, its configs too, and it takes no torch."""

import re
import subprocess
import sys
from contextlib import suppress

import pytest

from dejavu_lightning.cli import COMMANDS, main
from dejavu_lightning.cli.configs import find_config
from dejavu_lightning.cli.terminal.short_help import HELP
from tests.commands import ROOT


def shown(capsys, *words):
    with suppress(SystemExit):
        main(words)
    return capsys.readouterr().out


@pytest.mark.parametrize("command", HELP)
def test_help_is_short_and_true(command, capsys):
    short = shown(capsys, command, "--help")
    assert short.splitlines()[0].split(" ", 3)[0] == "usage:"
    assert len(short.splitlines()) <= 20
    assert len(HELP[command].examples) == 3
    full = shown(capsys, command, "--help.all")
    full += shown(capsys, "fit", "--help.all") if command == "pair" else ""
    words = " ".join((*HELP[command].options, *HELP[command].examples))
    asked = {word.removesuffix("+") for word in re.findall(r"--[\w.+-]+", words)}
    # Options of a class are listed where the class is named.
    asked = {word for word in asked if not re.match(r"--(data|target)\.(?!help)", word)}
    assert len(asked) >= 3
    assert not {word for word in asked if not re.search(rf"{re.escape(word)}\b", full)}
    for name in re.findall(r"configs/\S+yaml", words):
        assert find_config(name)


def test_the_commands_and_a_first_one(capsys):
    told = shown(capsys)
    assert told == shown(capsys, "--help")
    assert all(f"  {name:14}{line}" in told for name, line in COMMANDS.items())
    assert told.splitlines()[-1].endswith("pair --config configs/quickstart.yaml")
    with pytest.raises(SystemExit, match="unknown command 'fti'; did you mean fit"):
        main(["fti"])
    with pytest.raises(SystemExit, match="unknown command 'x'; choose from fit, pair"):
        main(["x"])


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"]], ids=" ".join)
def test_help_takes_no_torch(arguments):
    code = f"import sys; from dejavu_lightning.cli import main; main({arguments}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
