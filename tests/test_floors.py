"""`.ci/floors` with a stand-in for uv: which sets it makes, where, and what it says of their tests."""

import os
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
VERSION = ".".join(map(str, sys.version_info[:2]))
UV = """#!/usr/bin/env bash
echo "uv $*" >> "$CALLS"
case "$1 $2" in
    "venv --quiet") mkdir -p "${@: -1}/bin" && cp "$STAND_IN/python" "${@: -1}/bin/python" ;;
    "pip freeze") echo torch==0.0 ;;
    "pip install") [ -z "${REFUSED:-}" ] ;;
esac
"""
PYTHON = """#!/usr/bin/env bash
echo "python $*" >> "$CALLS"
[ "$1" = - ] || exit "${TESTS:-0}"
cat > "$STAND_IN/check.py"
"""


@pytest.fixture
def floors(tmp_path):
    stand_in = tmp_path / "bin"
    stand_in.mkdir()
    for name, text in (("uv", UV), ("python", PYTHON)):
        (stand_in / name).write_text(text)
        (stand_in / name).chmod(0o755)
    (stand_in / f"python{VERSION}").symlink_to(sys.executable)

    def run(*words, **variables):
        known = {"PATH": f"{stand_in}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls"), "STAND_IN": str(stand_in)}
        known |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONS": VERSION}
        done = subprocess.run(
            [ROOT / ".ci" / "floors", *words], env=known | variables, capture_output=True, text=True, check=False
        )
        calls = tmp_path / "calls"
        return done, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_both_sets_are_made_and_tested(floors, tmp_path):
    done, calls = floors("tests/core", "-x")
    assert done.returncode == 0, done.stderr
    resolutions = [call.split("--resolution ")[1] for call in calls if "--resolution" in call]
    assert resolutions == ["lowest-direct .[test]", "highest .[test]"]
    assert [call for call in calls if call.startswith("python -m")] == ["python -m pytest tests/core -x"] * 2
    assert calls.count("python -") == 1  # floors are checked of the oldest set alone
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "calls"}  # nothing is left


@pytest.mark.parametrize("variables", [{"TESTS": "1"}, {"REFUSED": "yes"}])
def test_a_set_that_fails_is_named_and_the_others_go_on(floors, variables):
    done, _ = floors(**variables)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        f"failed: oldest on Python {VERSION}",
        f"failed: newest on Python {VERSION}",
    ]


def test_what_it_cannot_do_is_told(floors):
    done, calls = floors(SETS="older")
    assert (done.returncode, done.stderr) == (2, "SETS must be of oldest and newest; got older\n")
    assert calls == []
    done, _ = floors(PYTHONS="3.1")
    assert (done.returncode, done.stderr) == (1, "no Python 3.1, neither on the PATH nor of pyenv\n")


def test_pythons_of_pyenv_are_found(floors, tmp_path):
    for patch in ("9", "10"):
        folder = tmp_path / "pyenv" / "versions" / f"{VERSION}.{patch}" / "bin"
        folder.mkdir(parents=True)
        (folder / "python").symlink_to(sys.executable)
    shim = tmp_path / "bin" / f"python{VERSION}"  # pyenv's, of a version that is not chosen
    shim.unlink()
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    done, calls = floors(SETS="newest", PYENV_ROOT=str(tmp_path / "pyenv"))
    assert done.returncode == 0, done.stderr
    assert f"/pyenv/versions/{VERSION}.10/bin/python" in calls[0]


@pytest.mark.parametrize(("have", "told"), [("2.6.0+cu124", ""), ("2.7.0", "raise the floor to it")])
def test_a_floor_out_of_reach_is_told(floors, tmp_path, have, told):
    floors(SETS="oldest")
    script = (tmp_path / "bin" / "check.py").read_text()
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["torch>=2.6"]\n[project.optional-dependencies]\ntest = ["types-pyyaml"]\n'
    )
    stubbed = f"import importlib.metadata\nimportlib.metadata.version = lambda name: {have!r}\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", stubbed], cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert (done.returncode == 0) == (told == "")
    assert told in done.stderr


def test_every_dependency_has_a_floor():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    loose = [line for line in lines if not line.startswith("dejavu-lightning[") and Requirement(line).specifier == ""]
    assert loose == []
    assert all({each.operator for each in Requirement(line).specifier} <= {">="} for line in lines)
