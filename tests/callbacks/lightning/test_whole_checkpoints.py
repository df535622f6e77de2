"""Checkpoints are written without a copy in memory, and one that the disk changed is not resumed from."""

import tracemalloc

import pytest
import torch
from dejavu_lightning.callbacks import EpochCheckpoint
from dejavu_lightning.callbacks.lightning.whole_checkpoints import WholeCheckpointIO, _Stream

from dejavu_lightning.runs.checkpoints import load_checkpoint
from tests.core.test_torch_file import flip_weights
from tests.models import tiny_data, tiny_trainer, tiny_vicreg


def test_no_copy_of_the_checkpoint_in_memory(tmp_path):
    size = 16 << 20
    content = {"state_dict": {"w": torch.arange(size // 4, dtype=torch.float32)}}
    tracemalloc.start()
    try:
        WholeCheckpointIO().save_checkpoint(content, tmp_path / "a.ckpt")
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 4
    assert held < size / 16
    assert torch.equal(load_checkpoint(tmp_path / "a.ckpt", intact=True)["state_dict"]["w"], content["state_dict"]["w"])


def test_a_full_disk_is_told_as_one():
    with open("/dev/full", "wb", buffering=0) as full:
        stream = _Stream(full)
        torch.save({"w": torch.ones(1000)}, stream)
        with pytest.raises(OSError, match="No space left on device"):
            stream.raise_failure()


def test_a_checkpoint_that_the_disk_changed_is_not_resumed_from(tmp_path):
    def fit(resumed=None, epochs=1):
        saver = EpochCheckpoint(every_n_epochs=1)
        trainer = tiny_trainer(tmp_path, callbacks=[saver], enable_checkpointing=True, max_epochs=epochs)
        trainer.fit(tiny_vicreg(), datamodule=tiny_data(), ckpt_path=resumed, weights_only=True)
        return trainer

    fit()
    last = tmp_path / "checkpoints" / "last.ckpt"
    whole = last.read_bytes()
    flip_weights(last)
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged, it is not what was written: Bad CRC-32 for file"):
        fit(last, epochs=2)
    last.write_bytes(whole)
    assert fit(last, epochs=2).current_epoch == 2
