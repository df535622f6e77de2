"""Only ``runs/`` knows what files of a run folder are called."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NAMES = (
    "history.csv",
    "metrics.json",
    "metrics.csv",
    "classes.json",
    "agreement.csv",
    "ranking.csv",
    ".png",
    ".parquet",
    "epoch=",
    "seed=",
    "last.ckpt",
    "best.ckpt",
    "*.ckpt",
    "hpc_ckpt_",
    "config.yaml",
    "wandb_group",
    "run.json",
    "log.txt",
    "study.json",
    "table.csv",
)
SPLITS = ROOT / "dejavu_lightning" / "core" / "split_record.py"  # data write it, and import only core
GROUPS = ROOT / "dejavu_lightning" / "memorization" / "group_column.py"  # reads tables of users
DATA = (".png", ".parquet")  # pictures, their index, tables of captions, and the partition that a datamodule leaves


def texts(tree):
    """Line and text of what is neither docstring nor message; a message is text with a space in it."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            skipped |= {id(node.value)}
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            parts = [str(part.value) for part in node.values if isinstance(part, ast.Constant)]
            yield node.lineno, "…".join(parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def strays(code, allowed=()):
    return [
        (line, text)
        for line, text in texts(ast.parse(code))
        if " " not in text and any(name in text for name in NAMES if name not in allowed)
    ]


def test_names_of_files_stand_in_runs_alone():
    package = ROOT / "dejavu_lightning"
    files = [*package.rglob("*.py"), *(ROOT / "callbacks").rglob("*.py")]
    owned = [file for file in files if package / "runs" in file.parents]
    found = {
        file: strays(file.read_text(), DATA if package / "data" in file.parents or file in (SPLITS, GROUPS) else ())
        for file in files
        if file not in owned
    }
    assert len(owned) >= 5
    assert len(found) > 100
    assert {str(file): lines for file, lines in found.items() if lines} == {}
    known = "".join(text for file in owned for _, text in strays(file.read_text()))
    assert [name for name in NAMES if name not in known] == []


@pytest.mark.parametrize(
    ("code", "stray"),
    [
        ("file = folder / 'history.csv'", True),
        ("file = folder / f'epoch={epoch:04d}'", True),
        ("file = f'{folder}/{name}.parquet'", True),
        ("raise ValueError(f'{folder} lacks its metrics.json')", False),
        ("def f():\n    'history.csv'\n", False),
        ("f'{a} b {c}/last.ckpt'", False),
        ("read(steps, epoch=3)", False),
    ],
)
def test_the_search_tells_names_from_messages(code, stray):
    assert bool(strays(code)) == stray


def test_names_are_known_without_torch():
    code = (
        "import sys, dejavu_lightning.studies, dejavu_lightning.runs.measurement_folder"
        "\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
