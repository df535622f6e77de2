"""When training stops because memorization grows faster than utility, and what is restored."""

import csv
import random
import statistics
from itertools import islice

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import yaml
from dejavu_lightning.callbacks import EpochCheckpoint, MemorizationEarlyStopping, MemorizationMonitor, UtilityMonitor
from dejavu_lightning.callbacks.monitor import Monitor
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.memorization import HeldOut, LabelInference, measure
from dejavu_lightning.memorization.statistics import Terms
from dejavu_lightning.runs.checkpoints import completed_epochs, load_checkpoint
from dejavu_lightning.utility import NearestNeighborProbe
from tests.commands import TINY, run
from tests.models import HostModule, Pairs, tiny_data, tiny_trainer, tiny_vicreg


def share(hits, samples):
    """So many of the first samples are right."""
    return (np.arange(samples) < hits).astype(float)


def ids(count, decide):
    """So many ids that decide with half of all, or that judge."""
    told = (name for name in map(str, range(9999)) if DecisionPart(0.5).decides([name])[0] == decide)
    return list(islice(told, count))


class Scripted(Monitor):
    """Finds per deciding sample what it is told: one (N,) of zeros and ones for each epoch.

    As many samples judge, and find the opposite: did they have a say, every curve would be flat.
    """

    def __init__(self, name, samples):
        super().__init__(name, None, 1)
        self.samples = samples

    def on_train_epoch_end(self, trainer, module):
        self._measure(trainer, module, trainer.current_epoch + 1)

    def _measure(self, trainer, module, epoch):
        told = self.samples[epoch - 1]
        found = np.concatenate([told, 1 - told])
        self.history.append({"epoch": float(epoch), "m": float(found.mean())})
        self.terms = {"m": (Terms([*ids(len(told), True), *ids(len(told), False)], found),)}
        self.tell_followers(trainer)
        return self.history[-1]

    def _finish(self, trainer, module):
        pass


class Told(Scripted):
    """One that a config can name."""

    def __init__(self, name: str, hits: list[int]):
        super().__init__(name, [share(count, 100) for count in hits])


def script(memorized, useful, records=100, pictures=50):
    """Two monitors; hits of each epoch, or arrays."""
    return [
        Scripted(name, [hits if isinstance(hits, np.ndarray) else share(hits, size) for hits in told])
        for name, told, size in (("memorization", memorized, records), ("utility", useful, pictures))
    ]


def follow(folder, monitors, first=True, epochs=None, resumed=None, saver=(), **options):
    settings = {
        "memorization": "memorization/m",
        "utility": "utility/m",
        "restore_best": False,
        "patience": 2,
        **options,
    }
    stopping = MemorizationEarlyStopping(**settings)
    pl.seed_everything(0, verbose=False)
    trainer = tiny_trainer(
        folder,
        # It decides alike before the monitors, where the command line puts it, and behind them.
        callbacks=[*([stopping] if first else []), *monitors, *([] if first else [stopping]), *saver],
        enable_checkpointing=bool(saver),
        max_epochs=epochs or len(monitors[0].samples),
    )
    trainer.fit(HostModule(), DataLoader(Pairs(4, 0), batch_size=4), ckpt_path=resumed)
    return stopping, trainer


