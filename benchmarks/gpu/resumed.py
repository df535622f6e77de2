"""A run that is killed and resumed, and the evaluator on its checkpoint; in processes beside the other checks."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import yaml

from dejavu_lightning.cli.memorization import memorization
from gpu.checks import Section, Setting, Skip, expect
from gpu.training import differing

CHECKS = Section()
ROOT = Path(__file__).resolve().parents[2]
EPOCHS, EVERY = 40, 10
STOP = 20  # killed soon after this epoch


def begin(setting: Setting) -> None:
    """Start the runs, so that they train while the section's other checks are made."""
    pool = ThreadPoolExecutor(1)
    setting.kept["killed"] = pool.submit(scenario, setting)
    pool.shutdown(wait=False)


def scenario(setting: Setting) -> dict[str, Any]:
    """Train one run to its end, kill another on the way, and resume it."""
    config = setting.scratch / "run.yaml"
    config.write_text(yaml.safe_dump(run_config(setting)))
    whole, broken = setting.scratch / "whole", setting.scratch / "broken"
    uninterrupted, killed = start(config, whole), start(config, broken)
    reached = broken / "checkpoints" / f"epoch={STOP:04d}.ckpt"
    while not reached.is_file() and killed.poll() is None:
        time.sleep(0.02)
    time.sleep(0.1)
    running = killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    if not reached.is_file():
        raise RuntimeError(f"the run to be killed ended by itself: {printed(broken)}")
    last = broken / "checkpoints" / "last.ckpt"
    resumed = start(config, broken, "--ckpt_path", str(last if readable(last) else reached))
    for process, folder in ((uninterrupted, whole), (resumed, broken)):
        if process.wait():
            raise RuntimeError(f"{folder.name} ended with {process.returncode}: {printed(folder)}")
    return {"whole": whole, "broken": broken, "killed while training": running}


def run_config(setting: Setting) -> dict[str, Any]:
    """A small VICReg on painted scenes, deterministic."""
    plain = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    model = {"backbone": "small_resnet", "backbone_options": {"widths": [16, 32]}, "projector_widths": [64, 32]}
    optimizer = {"name": "adamw", "base_lr": 0.05, "warmup_epochs": 2}
    data = {"source": {"class_path": "dejavu_lightning.data.Scenes", "init_args": {"num_images": 400}}}
    sizes = {"per_class": 8, "held_out_per_class": 5, "min_crop_side": 6, "batch_size": 20}
    test = {"class_path": "dejavu_lightning.memorization.LabelInference", "init_args": {"k": 5}}
    return {
        "seed_everything": 0,
        "trainer": {
            "accelerator": setting.accelerator,
            "devices": 1,
            "deterministic": "warn",
            "max_epochs": EPOCHS,
            "enable_progress_bar": False,
        },
        "model": {
            "class_path": "dejavu_lightning.methods.VICReg",
            "init_args": {**model, "image_size": 32, "optimizer": optimizer},
        },
        "data": {"class_path": "dejavu_lightning.data.ImageDataModule", "init_args": {**data, **sizes, **plain}},
        "memorization": {"test": test, "every_n_epochs": EVERY},
    }


def start(config: Path, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """``train.py fit`` into a folder."""
    command = [sys.executable, str(ROOT / "train.py"), "fit", "--config", str(config), *more]
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--trainer.default_root_dir", str(folder)], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )


def printed(folder: Path) -> str:
    return folder.with_suffix(".log").read_text(errors="replace")[-800:]


def readable(file: Path) -> bool:
    """A process may be killed while it writes."""
    try:
        torch.load(file, map_location="cpu", weights_only=True)
    except Exception:
        return False
    return True


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "memorization" / "history.csv").open() as file:
        return list(csv.DictReader(file))


def runs(setting: Setting) -> dict[str, Any]:
    """What the scenario left."""
    started: Future[dict[str, Any]] | None = setting.kept.get("killed")
    if started is None:
        raise Skip("the runs were lost with the process that had begun them")
    return started.result()


@CHECKS.check(seconds=90)
def killed_and_resumed(setting: Setting, found: dict[str, Any]) -> None:
    """A run killed by SIGKILL and resumed ends in the weights and the curve of an uninterrupted one, bitwise."""
    left = runs(setting)
    files = [left[name] / "checkpoints" / f"epoch={EPOCHS:04d}.ckpt" for name in ("whole", "broken")]
    states = [torch.load(file, map_location="cpu", weights_only=True)["state_dict"] for file in files]
    curves = [curve(left[name]) for name in ("whole", "broken")]
    found["killed while training"] = left["killed while training"]
    found |= {"tensors": len(states[0]), "that differ": len(differing(*states)), "points of the curve": len(curves[0])}
    found["points that differ"] = sum(one != other for one, other in zip(*curves, strict=True))
    expect(left["killed while training"], "the run was over before it could be killed")
    expect(not found["that differ"], "weights differ from the uninterrupted run's")
    expect(not found["points that differ"], "the curve differs from the uninterrupted run's")


@CHECKS.check(seconds=40)
def curve_and_evaluator(setting: Setting, found: dict[str, Any]) -> None:
    """The evaluator repeats the last point of the training's curve for its checkpoint, number by number."""
    whole = runs(setting)["whole"]
    last = {name: float(value) for name, value in curve(whole)[-1].items() if name != "epoch"}
    rows = []
    for name, deterministic in (("deterministic, as the training was", True), ("not deterministic", False)):
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        out = setting.scratch / f"evaluated-{deterministic}"
        try:
            target = str(whole / "checkpoints" / "last.ckpt")
            memorization(["memorization", "--target", target, "--reference", "HeldOut", "--output", str(out)])
        finally:
            torch.use_deterministic_algorithms(False)
        metrics = json.loads((out / "metrics.json").read_text())["metrics"]
        wrong = [metric for metric, value in last.items() if metrics.get(metric) != value]
        rows.append({"evaluator": name, "metrics": len(last), "that differ": len(wrong), "which": ", ".join(wrong[:5])})
        found["evaluations"] = rows
    expect(rows[0]["metrics"] > 20, "the curve has too few metrics to compare")
    expect(not rows[0]["that differ"], f"the evaluator differs from the curve in {rows[0]['which']}")
