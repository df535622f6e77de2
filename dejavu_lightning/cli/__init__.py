"""Commands: fit, pair and study train, memorization and utility evaluate, report shows, annotate prepares data."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

# A command is the function of its name in the module of its name.
COMMANDS = {
    "fit": "train one model on split A or B and watch its memorization",
    "pair": "train the reference on split B, then the target on split A, and compare them",
    "study": "run pair for variants and seeds, and put them in one table",
    "memorization": "measure what a checkpoint, or any published model, memorized",
    "utility": "probe the features of a checkpoint",
    "report": "turn runs into one HTML file",
    "split": "write who is in which split, for training code that reads folders, tables or lists",
    "annotate": "detect the objects of a folder or of shards and write them as JSON Lines",
}


def typed() -> str:
    """What the user typed before the command, for usage lines: dejavu-lightning, or python with a script."""
    name = os.path.basename(sys.argv[0])
    if name == "__main__.py":
        return "python -m dejavu_lightning"
    return f"python {name}" if name.endswith(".py") else name


def main(arguments: Sequence[str] | None = None, commands: Sequence[str] = tuple(COMMANDS)) -> None:
    """Run one command.

    Args:
        arguments: the command and its options; the process's own if not given.
        commands: those to offer.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in commands:
        # Imported here: listing the commands should not take the seconds that importing torch does.
        try:
            errors = import_module("dejavu_lightning.cli.errors")
        except ModuleNotFoundError as error:
            raise SystemExit(f"error: {error.name} is not installed: pip install dejavu-lightning") from error
        if "--debug" in given:
            given.remove("--debug")
            os.environ[errors.DEBUG] = "1"
        with errors.plain_errors():
            getattr(import_module(f"dejavu_lightning.cli.{given[0]}"), given[0])(given)
        return
    print(
        f"usage: {typed()} COMMAND ...    COMMAND --help for its options, --debug for tracebacks\n\n"
        + "\n".join(f"  {name:14}{COMMANDS[name]}" for name in commands)
    )
    if given and given[0] not in ("-h", "--help"):
        raise SystemExit(f"\nerror: unknown command {given[0]!r}; choose from {', '.join(commands)}")