@pytest.mark.parametrize("first", [True, False])
def test_the_rule_by_hand(tmp_path, first):
    """20, then 50 of 100 records are memorized; 25, then 26 of 50 pictures are right; weight 1.

    T_1 = 0.50 - 0.20 = 0.30 and T_2 = 0.52 - 0.50 = 0.02, so G_2 = (0.50 - 0.20) - (0.52 - 0.50) = 0.28.
    30 records and 1 picture differ: the standard deviation is sqrt(0.3 * 0.7 / 99 + 0.02 * 0.98 / 49) = 0.0502,
    the interval 0.28 -+ 1.96 * 0.0502 = [0.1816, 0.3784]. From the four own intervals it would be
    0.28 -+ 1.96 * sqrt(0.2 * 0.8 / 100 + 0.5 * 0.5 / 100 + 0.5 * 0.5 / 50 + 0.52 * 0.48 / 50) = [0.047, 0.513].
    """
    stopping, trainer = follow(tmp_path, script([20, 50, 50], [25, 26, 26]), first, patience=1)
    one, two = stopping.history
    assert (one["epoch"], one["memorization"], one["utility"], one["value"]) == (1, 0.2, 0.5, pytest.approx(0.3))
    assert (one["growth_low"], one["growth"], one["growth_high"], one["waited"]) == (0, 0, 0, 0)
    assert (two["value"], two["growth"]) == (pytest.approx(0.02), pytest.approx(0.28))
    assert two["growth_low"] == pytest.approx(0.1816, abs=1e-4)
    assert two["growth_high"] == pytest.approx(0.3784, abs=1e-4)
    assert (two["deciding_records"], two["deciding_samples"]) == (100, 50)
    assert [monitor.history[-1]["m"] for monitor in trainer.callbacks if isinstance(monitor, Monitor)] == [0.5, 0.5]
    assert (two["waited"], trainer.current_epoch) == (1, 2)
    with (tmp_path / "tradeoff" / "history.csv").open() as file:
        assert [float(row["growth"]) for row in csv.DictReader(file)] == [row["growth"] for row in stopping.history]


def test_the_weight_by_hand(tmp_path):
    """Half as dear, 0.5 * 0.30 - 0.02 = 0.13; at 0.05, 0.015 - 0.02 < 0 and the second epoch is the best."""
    half = follow(tmp_path, script([20, 50], [25, 26]), weight=0.5)[0].history[-1]
    assert (half["growth"], half["best_epoch"]) == (pytest.approx(0.13), 1)
    cheap = follow(tmp_path, script([20, 50], [25, 26]), weight=0.05)[0].history[-1]
    assert (cheap["growth"], cheap["best_epoch"]) == (0, 2)


def test_the_interval_is_that_of_a_slow_paired_bootstrap(tmp_path):
    """Records and pictures that change in both directions, resampled one by one with Python's own generator."""
    draw = random.Random(0)
    told = [[np.array([float(draw.random() < p) for _ in range(n)]) for p in ps] for n, ps in SLOW]
    row = follow(tmp_path, script(*told), weight=0.7)[0].history[-1]
    changes = [(now - before).tolist() for before, now in told]
    slow = sorted(
        0.7 * statistics.fmean(draw.choices(changes[0], k=60)) - statistics.fmean(draw.choices(changes[1], k=80))
        for _ in range(8000)
    )
    assert row["growth"] == pytest.approx(0.7 * statistics.fmean(changes[0]) - statistics.fmean(changes[1]))
    assert row["growth_low"] == pytest.approx(slow[200], abs=0.02)
    assert row["growth_high"] == pytest.approx(slow[-200], abs=0.02)


SLOW = ((60, (0.2, 0.7)), (80, (0.6, 0.65)))


@pytest.mark.parametrize(
    ("memorized", "useful", "options", "stopped"),
    [
        ([10, 20, 40, 60, 60, 60], [10, 25, 25, 25, 25, 25], {}, 4),  # surely worse than epoch 2 at 3 and 4
        ([10, 20, 40, 60, 60, 60], [10, 25, 25, 25, 25, 25], {"patience": 3}, 5),
        ([10, 20, 40, 60, 60, 60], [10, 20, 30, 40, 45, 48], {}, None),  # utility grows twice as fast
        ([20, 21, 22, 21, 22, 22], [25, 25, 25, 25, 25, 25], {}, None),  # two records of a hundred: not surely
        ([20, 40, 21, 40, 21, 40], [25, 25, 25, 25, 25, 25], {}, None),  # never twice in a row
        ([10, 20, 40, 60, 60, 60], [10, 25, 25, 25, 25, 25], {"min_delta": 0.35}, None),  # 0.40 -+ 0.10
        ([10, 20, 40, 60, 60, 60], [10, 25, 25, 25, 25, 25], {"weight": 0}, None),  # utility alone, which stays
        ([10, 10, 10, 10, 10, 10], [40, 25, 25, 25, 25, 25], {}, 3),  # memorization stays, utility falls
    ],
)
def test_when_it_stops(tmp_path, memorized, useful, options, stopped):
    stopping, trainer = follow(tmp_path, script(memorized, useful), **options)
    assert trainer.current_epoch == (stopped or 6)
    assert len(stopping.history) == trainer.current_epoch
    assert trainer.should_stop == (stopped is not None)


