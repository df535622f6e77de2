"""What stays of a training, of one that failed, and of one that ends within an epoch."""

import pytest
import torch
from dejavu_lightning.callbacks import EpochCheckpoint, MemorizationMonitor, RandomState
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from dejavu_lightning.memorization import LabelInference
from dejavu_lightning.runs.checkpoints import completed_epochs, load_checkpoint, training_progress
from tests.models import tiny_data, tiny_trainer, tiny_vicreg


class FailsAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise RuntimeError("as asked for")


@pytest.mark.parametrize(("step", "kept"), [(0, []), (2, ["epoch=0000.ckpt", "epoch=0001.ckpt", "last.ckpt"])])
def test_only_a_training_that_made_a_step_leaves_a_run(tmp_path, step, kept):
    trainer = tiny_trainer(
        tmp_path, callbacks=[EpochCheckpoint(every_n_epochs=1), FailsAt(step)], enable_checkpointing=True, max_epochs=2
    )
    with pytest.raises(RuntimeError, match="as asked for"):
        trainer.fit(tiny_vicreg(), tiny_data())
    assert sorted(file.name for file in (tmp_path / "checkpoints").glob("*.ckpt")) == kept


def fit(folder, *callbacks, resumed=None, cadence=1, batch_size=10, **options):
    """Epochs of four batches."""
    saver = EpochCheckpoint(every_n_epochs=cadence)
    trainer = tiny_trainer(folder, callbacks=[*callbacks, saver], enable_checkpointing=True, **options)
    trainer.fit(tiny_vicreg(), datamodule=tiny_data(batch_size=batch_size), ckpt_path=resumed, weights_only=True)
    return trainer


def names(folder):
    return sorted(file.name for file in (folder / "checkpoints").iterdir())


def weights(file):
    return load_checkpoint(file)["state_dict"]


class Stops(Callback):
    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step >= 6


@pytest.mark.parametrize("how", [{"max_steps": 6, "max_epochs": -1}, {"callbacks": [Stops()]}])
def test_a_training_that_ends_within_an_epoch_leaves_it_in_last_only(how, tmp_path):
    """And goes on from there as if it had never stopped."""
    callbacks = how.get("callbacks", [])
    options = {key: value for key, value in how.items() if key != "callbacks"}
    monitor = MemorizationMonitor(test=LabelInference(k=5), every_n_epochs=1, figures=False)
    fit(tmp_path / "cut", monitor, RandomState(), *callbacks, **{"max_epochs": 2} | options)
    folder = tmp_path / "cut" / "checkpoints"
    assert names(tmp_path / "cut") == ["epoch=0000.ckpt", "epoch=0001.ckpt", "last.ckpt"]
    assert training_progress(load_checkpoint(folder / "last.ckpt")) == "1 epochs and 2 batches"
    assert [row["epoch"] for row in monitor.history] == [0, 1]
    if not callbacks:
        return  # the schedule of the learning rate is another one with another max_steps
    fit(tmp_path / "cut", RandomState(), resumed=folder / "last.ckpt")
    fit(tmp_path / "whole", RandomState())
    whole = weights(tmp_path / "whole" / "checkpoints" / "epoch=0002.ckpt")
    for name, value in weights(folder / "epoch=0002.ckpt").items():
        assert torch.equal(value, whole[name]), name


def test_the_end_is_kept_where_the_cadence_does_not_keep_it(tmp_path):
    fit(tmp_path, cadence=50)
    assert names(tmp_path) == ["epoch=0000.ckpt", "epoch=0002.ckpt", "last.ckpt"]
    for name in ("epoch=0002", "last"):
        assert completed_epochs(load_checkpoint(tmp_path / "checkpoints" / f"{name}.ckpt")) == 2


def test_a_resumed_run_replaces_what_an_earlier_one_left(tmp_path):
    """With another cadence Lightning knows nothing of the earlier ``last.ckpt``, and would write last-v1.ckpt."""
    fit(tmp_path)
    left = {name: (tmp_path / "checkpoints" / name).stat().st_mtime_ns for name in names(tmp_path)}
    fit(tmp_path, resumed=tmp_path / "checkpoints" / "epoch=0001.ckpt", cadence=2)
    assert names(tmp_path) == list(left)
    assert (tmp_path / "checkpoints" / "last.ckpt").stat().st_mtime_ns > left["last.ckpt"]


def test_the_first_checkpoint_starts_the_same_run_again(tmp_path):
    """A run that was killed before it kept an epoch has no other."""
    fit(tmp_path, RandomState())
    before = weights(tmp_path / "checkpoints" / "last.ckpt")
    fit(tmp_path, RandomState(), resumed=tmp_path / "checkpoints" / "epoch=0000.ckpt")
    for name, value in weights(tmp_path / "checkpoints" / "last.ckpt").items():
        assert torch.equal(value, before[name]), name


def test_the_folder_is_shared_with_nobody(tmp_path):
    for other in (ModelCheckpoint(), ModelCheckpoint(tmp_path / "checkpoints", save_last="link")):
        with pytest.raises(ValueError, match=r"ModelCheckpoint would save to \S+checkpoints .*such as \S+user_check"):
            fit(tmp_path, other)
    assert not list((tmp_path / "checkpoints").glob("*.ckpt"))
    fit(tmp_path, ModelCheckpoint(tmp_path / "mine", save_last="link"))
    assert "last.ckpt" in names(tmp_path)


def test_a_trial_run_leaves_nothing(tmp_path):
    trainer = fit(tmp_path, fast_dev_run=True)
    assert trainer.global_step == 1
    assert not list((tmp_path / "checkpoints").glob("*"))
