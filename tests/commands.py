"""A tiny run's config, and the commands in processes of their own."""

from __future__ import annotations

import csv
import subprocess

from tests.forks import ROOT, interpreter

TINY = {
    "seed_everything": 0,
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": 2,
        # Who says no to a progress bar says no to that of the config as well.
        "enable_progress_bar": False,
        "callbacks": [{"class_path": "dejavu_lightning.callbacks.EpochProgressBar"}],
    },
    "model": {
        "class_path": "dejavu_lightning.methods.VICReg",
        "init_args": {
            "backbone": "small_resnet",
            "backbone_options": {"widths": [8, 8]},
            "projector_widths": [16],
            "image_size": 32,
            "optimizer": {"name": "adamw", "base_lr": 0.05, "warmup_epochs": 0},
        },
    },
    "data": {
        "class_path": "dejavu_lightning.data.ImageDataModule",
        "init_args": {
            "source": {"class_path": "dejavu_lightning.data.Scenes", "init_args": {"num_images": 300}},
            "per_class": 4,
            "held_out_per_class": 3,
            "min_crop_side": 6,
            "batch_size": 20,
        },
    },
    "memorization": {
        "test": {"class_path": "dejavu_lightning.memorization.LabelInference", "init_args": {"k": 5}},
        "every_n_epochs": 1,
    },
}


def command(script, *arguments, program=None):
    """The words that start one; a module's name is one, too.

    Args:
        program: ``sys.executable`` where what libraries do as they are imported matters.
    """
    named = [ROOT / script] if str(script).endswith(".py") else ["-m", script]
    return [str(word) for word in (program or interpreter(), *named, *arguments)]


def run(script, *arguments, cwd=ROOT, code=0, environment=None, program=None):
    given = command(script, *arguments, program=program)
    done = subprocess.run(given, cwd=cwd, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def history(folder):
    with (folder / "memorization" / "history.csv").open() as file:
        return list(csv.DictReader(file))
