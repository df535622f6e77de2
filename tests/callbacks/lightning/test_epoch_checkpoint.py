"""What stays of a training that failed."""

import pytest
from dejavu_lightning.callbacks import EpochCheckpoint
from lightning.pytorch import Callback

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
