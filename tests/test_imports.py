"""Imports run one way: a newcomer can read a folder knowing only those below it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dejavu_lightning"
ALLOWED = {
    "metrics": set(),
    "estimates": set(),
    "runs": {"core"},
    "distributed": set(),
    "object_file": set(),
    "torch_file": set(),
    "models": set(),
    "losses": {"distributed"},
    "methods": {"losses", "models"},
    "memorization": {"distributed", "metrics", "object_file", "runs", "torch_file"},
    "utility": {"distributed", "memorization"},
    "data": {"memorization", "object_file", "utility"},
    "annotation": {"data", "torch_file"},
    "pretrained": {"memorization", "models", "torch_file"},
    "report": {"estimates", "memorization", "metrics", "runs"},
    "studies": {"estimates", "runs"},
    "callbacks": {"distributed", "memorization", "metrics", "report", "runs", "utility"},
    "cli": {
        "annotation",
        "callbacks",
        "data",
        "memorization",
        "methods",
        "metrics",
        "pretrained",
        "report",
        "runs",
        "studies",
        "utility",
    },
    "__main__": {"cli"},
    "__init__": set(),
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
        for name in names:
            parts = name.split(".")
            if parts[0] == "dejavu_lightning" and len(parts) > 1:
                yield parts[1]


def modules():
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "callbacks").rglob("*.py")]:
        relative = path.relative_to(PACKAGE if PACKAGE in path.parents else ROOT)
        yield path, relative.parts[0].removesuffix(".py")


def test_imports_follow_the_house():
    found = list(modules())
    assert len(found) > 40
    for path, part in found:
        wrong = set(imported(path)) - {part} - ALLOWED[part]
        assert not wrong, f"{path} must not import {sorted(wrong)}; {part} may import {sorted(ALLOWED[part])}"


def test_scripts_are_short_and_go_through_the_cli():
    for name in ("train.py", "evaluate.py"):
        text = (ROOT / name).read_text()
        assert len(text.splitlines()) <= 40
        assert set(imported(ROOT / name)) == {"cli"}
