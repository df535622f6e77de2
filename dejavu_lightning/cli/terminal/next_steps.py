"""What stands at the end of a command: where its files lie, and the next commands worth typing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from dejavu_lightning.cli import typed
from dejavu_lightning.runs.run_folder import CONFIG, RunFolder

PART = "DEJAVU_LIGHTNING_PART"  # set for commands that another command runs
OTHER = {"A": "B", "B": "A"}
# How utility measures models of these data.
MEASURES: Mapping[str, Sequence[str]] = {
    "ImageDataModule": (),
    "CaptionDataModule": ("--measures+", "caption_retrieval"),
    "ShardDataModule": ("--measures+", "caption_retrieval"),
}
EVALUATES = (
    "memorization",
    "utility",
    "report",
    "records",
    "references",
    "reconstruct",
)  # of evaluate.py, where train.py has the others


class Step(NamedTuple):
    """A command worth typing.

    Attributes:
        reason: what it is good for.
        words: the command and its options, behind the program's name.
    """

    reason: str
    words: Sequence[str | Path]


def print_next_steps(places: Mapping[str, str | Path], steps: Sequence[Step]) -> None:
    """Print where files lie, and commands as they can be typed; nothing where another command goes on from here.

    Args:
        places: folders and files by what they are, such as "run".
        steps: what to do next.
    """
    if os.environ.get(PART):
        return
    width = max(map(len, places)) + 2
    lines = [f"{name:{width}}{place}" for name, place in places.items()]
    lines += ["next:"] if steps else []
    lines += [f"  {command_line(step.words)}    # {step.reason}" for step in steps]
    print("\n" + "\n".join(lines), flush=True)


def command_line(words: Sequence[str | Path]) -> str:
    """A command as a shell takes it, by the program that was typed or, of the two scripts, the one that has it."""
    program = typed()
    if program in ("python train.py", "python evaluate.py"):
        program = "python evaluate.py" if words[0] in EVALUATES else "python train.py"
    return f"{program} {shlex.join(map(str, words))}"


def report_step(folder: Path) -> Step:
    """Show a run, a pair or a measurement as a page."""
    return Step("curves, tables and pictures on one page", ["report", folder, "--output", folder / "report.html"])


def utility_step(run: RunFolder, checkpoint: Path | None = None) -> list[Step]:
    """Probe the features of a run that has pictures to test on; none where it has not, or its config is gone."""
    config = run.path / CONFIG
    if not config.is_file():
        return []
    data = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]
    kind, given = data["class_path"].rpartition(".")[2], data.get("init_args") or {}
    tested_on = ("validation_per_class", "held_out_per_class", "validation", "held_out")
    if kind not in MEASURES or not any(given.get(name) for name in tested_on):
        return []
    words: list[str | Path] = ["utility", "--checkpoint", checkpoint or run.last, *MEASURES[kind]]
    return [Step("how good the features are", words)]


def after_fit(run: RunFolder, split: str | None, reference: Path | None, new_loggers: bool) -> None:
    """Say what to do with a trained model.

    Args:
        run: of the model.
        split: that it was trained on, if anyone can tell.
        reference: the checkpoints of a second model that it was compared with.
        new_loggers: whether a run of the same config would log to a place of its own.
    """
    steps = [report_step(run.path)]
    words: list[str | Path]
    second = None if reference is None else RunFolder(reference.parent).last
    if second is not None and second.is_file():
        words = ["memorization", "--target", run.last, "--reference", second, "--output", run.path / "comparison"]
        steps.insert(0, Step("compare with the reference, record by record", words))
    elif split in OTHER and new_loggers:
        words = ["fit", "--config", run.path / CONFIG, "--data.train_on", OTHER[split], "--ckpt_path", "null"]
        words += ["--trainer.default_root_dir", f"{run.path}-{OTHER[split]}"]
        steps.insert(0, Step(f"a second model, of split {OTHER[split]}, to compare with", words))
    print_next_steps({"run": run.path, "curve": run.memorization, "checkpoints": run.checkpoints}, steps)
