"""Where weights are averaged, the curve is of the average, which checkpoints hold, and training does not notice."""

import pytest
import torch
from dejavu_lightning.callbacks import EpochCheckpoint, RandomState
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging
from torch.utils.data import DataLoader

from dejavu_lightning.memorization import HeldOut, LabelInference, ModuleEncoder, measure
from dejavu_lightning.runs.checkpoints import load_checkpoint
from tests.callbacks.hosts import memorization_monitor, memorization_sets, train, utility_monitor
from tests.models import HostModule, Pairs


class AtEpochEnds(WeightAveraging):
    """Averages the weights after each epoch."""

    def should_update(self, step_idx=None, epoch_idx=None):
        return epoch_idx is not None


def measured(checkpoint):
    module = HostModule()
    module.load_state_dict(load_checkpoint(checkpoint)["state_dict"])
    return measure(
        ModuleEncoder(module, "backbone"), LabelInference(k=5, batch_size=16), HeldOut(), memorization_sets()
    )


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("averaging", [lambda: EMAWeightAveraging(decay=0.7), AtEpochEnds])
@pytest.mark.parametrize("first", [True, False])
def test_curve_checkpoints_and_evaluator_measure_the_average(tmp_path, averaging, first):
    monitor, average, saver = memorization_monitor(), averaging(), EpochCheckpoint(every_n_epochs=1)
    callbacks = [average, monitor, saver] if first else [monitor, average, saver]
    train(tmp_path / "with", callbacks, max_epochs=3, enable_checkpointing=True)
    for row in monitor.history:
        found = measured(tmp_path / "with" / "checkpoints" / f"epoch={row['epoch']:04.0f}.ckpt").metrics
        assert row == {"epoch": row["epoch"], **found}
    checkpoint = load_checkpoint(tmp_path / "with" / "checkpoints" / "epoch=0002.ckpt")
    assert not same(checkpoint["state_dict"], checkpoint["current_model_state"])

    without = [averaging(), EpochCheckpoint(every_n_epochs=1)]
    train(tmp_path / "without", without, max_epochs=3, enable_checkpointing=True)
    bare = load_checkpoint(tmp_path / "without" / "checkpoints" / "epoch=0002.ckpt")
    for part in ("state_dict", "current_model_state"):
        assert same(bare[part], checkpoint[part])


def test_a_resumed_run_is_bitwise_the_uninterrupted_one(tmp_path):
    """Also from the end of a training, where the average has taken the place of the trained weights."""

    def fit(folder, epochs, checkpoint=None):
        callbacks = [EMAWeightAveraging(decay=0.7), RandomState(), memorization_monitor(), utility_monitor()]
        callbacks += [EpochCheckpoint(every_n_epochs=2)]
        data = DataLoader(Pairs(40, 0), batch_size=10, generator=torch.Generator())
        options = {"max_epochs": epochs, "enable_checkpointing": True, "checkpoint": checkpoint, "data": data}
        train(tmp_path / folder, callbacks, **options)
        return callbacks[2].history, load_checkpoint(tmp_path / folder / "checkpoints" / f"epoch={epochs:04}.ckpt")

    history, whole = fit("whole", 4)
    fit("parts", 3)
    resumed, parts = fit("parts", 4, tmp_path / "parts" / "checkpoints" / "last.ckpt")
    assert resumed == history
    for part in ("state_dict", "current_model_state"):
        assert same(whole[part], parts[part])


def test_stochastic_weight_averaging_is_refused_by_name(tmp_path):
    for monitor in (memorization_monitor(), utility_monitor()):
        with pytest.raises(ValueError, match=r"StochasticWeightAveraging puts .* Use WeightAveraging or EMA"):
            train(tmp_path, [monitor, StochasticWeightAveraging(0.1)])
        assert monitor.history == []
