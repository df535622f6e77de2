"""EarlyStopping and ModelCheckpoint of Lightning find a value of every key at any time, at any cadence."""

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader

from tests.callbacks.hosts import memorization_monitor, train, utility_monitor
from tests.models import HostModule, Pairs


class Validated(HostModule):
    def validation_step(self, batch, index):
        self.log("val", 1.0)


class Seen(Callback):
    """What others would find, after each validation and after each epoch."""

    def __init__(self, key):
        self.key, self.validated, self.ended = key, [], []

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            self.validated.append(float(trainer.callback_metrics[self.key]))

    def on_train_epoch_end(self, trainer, module):
        self.ended.append(float(trainer.callback_metrics[self.key]))


def fit(folder, *callbacks, **options):
    loader = DataLoader(Pairs(20, 5), batch_size=10)
    options = {"max_epochs": 4, "enable_checkpointing": True, **options}
    train(folder, list(callbacks), validation=loader, module=Validated(), **options)


@pytest.mark.parametrize(
    ("make", "key", "first"),
    [(memorization_monitor, "memorization/score", 0), (utility_monitor, "utility/knn_top1", 0)],
)
def test_the_latest_value_stands_there_from_the_start(tmp_path, make, key, first):
    monitor, seen = make(every_n_epochs=2), Seen(key)
    watchers = [EarlyStopping(key, patience=99), ModelCheckpoint(tmp_path, monitor=key, save_top_k=-1)]
    fit(tmp_path, monitor, seen, *watchers, check_val_every_n_epoch=1)
    values = {int(row["epoch"]): row[key.partition("/")[2]] for row in monitor.history}
    assert sorted(values) == [0, 2, 4]
    # Lightning validates before an epoch ends, and so before it is measured.
    assert seen.validated == pytest.approx([values[0], values[0], values[2], values[2]])
    assert seen.ended == pytest.approx([values[0], values[2], values[2], values[4]])
    assert len(watchers[1].best_k_models) == 4


def test_an_untrained_model_has_its_utility_measured_only_for_who_watches(tmp_path):
    monitor = utility_monitor(every_n_epochs=2)
    fit(tmp_path, monitor)
    assert [row["epoch"] for row in monitor.history] == [2, 4]


def test_a_patience_that_ends_before_the_next_measurement_is_refused(tmp_path):
    monitor, stop = memorization_monitor(every_n_epochs=3), EarlyStopping("memorization/score", patience=2)
    with pytest.raises(ValueError, match=r"patience=2\) counts epochs, .*every_n_epochs=3 .* give patience=3 \* m"):
        fit(tmp_path, monitor, stop)
    fit(tmp_path, memorization_monitor(every_n_epochs=3), EarlyStopping("memorization/score", patience=3))
    after_validation = EarlyStopping("memorization/score", patience=2, check_on_train_epoch_end=False)
    fit(tmp_path, memorization_monitor(every_n_epochs=3), after_validation, check_val_every_n_epoch=3)


def test_a_key_that_no_monitor_has_is_refused_before_training(tmp_path):
    for watcher in (EarlyStopping("memorization/skore"), ModelCheckpoint(tmp_path, monitor="memorization/skore")):
        message = r"monitor='memorization/skore'\) watches no key of 'memorization'; nearest are memorization/score"
        with pytest.raises(ValueError, match=message):
            fit(tmp_path, memorization_monitor(), watcher)
    fit(tmp_path, memorization_monitor(), EarlyStopping("memorization/skore", strict=False), max_epochs=1)


def test_an_encoder_that_cannot_take_the_pictures_is_named_before_training(tmp_path):
    def takes_larger(module, images):
        assert images.shape[-1] == 224, "Input height (16) doesn't match model (224)"

    message = r"encoder fails on a batch of shape \(\d+, 3, 16, 16\) of the (public|train) set: Asserti.*: Input he"
    for make in (memorization_monitor, utility_monitor):
        monitor = make(encode=takes_larger, every_n_epochs=50)
        with pytest.raises(ValueError, match=message):
            fit(tmp_path, monitor)
        assert monitor.history == []
    with pytest.raises(ValueError, match="Validated has no 'bakbone' to encode with"):
        fit(tmp_path, utility_monitor(encode="bakbone"))
