"""Commands: fit, pair and study train, memorization and utility evaluate, report shows, annotate prepares data."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def main(
    arguments: Sequence[str] | None = None,
    commands: Sequence[str] = ("fit", "pair", "study", "memorization", "utility", "report", "annotate"),
) -> None:
    """Run one command.

    Args:
        arguments: the command and its options; the process's own if not given.
        commands: those to offer.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in commands:
        # Imported here: listing the commands should not take the seconds that importing torch does.
        command = _find(given[0])
        with plain_errors():
            command(given)
        return
    print("usage: COMMAND --help\n\n" + "\n".join(f"  {name:14}{SUMMARY[name]}" for name in commands))
    if given and given[0] not in ("-h", "--help"):
        raise SystemExit(f"\nerror: unknown command {given[0]!r}; choose from {', '.join(commands)}")


SUMMARY = {
    "fit": "train one model on split A or B and watch its memorization",
    "pair": "train the reference on split B, then the target on split A, and compare them",
    "study": "run pair for variants and seeds, and put them in one table",
    "memorization": "measure what a checkpoint, or any published model, memorized",
    "utility": "probe the features of a checkpoint",
    "report": "turn runs into one HTML file",
    "annotate": "detect the objects of a folder or of shards and write them as JSON Lines",
}


def _find(command: str) -> Callable[[list[str]], None]:
    if command == "fit":
        from dejavu_lightning.cli.fit import fit

        return fit
    if command == "pair":
        from dejavu_lightning.cli.pair import pair

        return pair
    if command == "study":
        from dejavu_lightning.cli.study import study

        return study
    if command == "memorization":
        from dejavu_lightning.cli.memorization import memorization

        return memorization
    if command == "utility":
        from dejavu_lightning.cli.utility import utility

        return utility
    if command == "report":
        from dejavu_lightning.cli.report import report

        return report
    from dejavu_lightning.cli.annotate import annotate

    return annotate


@contextmanager
def plain_errors() -> Iterator[None]:
    """An error that this package raised on purpose is a message to its user; others keep their traceback."""
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError, FloatingPointError) as error:
        package = Path(__file__).resolve().parent.parent
        homes = (package, package.parent / "callbacks")
        cause: BaseException | None = error
        while cause is not None and cause.__traceback__:  # jsonargparse raises its own from what a constructor raised
            *_, (innermost, _) = traceback.walk_tb(cause.__traceback__)
            if any(home in Path(innermost.f_code.co_filename).resolve().parents for home in homes):
                raise SystemExit(f"error: {cause}") from error
            cause = cause.__cause__
        raise