def test_it_waits_for_the_least_number_of_epochs(tmp_path):
    stopping = MemorizationEarlyStopping("memorization/m", "utility/m", patience=2, restore_best=False)
    monitors = script([10, 20, 40, 60, 60, 60], [10, 25, 25, 25, 25, 25])
    trainer = tiny_trainer(tmp_path, callbacks=[stopping, *monitors], max_epochs=6, min_epochs=5)
    trainer.fit(HostModule(), DataLoader(Pairs(4, 0), batch_size=4))
    assert trainer.current_epoch == 5


def test_what_chose_flatters_and_the_rest_does_not():
    """Flat curves, M = 0.4 and U = 0.6 at each of 10 epochs: the best looks better to those that chose it alone."""
    draw, names = np.random.default_rng(0), [str(number) for number in range(200)]
    decides = DecisionPart(0.5).decides(names)
    errors = {True: [], False: []}
    for _ in range(150):
        stopping = MemorizationEarlyStopping()
        found = [(draw.random(200) < 0.4, draw.random(200) < 0.6) for _ in range(10)]
        for epoch, answers in enumerate(found):
            stopping._decide(epoch, *([stopping._deciding(Terms(names, each.astype(float)), "")] for each in answers))
        memorized, useful = found[int(stopping.history[-1]["best_epoch"])]
        for part, told in errors.items():
            told.append((memorized[decides == part].mean() - 0.4, useful[decides == part].mean() - 0.6))
    for part, told in errors.items():
        means, errors_of_means = np.mean(told, axis=0), np.std(told, axis=0) / 150**0.5
        if part:
            assert means[0] < -0.03
            assert means[1] > 0.03
        else:
            assert (np.abs(means) < 3 * errors_of_means).all()
            assert (errors_of_means < 0.006).all()


def accuracy(records):
    return Terms(records.ids, records.column("correct").double().numpy())


class AccuracyMonitor(MemorizationMonitor):
    """Takes what the target infers for one of the gaps."""

    def tell_followers(self, trainer):
        records = accuracy(self._latest.target)
        self.terms = {**self.terms, "target_accuracy": (records,)}
        super().tell_followers(trainer)


def real(folder, epochs=8, resumed=None, savers=None, **options):
    """Real monitors; what the target infers of the crops serves as memorization, because it surely grows."""
    pl.seed_everything(0, verbose=False)
    settings = {"memorization": "memorization/target_accuracy", "utility": "utility/knn_top1", "weight": 20.0}
    settings["decide_on"] = 0.9  # of 40 records
    stopping = MemorizationEarlyStopping(**{**settings, **options})
    monitors = [
        AccuracyMonitor(test=LabelInference(k=5), every_n_epochs=1, figures=False),
        UtilityMonitor(probes=[NearestNeighborProbe(k=5)], every_n_epochs=1),
    ]
    callbacks = [stopping, *monitors, *([EpochCheckpoint(1)] if savers is None else savers)]
    trainer = tiny_trainer(folder, max_epochs=epochs, callbacks=callbacks, enable_checkpointing=True)
    module = tiny_vicreg()
    trainer.fit(module, tiny_data(), ckpt_path=resumed)
    return stopping, trainer, module


