"""``pair``: train the reference, train the target, compare them."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dejavu_lightning.cli import typed
from dejavu_lightning.cli.configs import environment, find_config, program, read_config, with_found_configs
from dejavu_lightning.cli.terminal.next_steps import PART, print_next_steps, report_step, utility_step
from dejavu_lightning.core.whole_file import write_text
from dejavu_lightning.runs.checkpoints import checkpoints_by_epoch, epoch_checkpoint
from dejavu_lightning.runs.run_folder import PairFolder

ROLES = {"reference": "B", "target": "A"}  # in the order of training: the target's curve needs the reference's


def pair(arguments: list[str]) -> None:
    """Train and compare; ``arguments`` begin with "pair", what it does not know goes to both ``fit`` runs."""
    parser = argparse.ArgumentParser(
        prog=f"{typed()} pair",
        description="Train the reference on split B, then the target on split A, and compare them. All options of "
        "fit are taken and apply to both runs.",
    )
    parser.add_argument("--output", help="folder for both runs and the comparison; the config's default_root_dir")
    parser.add_argument("--resume", action="store_true", help="continue a pair that was stopped")
    parser.add_argument(
        "--target_config",
        action="append",
        default=[],
        help="config of the target alone, behind all others; for mitigations that need a reference trained in full",
    )
    parser.add_argument(
        "--leave_out",
        type=float,
        help="share of the samples that the comparison leaves out, as evaluate.py memorization takes it; to compare "
        "with pairs that MemorizationEarlyStopping stopped",
    )
    options, given = parser.parse_known_args(arguments[1:])
    given = with_found_configs(given)
    of_target = [word for name in options.target_config for word in ("--config", find_config(name))]
    if str(_configured(given, "fast_dev_run") or 0).lower() not in ("0", "false"):
        raise SystemExit("error: trainer.fast_dev_run leaves nothing to compare; try the config with fit")
    out = PairFolder(options.output or _configured(given, "default_root_dir") or "runs/pair")
    if out.blocked and not options.resume:
        raise SystemExit(
            f"error: the run folder {out.path} exists. Name another with --output, or continue with --resume"
        )
    with _alone(out) if options.resume else nullcontext():
        _train_and_compare(out, given, of_target, options.leave_out)
    places = {"pair": out.path, "comparison": out.comparison}
    print_next_steps(places, [report_step(out.path), *utility_step(out.target)])


def _train_and_compare(out: PairFolder, given: list[str], of_target: list[str], leave_out: float | None) -> None:
    """Whatever of it is not done."""
    group = _group(out)
    for role, split in ROLES.items():
        run = out.run(role)
        if run.finished.exists():
            continue
        configs = of_target if role == "target" else []
        command = ["fit", *given, *configs, "--data.train_on", split, "--trainer.default_root_dir", str(run.path)]
        if role == "target":
            command += ["--memorization.reference", "dejavu_lightning.memorization.Checkpoint"]
            command += ["--memorization.reference.path", str(out.run("reference").checkpoints)]
        stopped = run.resumable()
        resume = ["--ckpt_path", str(stopped)] if stopped else []
        _run(command + resume, {"WANDB_RUN_GROUP": group, "WANDB_JOB_TYPE": role})
        run.finished.touch()
    if not out.compared(leave_out):
        # What a stopped comparison left, or one of other samples.
        shutil.rmtree(out.comparison, ignore_errors=True)
        files = compared_checkpoints(out)
        command = ["memorization", "--target", str(files["target"]), "--reference", str(files["reference"])]
        command += [] if leave_out is None else ["--leave_out", str(leave_out)]
        _run([*command, "--symmetric", "true", "--output", str(out.comparison)])


@contextmanager
def _alone(out: PairFolder) -> Iterator[None]:
    """What is continued may not have been stopped: its processes can outlive the terminal or the study."""
    out.path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out.lock, blocking=False):
            yield
    except Timeout:
        raise SystemExit(f"error: another process is at work in {out.path}; wait for it, or stop it first") from None


def compared_checkpoints(out: PairFolder) -> dict[str, Path]:
    """Both models after as many epochs as the target has: those at which it stopped, or to which it went back.

    Raises:
        ValueError: there are no two checkpoints of one epoch.
    """
    restored = out.target.restored_epoch()
    epoch = out.target.ended() if restored is None else restored
    if epoch is None:
        raise ValueError(f"{out.target.checkpoints} holds no checkpoint of a whole epoch")
    files = {role: out.run(role).checkpoint_after(epoch) for role in ROLES}
    found = {role: file for role, file in files.items() if file is not None}
    if len(found) < len(files):
        kept = {role: sorted(checkpoints_by_epoch(out.run(role).checkpoints)) for role in ROLES}
        both = sorted(set(kept["target"]) & set(kept["reference"]))
        named = [f"--{role} {epoch_checkpoint(out.run(role).checkpoints, both[-1])}" for role in ROLES if both]
        raise ValueError(
            f"{out.path}: the target is to be compared after {epoch} epochs, but the checkpoints are of epochs "
            f"{kept['target']} (target) and {kept['reference']} (reference). Give both the same trainer.max_epochs and "
            "checkpoint.every_n_epochs"
            + (f", or compare by hand:\n  python evaluate.py memorization {' '.join(named)}" if named else "")
        )
    return found


def _group(out: PairFolder) -> str:
    """What W&B calls the pair: its folder's name, told apart from other folders of that name, and kept in it."""
    file = out.wandb_group
    if not file.is_file():
        write_text(file, f"{out.path.resolve().name}-{uuid.uuid4().hex[:8]}")
    return file.read_text()


def _run(command: list[str], defaults: Mapping[str, str] | None = None) -> None:
    """Each run is a process of its own: it starts from a clean state and may launch further processes.

    Args:
        defaults: environment variables, where there are none of that name.
    """
    print("$ dejavu-lightning " + " ".join(command), flush=True)
    settings = {**(defaults or {}), **os.environ, **environment(), PART: "1"}
    finished = subprocess.run(program(command), env=settings, check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)


def _configured(arguments: list[str], option: str) -> Any:
    """An option of ``trainer`` as ``fit`` would take it: the last one named wins; None where none is."""
    found: Any = None
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    for name, value in pairwise(words):
        if name in ("--config", "-c"):
            found = (read_config(value).get("trainer") or {}).get(option, found)
        elif name == f"--trainer.{option}":
            found = value
    return found
