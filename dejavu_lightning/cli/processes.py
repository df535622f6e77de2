"""Commands in processes of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dejavu_lightning.cli.configs import PACKAGE, shipped_configs


def program(command: Sequence[str]) -> list[str]:
    """What runs a command of this package, such as ``["fit", "--config", ...]``."""
    return [sys.executable, "-m", "dejavu_lightning", *command]


def environment() -> dict[str, str]:
    """What such a process needs beside this one's environment."""
    if shipped_configs().parent != PACKAGE.parent:
        return {}
    # A checkout, which need not be installed.
    return {"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])}
