"""Commands: fit, pair, study train; memorization, utility, reconstruct evaluate; report, records, references show."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from dejavu_lightning.cli.terminal.quiet import quiet
from dejavu_lightning.cli.terminal.short_help import ALL, HELP, print_short_help
from dejavu_lightning.core.progress.long_work import shown_by

# A command is the function of its name in the module of its name, or in another one that is named here.
MODULES = {"doctor": "doctor.checkup"}
COMMANDS = {
    "fit": "train one model on split A or B and watch its memorization",
    "pair": "train the reference on split B, then the target on split A, and compare them",
    "study": "run pair for variants and seeds, and put them in one table",
    "memorization": "measure what a checkpoint, or any published model, memorized",
    "utility": "probe the features of a checkpoint",
    "report": "turn runs into one HTML file",
    "records": "tell which records are memorized over seeds and epochs, and what predicts it",
    "references": "put several references of one or more targets beside each other",
    "reconstruct": "make pictures of what two models give away of records",
    "doctor": "check data, machine and time of a config before anything is trained",
    "split": "write who is in which split, for training code that reads folders, tables or lists",
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
    print(f"usage: {typed()} COMMAND ...    COMMAND --help for its options\n")
    print("\n".join(f"  {name:14}{COMMANDS[name]}" for name in commands))
    print("\nof every command: --debug shows tracebacks, --progress bars|lines|none how far it is")
    offered = [line for line in FIRST if line.partition(" ")[0] in commands]
    print(f"\nto begin with:\n  {typed()} {offered[0]}")
    if given and given[0] not in ASKS:
        raise SystemExit(f"\nerror: unknown command {given[0]!r}{_nearest(given[0], commands)}")


def _run(given: list[str]) -> None:
    if "SLURM_JOB_ID" in os.environ and given[0] == "fit":
        # One that came during the imports would end the process: it waits until training can answer it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
    # Imported here: listing the commands should not take the seconds that importing torch does.
    try:
        errors = import_module("dejavu_lightning.cli.errors")
    except ModuleNotFoundError as error:
        raise SystemExit(f"error: {error.name} is not installed: pip install dejavu-lightning") from error
    if "--debug" in given:
        given.remove("--debug")
        os.environ[errors.DEBUG] = "1"
    progress = import_module("dejavu_lightning.core.progress.progress_display")
    given = _with_progress(given, progress.VARIABLE, progress.WAYS)
    with errors.plain_errors():
        command = getattr(import_module(f"dejavu_lightning.cli.{MODULES.get(given[0], given[0])}"), given[0])
        with shown_by(progress.display), quiet():  # behind the import, at which libraries set filters of their own
            command(given)


def _with_progress(given: list[str], variable: str, ways: Sequence[str]) -> list[str]:
    """Take ``--progress WAY`` out of the words, and tell it to this process and those it starts."""
    words = [part for word in given for part in (word.split("=", 1) if word.startswith("--progress=") else [word])]
    if "--progress" not in words:
        return given
    place = words.index("--progress")
    way = "".join(words[place + 1 : place + 2])
    if way not in ways:
        raise SystemExit(f"error: --progress must be one of {', '.join(ways)}; got {way!r}")
    os.environ[variable] = way
    return words[:place] + words[place + 2 :]


def _nearest(word: str, commands: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, commands, n=1)
    return f"; did you mean {close[0]}?" if close else f"; choose from {', '.join(commands)}"
