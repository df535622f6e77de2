import pytest
import torch

from dejavu_lightning.runs.checkpoints import (
    checkpoints_by_epoch,
    completed_epochs,
    epoch_checkpoint,
    kept_checkpoints,
    last_epoch,
    load_checkpoint,
)


def save(file, epochs):
    """As Lightning does at the end of an epoch, which it counts from 0."""
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": epochs}}}}
    torch.save({"state_dict": {"w": torch.ones(1)}, "epoch": epochs - 1, "loops": loops}, file)
    return file


def test_names(tmp_path):
    assert epoch_checkpoint(tmp_path, 40) == tmp_path / "epoch=0040.ckpt"
    assert last_epoch(tmp_path) is None
    for name in ("epoch=0040", "epoch=10000", "epoch=0040-v1", "last", "step=20000"):
        (tmp_path / f"{name}.ckpt").touch()
    assert last_epoch(tmp_path) == 10000


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


def test_epochs_of_a_checkpoint_without_loops():
    assert completed_epochs({"epoch": 6}) == 7
    assert completed_epochs({"loops": None, "epoch": 6}) == 7
    assert completed_epochs({}) == 0


def test_a_damaged_checkpoint_is_named(tmp_path):
    file = save(tmp_path / "epoch=0004.ckpt", 4)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"epoch=0004\.ckpt: "):
        checkpoints_by_epoch(tmp_path)
    torch.save({"weights": {}}, file)
    with pytest.raises(ValueError, match=r"epoch=0004\.ckpt: not a Lightning checkpoint, it has no 'state_dict'"):
        load_checkpoint(file)
