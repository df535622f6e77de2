"""Where YAML files are found, and how commands are started, with a checkout and without."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import yaml

PACKAGE = Path(__file__).resolve().parent.parent
NEAREST = 3  # configs that a mistyped one is told of


def shipped_configs() -> Path:
    """The folder ``configs``: inside an installed package, or beside it in a checkout."""
    installed = PACKAGE / "configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"


def find_config(name: str) -> str:
    """A file as given; else, of ``configs/...``, the one that ships with the package."""
    if Path(name).is_file():
        return name
    parts = Path(name).parts
    shipped = shipped_configs().joinpath(*parts[1:] if parts[:1] == ("configs",) else parts)
    if shipped.is_file():
        return str(shipped)
    offered = sorted(f"configs/{path.relative_to(shipped_configs())}" for path in shipped_configs().rglob("*.yaml"))
    close = sorted(offered, key=lambda one: -SequenceMatcher(None, one.lower(), name.lower()).ratio())[:NEAREST]
    raise SystemExit(f"error: no config {name!r}, neither here nor among those shipped; nearest: {', '.join(close)}")


def read_config(name: str) -> dict[str, Any]:
    """What a YAML file holds, section by section.

    Raises:
        ValueError: naming the file, which is no YAML or holds no sections.
    """
    try:
        content = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--config {name} is no YAML: {error}") from error
    if content is not None and not isinstance(content, dict):
        raise ValueError(f"--config {name} holds a {type(content).__name__}, expected sections such as data:")
    return content or {}


def with_found_configs(arguments: list[str]) -> list[str]:
    """The arguments with every ``--config`` (``-c``) value resolved."""
    found: list[str] = []
    for position, argument in enumerate(arguments):
        if position and arguments[position - 1] in ("--config", "-c"):
            argument = find_config(argument)
        elif argument.startswith("--config="):
            argument = f"--config={find_config(argument.removeprefix('--config='))}"
        found.append(argument)
    return found


def host_data() -> type[Any]:
    """``MemorizationData``, imported where there is data: open_clip and kornia come with it, which take seconds."""
    from dejavu_lightning.hosts import MemorizationData

    return MemorizationData


def program(command: Sequence[str]) -> list[str]:
    """What runs a command of this package, such as ``["fit", "--config", ...]``."""
    return [sys.executable, "-m", "dejavu_lightning", *command]


def environment() -> dict[str, str]:
    """What such a process needs beside this one's environment."""
    if shipped_configs().parent != PACKAGE.parent:
        return {}
    # A checkout, which need not be installed.
    return {"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])}
