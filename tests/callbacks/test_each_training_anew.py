"""A callback that is given to another training begins anew, and leaves the files of the first alone."""

import csv

import pytest
from dejavu_lightning.callbacks import EpochCheckpoint, MemorizationEarlyStopping
from torch.utils.data import DataLoader

from dejavu_lightning.runs.checkpoints import checkpoint_names, load_checkpoint
from tests.callbacks.hosts import memorization_monitor, memorization_sets, train, utility_monitor
from tests.models import Pairs, tiny_trainer


def epochs_in(folder):
    with (folder / "history.csv").open() as file:
        return [float(row["epoch"]) for row in csv.DictReader(file)]


def stopping():
    return MemorizationEarlyStopping("memorization/score", "utility/knn_top1", restore_best=False, patience=9)


def test_callbacks_of_one_training_given_to_another(tmp_path):
    def callbacks():
        return [memorization_monitor(), utility_monitor(), stopping(), EpochCheckpoint(every_n_epochs=1)]

    fresh = callbacks()
    train(tmp_path / "fresh", fresh, seed=1, enable_checkpointing=True)
    shared = callbacks()
    train(tmp_path / "first", shared, seed=0, enable_checkpointing=True)
    train(tmp_path / "second", shared, seed=1, enable_checkpointing=True)
    for one, other in zip(fresh[:3], shared[:3], strict=True):
        assert other.history == one.history
    names = ["epoch=0000.ckpt", "epoch=0001.ckpt", "epoch=0002.ckpt", "last.ckpt"]
    for folder in ("first", "second"):
        assert checkpoint_names(tmp_path / folder / "checkpoints") == names
        assert epochs_in(tmp_path / folder / "memorization") == [0, 1, 2]
        assert epochs_in(tmp_path / folder / "tradeoff") == [1, 2]


@pytest.mark.parametrize("given", [None, "curve"])
def test_another_training_in_the_folder_has_one_of_its_own_and_a_resumed_one_goes_on_in_it(tmp_path, given):
    folder = given and str(tmp_path / given)

    def fit(epochs, checkpoint=None):
        saver = EpochCheckpoint(every_n_epochs=1, dirpath=str(tmp_path / f"kept_{epochs}"))
        monitor = memorization_monitor(folder=folder)
        options = {"max_epochs": epochs, "enable_checkpointing": True, "checkpoint": checkpoint}
        train(tmp_path, [monitor, saver], **options)

    fit(3)
    first = tmp_path / (given or "memorization")
    second = first / "version_1" if given else tmp_path / "version_1" / "memorization"
    before = {path: path.read_bytes() for path in first.rglob("*.*") if path.is_file()}
    fit(1)
    assert epochs_in(second) == [0, 1]
    fit(2, tmp_path / "kept_1" / "last.ckpt")
    assert epochs_in(second) == [0, 1, 2]
    assert before == {path: path.read_bytes() for path in before}
    assert epochs_in(first) == [0, 1, 2, 3]


def test_a_curve_of_the_untrained_weights_alone_blocks_nothing(tmp_path):
    def failing(*arguments):
        raise KeyError("of the host")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.models.HostModule.training_step", failing)
        with pytest.raises(KeyError, match="of the host"):
            train(tmp_path, [memorization_monitor()])
    assert epochs_in(tmp_path / "memorization") == [0]
    train(tmp_path, [memorization_monitor()])
    assert epochs_in(tmp_path / "memorization") == [0, 1, 2]


def test_a_trainer_that_trains_on_continues_its_curve(tmp_path):
    monitor = memorization_monitor()
    trainer = tiny_trainer(tmp_path, callbacks=[monitor])
    module = train(tmp_path, [], trainer=trainer)
    trainer.fit_loop.max_epochs = 3
    train(tmp_path, [], trainer=trainer, module=module)
    assert epochs_in(tmp_path / "memorization") == [0, 1, 2, 3]


def test_fast_dev_run_measures_and_writes_nothing(tmp_path, caplog):
    caplog.set_level("INFO")
    callbacks = [memorization_monitor(), utility_monitor(), stopping(), EpochCheckpoint(every_n_epochs=1)]
    train(tmp_path, callbacks, fast_dev_run=True, enable_checkpointing=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert callbacks[0].history == callbacks[1].history == []
    assert "memorization: with fast_dev_run nothing is measured and nothing is written" in caplog.text


def test_evaluation_of_lightning_measures_nothing_and_says_so(tmp_path, caplog):
    caplog.set_level("INFO")
    monitor = memorization_monitor()
    trainer = tiny_trainer(tmp_path, callbacks=[monitor])
    module = train(tmp_path, [], trainer=trainer)
    module.test_step = lambda batch, batch_idx: None
    curve = list(monitor.history)
    trainer.test(module, DataLoader(Pairs(4, 0)), verbose=False)
    assert "memorization: measured while a model trains, test measures nothing" in caplog.text
    assert monitor.history == curve


def test_two_monitors_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"MemorizationMonitor and UtilityMonitor are both named 'curve'.*a name="):
        train(tmp_path, [memorization_monitor(name="curve"), utility_monitor(name="curve")])


def test_checkpoints_say_which_folder_a_curve_is_in(tmp_path):
    saver = EpochCheckpoint(every_n_epochs=1)
    train(tmp_path, [memorization_monitor(data=memorization_sets()), saver], max_epochs=1, enable_checkpointing=True)
    states = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["callbacks"]
    (state,) = [state for key, state in states.items() if key.startswith("MemorizationMonitor")]
    assert state["version"] == 0