def test_a_real_run_stops_and_restores_the_best_weights(tmp_path):
    stopping, trainer, module = real(tmp_path, patience=1)
    last = stopping.history[-1]
    assert trainer.should_stop
    assert last["epoch"] == trainer.current_epoch < 8
    assert last["growth_low"] > 0
    assert last["best_epoch"] < last["epoch"]
    end = int(last["epoch"])
    kept = {n: load_checkpoint(tmp_path / "checkpoints" / f"epoch={n:04d}.ckpt")["state_dict"] for n in (1, end)}
    assert last["best_epoch"] == 1
    assert any(not torch.equal(value, kept[end][name]) for name, value in kept[1].items())
    for name, value in module.state_dict().items():
        assert torch.equal(value, kept[1][name]), name
    assert completed_epochs(load_checkpoint(tmp_path / "tradeoff" / "best.ckpt")) == 1
    # What is kept of the end of training is not touched by what is restored.
    assert completed_epochs(load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")) == end
    for name, value in load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["state_dict"].items():
        assert torch.equal(value, kept[end][name]), name


def test_the_restored_model_is_the_one_that_was_measured(tmp_path):
    stopping, _, module = real(tmp_path, patience=1)
    sets = tiny_data().memorization_sets()
    ids, correct = accuracy(measure(module, LabelInference(k=5), HeldOut(), sets, epoch=1).target)
    decides = DecisionPart(0.9).decides(ids)
    assert stopping.history[0]["memorization"] == correct[decides].mean()
    assert stopping.history[0]["deciding_records"] == decides.sum()
    assert correct[decides].mean() not in (correct.mean(), stopping.history[-1]["memorization"])


def test_lightnings_own_checkpoints_serve_too(tmp_path):
    def saver():
        return [
            ModelCheckpoint(dirpath=tmp_path / "own", save_top_k=-1, every_n_epochs=1, save_on_train_epoch_end=True)
        ]

    _, _, module = real(tmp_path / "a", savers=saver(), patience=1)
    best = load_checkpoint(tmp_path / "a" / "tradeoff" / "best.ckpt")
    assert completed_epochs(best) == 1
    assert all(torch.equal(value, best["state_dict"][name]) for name, value in module.state_dict().items())


def test_the_last_epoch_may_be_the_best(tmp_path):
    """Then the weights stay, and are saved where no checkpoint callback did."""
    monitors = script([10, 10], [10, 20])
    for monitor in monitors:
        monitor.every_n_epochs = 2  # so that only the last epoch counts, which need not be kept
    stopping = MemorizationEarlyStopping("memorization/m", "utility/m")
    trainer = tiny_trainer(tmp_path, callbacks=[stopping, *monitors])
    trainer.fit(HostModule(), DataLoader(Pairs(4, 0), batch_size=4))
    assert stopping.history[-1]["best_epoch"] == 2
    assert completed_epochs(load_checkpoint(tmp_path / "tradeoff" / "best.ckpt")) == 2


COURSE = ([10, 20, 40, 60, 60, 60], [10, 25, 25, 25, 25, 25])


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_resumed_run_decides_the_same(tmp_path, cut):
    whole, _ = follow(tmp_path / "whole", script(*COURSE), patience=3)
    assert [row["waited"] for row in whole.history] == [0, 0, 1, 2, 3]
    follow(tmp_path / "cut", script(*COURSE), epochs=cut, patience=3, saver=[EpochCheckpoint(1)])
    last = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    resumed, trainer = follow(tmp_path / "cut", script(*COURSE), resumed=last, patience=3, saver=[EpochCheckpoint(1)])
    assert resumed.history == whole.history
    assert trainer.current_epoch == 5


def test_a_run_that_was_told_to_stop_trains_no_further_when_resumed(tmp_path):
    follow(tmp_path, script(*COURSE), saver=[EpochCheckpoint(1)])
    last = tmp_path / "checkpoints" / "last.ckpt"
    stopping, trainer = follow(tmp_path, script(*COURSE), resumed=last, saver=[EpochCheckpoint(1)])
    assert (trainer.current_epoch, len(stopping.history)) == (4, 4)
    _, trainer = follow(tmp_path, script(*COURSE), resumed=last, saver=[EpochCheckpoint(1)], patience=9)
    assert trainer.current_epoch == 6


def test_a_checkpoint_that_will_be_missing_is_named_before_training(tmp_path):
    for savers, told in (
        ([], "is: nothing"),
        ([EpochCheckpoint(2)], "is: EpochCheckpoint every 2"),
        ([ModelCheckpoint(dirpath=tmp_path / "one", save_top_k=1)], "is: nothing"),
    ):
        with pytest.raises(
            ValueError, match=rf"every 1 epochs, but .* {told}. Add EpochCheckpoint\(every_n_epochs=1\)"
        ):
            real(tmp_path / "run", savers=savers)
    assert not (tmp_path / "run" / "memorization").exists()  # nothing was measured
    assert real(tmp_path / "run", savers=[], restore_best=False, epochs=1)[0].history


def test_a_checkpoint_that_was_removed_is_named_when_resuming(tmp_path):
    real(tmp_path, epochs=2, patience=9)
    (tmp_path / "checkpoints" / "epoch=0001.ckpt").unlink()
    with pytest.raises(FileNotFoundError, match="best trade-off so far was at epoch 1, whose checkpoint is not in"):
        real(tmp_path, epochs=4, patience=9, resumed=tmp_path / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"decide_on": 1.0}, r"decide_on: the share .* must be above 0 and below 1, got 1.0"),
        ({"decide_on": 0.001}, "of the 40 samples of memorization/target_accuracy none decides with decide_on=0.001"),
        ({"weight": -1.0}, "weight must be at least 0 and finite, got -1.0"),
        ({"min_delta": float("nan")}, "min_delta must be at least 0 and finite, got nan"),
        (
            {"memorization": "memory/score"},
            r"memorization='memory/score' is of no monitor .* 'memorization', 'utility'",
        ),
        (
            {"utility": "utility/linear_top1"},
            "utility='utility/linear_top1' is no metric of 'utility'; choose from utility/knn",
        ),
        (
            {"utility": "utility"},
            "utility='utility' is no metric of 'utility'; choose from utility/knn_top1, utility/knn",
        ),
        (
            {"memorization": "memorization/ppg"},
            "'ppg' is no metric of 'memorization' that its records add up to; choose from .*/score",
        ),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        real(tmp_path, epochs=2, **options)


