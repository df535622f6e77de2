"""Commands: fit, pair and study train, memorization and utility evaluate, report shows, annotate prepares data."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from dejavu_lightning.cli.terminal.short_help import ALL, HELP, print_short_help

# A command is the function of its name in the module of its name, or of another where that would be found twice.
MODULES = {"splits": "manifest"}
COMMANDS = {
    "fit": "train one model on split A or B and watch its memorization",
    "pair": "train the reference on split B, then the target on split A, and compare them",
    "study": "run pair for variants and seeds, and put them in one table",
    "memorization": "measure what a checkpoint, or any published model, memorized",
    "utility": "probe the features of a checkpoint",
    "report": "turn runs into one HTML file",
    "splits": "write a manifest, the table of who is in which split",
    "annotate": "detect the objects of a folder or of shards and write them as JSON Lines",
}
FIRST = ("pair --config configs/quickstart.yaml", "report runs/quickstart --output report.html")
ASKS = {"-h", "--help"}


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
        if given[0] in HELP and ASKS & set(given):
            print_short_help(typed(), given[0])
        else:
            _run(["--help" if word == ALL else word for word in given])
        return
    print(f"usage: {typed()} COMMAND ...    COMMAND --help for its options, --debug for tracebacks\n")
    print("\n".join(f"  {name:14}{COMMANDS[name]}" for name in commands))
    offered = [line for line in FIRST if line.partition(" ")[0] in commands]
    print(f"\nto begin with:\n  {typed()} {offered[0]}")
    if given and given[0] not in ASKS:
        raise SystemExit(f"\nerror: unknown command {given[0]!r}{_nearest(given[0], commands)}")


def _run(given: list[str]) -> None:
    # Imported here: listing the commands should not take the seconds that importing torch does.
    try:
        errors = import_module("dejavu_lightning.cli.errors")
    except ModuleNotFoundError as error:
        raise SystemExit(f"error: {error.name} is not installed: pip install dejavu-lightning") from error
    if "--debug" in given:
        given.remove("--debug")
        os.environ[errors.DEBUG] = "1"
    with errors.plain_errors():
        getattr(import_module(f"dejavu_lightning.cli.{MODULES.get(given[0], given[0])}"), given[0])(given)


def _nearest(word: str, commands: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, commands, n=1)
    return f"; did you mean {close[0]}?" if close else f"; choose from {', '.join(commands)}"
