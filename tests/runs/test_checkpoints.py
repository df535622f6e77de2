import pytest
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from dejavu_lightning.runs.checkpoints import (
    checkpoints_by_epoch,
    completed_epochs,
    epoch_checkpoint,
    kept_checkpoints,
    load_checkpoint,
    training_progress,
)
from tests.models import HostModule, Pairs, tiny_trainer


def save(file, epochs):
    """As Lightning does at the end of an epoch, which it counts from 0."""
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": epochs}}}}
    torch.save({"state_dict": {"w": torch.ones(1)}, "epoch": epochs - 1, "loops": loops}, file)
    return file


def test_names(tmp_path):
    assert epoch_checkpoint(tmp_path, 40) == tmp_path / "epoch=0040.ckpt"


def test_epochs_are_those_that_the_files_tell(tmp_path):
    """Other savers name their files otherwise, and a name can lie."""
    four = save(tmp_path / "epoch=0003-step=20.ckpt", 4)
    eight = save(tmp_path / "mine.ckpt", 8)
    last = save(tmp_path / "last.ckpt", 9)
    older = save(tmp_path / "last-v1.ckpt", 8)
    assert checkpoints_by_epoch(tmp_path) == {4: four, 8: older, 9: last}  # the first by name
    assert kept_checkpoints(tmp_path, 4) == [four]
    assert kept_checkpoints(tmp_path, 8) == [eight]
    assert kept_checkpoints(tmp_path, 9) == []  # last.ckpt does not stay
    assert kept_checkpoints(tmp_path, 3) == []


def test_of_several_of_an_epoch_our_own_is_taken(tmp_path):
    save(tmp_path / "best.ckpt", 4)
    own = save(tmp_path / "epoch=0004.ckpt", 4)
    save(tmp_path / "epoch=0004-v1.ckpt", 4)
    assert checkpoints_by_epoch(tmp_path) == {4: own}


class SavesAt(Callback):
    """Saves at one moment, after the second epoch has begun."""

    def __init__(self, hook, folder, index=0):
        self.file, self.index, self.hook = folder / f"{hook}.ckpt", index, hook

    def save(self, trainer, index):
        if trainer.global_step > 2 and index == self.index and not self.file.exists():
            trainer.save_checkpoint(self.file, weights_only=False)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, index):
        if self.hook == "on_train_batch_end":
            self.save(trainer, index)

    def on_validation_end(self, trainer, *_):
        if self.hook == "on_validation_end":
            self.save(trainer, trainer.fit_loop.batch_idx)

    def on_train_epoch_end(self, trainer, *_):
        if self.hook == "on_train_epoch_end":
            self.save(trainer, trainer.fit_loop.batch_idx)

    def on_train_end(self, trainer, *_):
        if self.hook == "on_train_end":
            self.save(trainer, trainer.fit_loop.batch_idx)


@pytest.mark.parametrize(
    ("hook", "index", "options", "told"),
    [
        # Two epochs of two batches.
        ("on_train_batch_end", 0, {}, "1 epochs and 1 batches"),
        ("on_train_batch_end", 1, {}, "2 epochs"),
        ("on_validation_end", 1, {}, "2 epochs"),  # Lightning has not counted the epoch yet
        ("on_validation_end", 0, {"val_check_interval": 0.5}, "1 epochs and 1 batches"),
        ("on_train_epoch_end", 1, {}, "2 epochs"),
        ("on_train_end", 1, {}, "2 epochs"),
        ("on_train_epoch_end", 0, {"max_steps": 3}, "1 epochs and 1 batches"),  # Lightning has counted it
        ("on_train_end", 0, {"max_steps": 3}, "1 epochs and 1 batches"),
        ("on_train_end", 1, {"max_steps": 4}, "2 epochs"),
    ],
)
def test_only_whole_epochs_count(hook, index, options, told, tmp_path):
    class Host(HostModule):
        def validation_step(self, batch, index):
            pass

    saver = SavesAt(hook, tmp_path, index)
    loaders = [DataLoader(Pairs(20, seed), batch_size=10) for seed in range(2)]
    tiny_trainer(tmp_path, callbacks=[saver], num_sanity_val_steps=0, **options).fit(Host(), *loaders)
    found = load_checkpoint(saver.file)
    assert training_progress(found) == told
    assert completed_epochs(found) == (2 if told == "2 epochs" else None)
    assert list(checkpoints_by_epoch(tmp_path)) == ([2] if told == "2 epochs" else [])


def test_epochs_of_a_checkpoint_without_loops():
    assert completed_epochs({"epoch": 6}) == 7
    assert completed_epochs({"loops": None, "epoch": 6}) == 7
    assert completed_epochs({}) is training_progress({}) is None


def test_a_damaged_checkpoint_is_named(tmp_path):
    file = save(tmp_path / "epoch=0004.ckpt", 4)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"epoch=0004\.ckpt: "):
        checkpoints_by_epoch(tmp_path)
    torch.save({"weights": {}}, file)
    with pytest.raises(ValueError, match=r"epoch=0004\.ckpt: not a Lightning checkpoint, it has no 'state_dict'"):
        load_checkpoint(file)
