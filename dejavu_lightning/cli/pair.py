"""``pair``: train the reference, train the target, compare them."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import yaml

from dejavu_lightning.cli.configs import PACKAGE, shipped_configs, with_found_configs

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
    options, given = parser.parse_known_args(arguments[1:])
    given = with_found_configs(given)
    root = Path(options.output or _configured_folder(given) or "runs/pair")
    comparison = root / "comparison"
    if root.exists() and not options.resume:
        raise SystemExit(f"error: the run folder {root} exists. Name another with --output, or continue with --resume")
    group = _group(root)
    for role, split in ROLES.items():
        folder = root / role
        if (folder / "finished").exists():
            continue
        command = ["fit", *given, "--data.train_on", split, "--trainer.default_root_dir", str(folder)]
        if role == "target":
            command += ["--memorization.reference", "dejavu_lightning.memorization.Checkpoint"]
            command += ["--memorization.reference.path", str(root / "reference" / "checkpoints")]
        last = folder / "checkpoints" / "last.ckpt"
        resume = ["--ckpt_path", str(last)] if last.is_file() else []
        _run(command + resume, {"WANDB_RUN_GROUP": group, "WANDB_JOB_TYPE": role})
        (folder / "finished").touch()
    if not comparison.exists():
        files = {role: str(root / role / "checkpoints" / "last.ckpt") for role in ROLES}
        command = ["memorization", "--target", files["target"], "--reference", files["reference"]]
        _run([*command, "--symmetric", "true", "--output", str(comparison)])


def _group(root: Path) -> str:
    """What W&B calls the pair: its folder's name, told apart from other folders of that name, and kept in it."""
    file = root / "wandb_group"
    if not file.is_file():
        root.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{root.resolve().name}-{uuid.uuid4().hex[:8]}")
    return file.read_text()


def _run(command: list[str], defaults: Mapping[str, str] | None = None) -> None:
    """Each run is a process of its own: it starts from a clean state and may launch further processes.

    Args:
        defaults: environment variables, where there are none of that name.
    """
    environment = {**(defaults or {}), **os.environ}
    if shipped_configs().parent == PACKAGE.parent:  # a checkout, which need not be installed
        paths = [str(PACKAGE.parent), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    print("$ dejavu_lightning " + " ".join(command), flush=True)
    finished = subprocess.run([sys.executable, "-m", "dejavu_lightning", *command], env=environment, check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)


def _configured_folder(arguments: list[str]) -> str | None:
    """``trainer.default_root_dir`` as ``fit`` would take it: the last one named wins."""
    folder: str | None = None
    for name, value in pairwise(arguments):
        if name in ("--config", "-c"):
            trainer = (yaml.safe_load(Path(value).read_text()) or {}).get("trainer") or {}
            folder = trainer.get("default_root_dir", folder)
        elif name == "--trainer.default_root_dir":
            folder = value
    return folder