def test_the_headline_metric_needs_not_be_named(tmp_path):
    named = real(tmp_path / "named", epochs=1, memorization="memorization/score")[0].history
    assert real(tmp_path / "unnamed", epochs=1, memorization="memorization")[0].history == named


@pytest.mark.slow
def test_processes_stop_together_and_the_command_line_takes_the_callbacks_in_any_order(tmp_path):
    """Were it not together, the run would hang."""
    told = [{"name": name, "hits": hits} for name, hits in zip(("told_memory", "told_use"), COURSE, strict=True)]
    callbacks = [
        {
            "class_path": "dejavu_lightning.callbacks.MemorizationEarlyStopping",
            "init_args": {"memorization": "told_memory/m", "utility": "told_use/m", "patience": 2},
        },
        *({"class_path": f"{__name__}.Told", "init_args": arguments} for arguments in told),
    ]
    trainer = {**TINY["trainer"], "callbacks": callbacks, "strategy": "ddp", "devices": 2, "max_epochs": 6}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**TINY, "trainer": trainer}))
    run("train.py", "fit", "--config", tmp_path / "config.yaml", "--trainer.default_root_dir", tmp_path / "run")
    with (tmp_path / "run" / "tradeoff" / "history.csv").open() as file:
        assert [float(row["waited"]) for row in csv.DictReader(file)] == [0, 0, 1, 2]
    assert completed_epochs(load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")) == 4
    best = tmp_path / "run" / "tradeoff" / "best.ckpt"
    assert completed_epochs(load_checkpoint(best)) == 2
    assert "knn_top1" in run("evaluate.py", "utility", "--checkpoint", best, "--linear.epochs", "1").stdout
