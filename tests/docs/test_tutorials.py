"""The tutorials, to the letter: their files are written, their commands run, and what they promise is there."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.forks import ROOT, interpreter

PAGES = ROOT / "docs" / "tutorials"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.M | re.S)
FILE = re.compile(r"# (\S+\.(?:py|yaml))\n")


def steps(text):
    """Blocks that open with the name of a file are written to it; commands of the others are run."""
    for language, block in BLOCK.findall(text):
        named = FILE.match(block)
        if named:
            yield f"mkdir -p \"$(dirname {named[1]})\"\ncat > {named[1]} <<'END_OF_FILE'\n{block}END_OF_FILE\n"
        elif language == "bash":
            yield block


def checkout(folder):
    """A folder with what the tutorials take from a checkout, and the environment of an installed package."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "docs" / "tutorials").mkdir(parents=True)
    (folder / "bin").mkdir()
    command = folder / "bin" / "dejavu-lightning"
    command.write_text(f'#!/bin/sh\nexec {interpreter()} -m dejavu_lightning "$@"\n')
    command.chmod(0o755)
    (folder / "bin" / "python").symlink_to(interpreter())
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def followed(page, folder):
    """What the page's steps leave."""
    environment = checkout(folder)
    for step in steps((PAGES / page).read_text()):
        command = ["bash", "-e", "-c", step]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, step + done.stdout[-2000:] + done.stderr[-4000:]
    return folder / "tutorial"


def executed(page, folder):
    """What the notebook leaves, run in the folder that it lies in."""
    environment = checkout(folder)
    notebook = nbformat.read(PAGES / page, as_version=4)
    place = {"metadata": {"path": str(folder / "docs" / "tutorials")}}
    NotebookClient(notebook, timeout=None, resources=place).execute(env=environment)  # raises what a cell does
    return folder / "tutorial"


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


def rows(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_steps_are_found():
    page = "# Page\n\n```bash\necho 1\n```\n\n```\noutput\n```\n\n"
    page += "```python\n# a/b.py\nx = 1\n```\n\n```python\nx\n```\n"
    run, write = steps(page)
    assert run == "echo 1\n"
    assert "cat > a/b.py" in write
    assert "# a/b.py\nx = 1\n" in write


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.iterdir()))
def test_every_tutorial_is_run(page):
    """Those that are not are the list, and what the README's own quickstart runs."""
    assert page in {"index.md", "a_first_run.md"} or f'"{page}"' in Path(__file__).read_text()


@pytest.mark.slow
def test_clip_with_masking(tmp_path):
    home = followed("clip_with_masking.md", tmp_path)
    plain, masked = (metrics(home / name / "comparison") for name in ("plain", "masked"))
    assert plain["net_ppg_low"] > 0
    assert masked["ppg"] < plain["ppg"]
    for figure in ("curve", "gallery"):
        assert (home / "plain" / "comparison" / f"{figure}.png").stat().st_size > 10_000
    assert (home / "masking.html").stat().st_size > 100_000


@pytest.mark.slow
def test_callback_in_lightly(tmp_path):
    folder = followed("callback_in_lightly.md", tmp_path) / "lightly" / "memorization"
    first, *_, last = rows(folder / "history.csv")
    assert float(first["score_low"]) < 0 < float(first["score_high"])
    assert float(last["score_low"]) > 0
    assert float(last["target_accuracy"]) > float(first["target_accuracy"]) + 0.1
    for figure in ("curve", "gallery"):
        assert (folder / f"{figure}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_audit_a_checkpoint(tmp_path):
    home = executed("audit_a_checkpoint.ipynb", tmp_path)
    alone, pair = metrics(home / "audit_held_out"), metrics(home / "audit")
    assert alone["target_accuracy"] == pair["target_accuracy"] > alone["reference_accuracy"]
    assert pair["score_low"] > 0
    assert pair["net_score"] == pytest.approx(pair["score"] - pair["control_score"])
    assert pair["net_score"] > 0
    for figure in ("gallery", "confidence"):
        assert (home / "audit" / f"{figure}.png").stat().st_size > 10_000
    assert len(rows(home / "audit" / "ranking.csv")) == pair["records"]
    assert (home / "audit.html").stat().st_size > 100_000


@pytest.mark.slow
def test_mitigation_study(tmp_path):
    home = followed("mitigation_study.md", tmp_path)
    table = {row["variant"]: row for row in rows(home / "study" / "table.csv")}
    assert list(table) == ["default", "text_masking", "temperature"]
    assert float(table["default"]["net_ppg"]) > 0
    assert float(table["text_masking"]["difference"]) < 0
    assert (home / "study" / "report.html").stat().st_size > 100_000
