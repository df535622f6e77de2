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

from filelock import FileLock, Timeout

from dejavu_lightning.cli.configs import environment, find_config, program, read_config, with_found_configs
from dejavu_lightning.core.whole_file import write_text
from dejavu_lightning.runs.checkpoints import epoch_checkpoint, last_epoch
from dejavu_lightning.runs.run_folder import PairFolder

ROLES = {"reference": "B", "target": "A"}  # in the order of training: the target's curve needs the reference's


def pair(arguments: list[str]) -> None:
    """Train and compare; ``arguments`` begin with "pair", what it does not know goes to both ``fit`` runs."""
    parser = argparse.ArgumentParser(
        prog="pair",
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
    out = PairFolder(options.output or _configured_folder(given) or "runs/pair")
    if out.blocked and not options.resume:
        raise SystemExit(
            f"error: the run folder {out.path} exists. Name another with --output, or continue with --resume"
        )
    with _alone(out) if options.resume else nullcontext():
        _train_and_compare(out, given, of_target, options.leave_out)


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
        resume = ["--ckpt_path", str(run.last)] if run.last.is_file() else []
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
    """Of a target that stopped early or went back to an earlier epoch, the reference's checkpoint of that epoch."""
    runs = {role: out.run(role) for role in ROLES}
    ended = {role: last_epoch(run.checkpoints) for role, run in runs.items()}
    restored = runs["target"].restored_epoch()
    compared = ended["target"] if restored is None else restored
    files = {role: run.last for role, run in runs.items()}
    for role, run in runs.items():
        if compared is not None and compared != ended[role]:
            kept = epoch_checkpoint(run.checkpoints, compared)
            files[role] = kept if kept.is_file() else run.last
    return files


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
    print("$ dejavu_lightning " + " ".join(command), flush=True)
    finished = subprocess.run(program(command), env={**(defaults or {}), **os.environ, **environment()}, check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)


def _configured_folder(arguments: list[str]) -> str | None:
    """``trainer.default_root_dir`` as ``fit`` would take it: the last one named wins."""
    folder: str | None = None
    for name, value in pairwise(arguments):
        if name in ("--config", "-c"):
            trainer = read_config(value).get("trainer") or {}
            folder = trainer.get("default_root_dir", folder)
        elif name == "--trainer.default_root_dir":
            folder = value
    return folder
