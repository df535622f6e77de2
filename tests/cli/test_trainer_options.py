"""Lightning's own options of the trainer: each does what it says, or is refused by name before anything is trained."""

import os
import signal
import subprocess

import pytest
import yaml

from dejavu_lightning.cli.errors import plain_errors
from dejavu_lightning.cli.fit import fit
from dejavu_lightning.cli.pair import pair
from dejavu_lightning.runs.checkpoints import load_checkpoint, training_progress
from dejavu_lightning.runs.run_folder import RunFolder
from tests.commands import ROOT, TINY, command, history

CALLBACKS = "lightning.pytorch.callbacks"
KEPT = ["epoch=0000.ckpt", "epoch=0001.ckpt", "epoch=0002.ckpt", "last.ckpt"]


def tiny(folder, trainer, warmup=0):
    """A config of two epochs of four batches."""
    folder.mkdir(exist_ok=True)
    config = folder / "tiny.yaml"
    optimizer = {"name": "adamw", "base_lr": 0.05, "warmup_epochs": warmup}
    model = TINY["model"] | {"init_args": TINY["model"]["init_args"] | {"optimizer": optimizer}}
    data = TINY["data"] | {"init_args": TINY["data"]["init_args"] | {"batch_size": 10}}
    config.write_text(yaml.safe_dump(TINY | {"model": model, "data": data, "trainer": TINY["trainer"] | trainer}))
    return ["--config", str(config)]


def left(run):
    """Checkpoints, measured epochs, and how far last.ckpt got."""
    epochs = [float(row["epoch"]) for row in history(run.path)]
    checkpoint = load_checkpoint(run.last)
    return run.checkpoint_names, epochs, checkpoint["global_step"], training_progress(checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "kept", "steps", "progress"),
    [
        ({"limit_train_batches": 2}, KEPT, 4, "2 epochs"),
        ({"limit_train_batches": 0.5}, KEPT, 4, "2 epochs"),
        ({"overfit_batches": 1}, KEPT, 2, "2 epochs"),
        ({"limit_val_batches": 0}, KEPT, 8, "2 epochs"),
        ({"num_sanity_val_steps": 0}, KEPT, 8, "2 epochs"),
        ({"check_val_every_n_epoch": 2}, KEPT, 8, "2 epochs"),
        ({"reload_dataloaders_every_n_epochs": 1}, KEPT, 8, "2 epochs"),
        ({"accumulate_grad_batches": 2}, KEPT, 4, "2 epochs"),
        ({"accumulate_grad_batches": 3}, KEPT, 4, "2 epochs"),
        ({"max_epochs": -1, "max_steps": 8}, KEPT, 8, "2 epochs"),
        ({"max_epochs": -1, "max_steps": 6}, [KEPT[0], KEPT[1], KEPT[3]], 6, "1 epochs and 2 batches"),
        ({"max_epochs": 3, "max_steps": 8}, KEPT, 8, "2 epochs"),
        ({"max_time": "00:01:00:00"}, KEPT, 8, "2 epochs"),
        ({"max_time": {"milliseconds": 1}}, [KEPT[0], KEPT[3]], 1, "0 epochs and 1 batches"),
        ({"min_epochs": 2, "max_time": {"milliseconds": 1}}, KEPT, 8, "2 epochs"),
        ({"enable_progress_bar": True}, KEPT, 8, "2 epochs"),
        ({"enable_model_summary": True, "log_every_n_steps": 1}, KEPT, 8, "2 epochs"),
        ({"logger": False}, KEPT, 8, "2 epochs"),
        ({"gradient_clip_val": 1.0, "deterministic": True, "profiler": "simple"}, KEPT, 8, "2 epochs"),
        ({"callbacks": [{"class_path": f"{CALLBACKS}.ModelCheckpoint"}]}, KEPT, 8, "2 epochs"),
    ],
)
def test_an_option_does_what_it_says(options, kept, steps, progress, tmp_path):
    run = RunFolder(tmp_path / "run")
    fit(["fit", *tiny(tmp_path, options), "--trainer.default_root_dir", str(run.path)])
    measured = [float(name[6:10]) for name in kept[:-1]]
    assert left(run) == (kept, measured, steps, progress)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"barebones": True}, "trainer.barebones=true leaves out every callback"),
        ({"enable_checkpointing": False}, "trainer.enable_checkpointing=false keeps nothing to resume from"),
        ({"limit_train_batches": 0}, "trainer.limit_train_batches=0 trains on nothing"),
        ({"max_epochs": 0}, "trainer.max_epochs=0 trains on nothing"),
        ({"max_steps": 0}, "trainer.max_steps=0 trains on nothing"),
        ({"max_epochs": -1}, "set trainer.max_epochs or trainer.max_steps"),
        ({"callbacks": [{"class_path": f"{CALLBACKS}.BatchSizeFinder"}]}, "BatchSizeFinder changes what is trained"),
        ({"callbacks": [{"class_path": f"{CALLBACKS}.LearningRateFinder"}]}, "LearningRateFinder changes what is"),
        (
            {
                "callbacks": [
                    {"class_path": f"{CALLBACKS}.GradientAccumulationScheduler"}
                    | {"init_args": {"scheduling": {0: 1, 1: 2}}}
                ]
            },
            "GradientAccumulationScheduler",
        ),
    ],
)
def test_an_option_is_refused_by_name(options, told, tmp_path):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(SystemExit) as refused, plain_errors():
        fit(["fit", *tiny(tmp_path, options), "--trainer.default_root_dir", str(run.path)])
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) < 5
    assert not run.trained


@pytest.mark.slow
def test_a_trial_run_leaves_nothing_and_blocks_nothing(tmp_path):
    run = tmp_path / "run"
    given = [*tiny(tmp_path, {}, warmup=1.5), "--trainer.default_root_dir", str(run)]
    fit(["fit", *given, "--trainer.fast_dev_run", "2"])
    assert not run.exists()
    fit(["fit", *given])
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    fit(["fit", *given, "--trainer.fast_dev_run=true", "--memorization.folder", str(run / "memorization")])
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*")} == before


KILLS = """
import os, signal
from lightning.pytorch import Callback

class Kills(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == {step}:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("step", "told"), [(0, None), (2, r"continue this one with --ckpt_path \S+epoch=0000\.ckpt")])
def test_a_run_that_was_killed_before_its_first_step_blocks_nothing(step, told, tmp_path):
    given = [*tiny(tmp_path, {}), "--trainer.default_root_dir", str(tmp_path / "run")]
    (tmp_path / "kills.py").write_text(KILLS.format(step=step))
    words = ["fit", *given, "--trainer.callbacks+=kills.Kills"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    killed = subprocess.run(command("train.py", *words), cwd=ROOT, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    if told is not None:
        with pytest.raises(SystemExit, match=told):
            fit(["fit", *given])
        given += ["--ckpt_path", str(RunFolder(tmp_path / "run").resumable())]
    fit(["fit", *given])
    assert left(RunFolder(tmp_path / "run")) == (KEPT, [0, 1, 2], 8, "2 epochs")


@pytest.mark.parametrize("given", [["--trainer.fast_dev_run=true"], ["--trainer.fast_dev_run", "1"]])
def test_a_trial_of_a_pair_is_refused(given, tmp_path):
    with pytest.raises(SystemExit, match=r"trainer\.fast_dev_run leaves nothing to compare"):
        pair(["pair", *given, "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
