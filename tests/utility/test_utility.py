"""Probes by hand and against references, in training, offline, and with any number of processes."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from dejavu_lightning.callbacks import MemorizationMonitor, UtilityMonitor
from torch import nn
from torchmetrics.functional.classification import multiclass_accuracy

from dejavu_lightning.memorization import ModuleEncoder
from dejavu_lightning.report.runs import read_run
from dejavu_lightning.utility import LinearProbe, NearestNeighborProbe, UtilitySets, measure_utility
from dejavu_lightning.utility.averages import averages
from tests.commands import run
from tests.models import HostModule, Pairs, tiny_data, tiny_trainer, tiny_vicreg
from tests.processes import run_processes


def test_neighbours_by_hand():
    """Directions at 0 (class 0), 60 (class 1) and 80 degrees (class 1); the query looks along 10 degrees."""
    angles = [0.0, 60.0, 80.0]
    bank = torch.tensor([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles])
    query = 7 * torch.tensor([[math.cos(math.radians(10)), math.sin(math.radians(10))]])
    labels = torch.tensor([0, 1, 1])
    # Weights e^{cos/T}, up to the constant e^{-1/T}: cos 10 = .985, cos 50 = .643, cos 70 = .342.
    for temperature, winner in ((0.07, 0), (10.0, 1)):
        scores = NearestNeighborProbe(k=3, temperature=temperature).fit(3 * bank, labels, 2)(query)
        cosines = [math.cos(math.radians(abs(a - 10))) for a in angles]
        weights = [math.exp((cosine - 1) / temperature) for cosine in cosines]
        assert torch.allclose(scores, torch.tensor([[weights[0], weights[1] + weights[2]]]).double(), atol=1e-6)
        assert int(scores.argmax()) == winner
    assert NearestNeighborProbe(k=1).fit(bank, labels, 2)(query).argmax() == 0


def test_the_linear_probe_finds_the_optimum_of_the_regularised_problem():
    """SGD with weight decay approaches what a second-order solver finds for the same objective."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(120, 6, generator=generator) * torch.tensor([1.0, 5.0, 0.1, 1.0, 1.0, 20.0]) + 3
    labels = (
        features @ torch.randn(6, 4, generator=generator) * 0.3 + torch.randn(120, 4, generator=generator)
    ).argmax(1)
    decay = 0.01
    standard = ((features - features.mean(0)) / features.std(0, correction=0)).double()
    weight, bias = torch.zeros(4, 6).double().requires_grad_(), torch.zeros(4).double().requires_grad_()
    solver = torch.optim.LBFGS([weight, bias], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def objective():
        solver.zero_grad()
        loss = nn.functional.cross_entropy(standard @ weight.T + bias, labels)
        loss = loss + decay / 2 * (weight.square().sum() + bias.square().sum())
        loss.backward()
        return loss

    solver.step(objective)
    probe = LinearProbe(epochs=3000, base_lr=0.5, weight_decay=decay, batch_size=120)
    scores = probe.fit(features, labels, 4)(features)
    assert torch.allclose(scores, (standard @ weight.T + bias).detach(), atol=1e-3)


def test_the_recipe_of_meehan_et_al_step_by_step():
    """lin_probe.py and 3_lin_probe_vicreg.sh of facebookresearch/DejaVu: batches of 64, from 10 to 0.1 in a line, SGD.

    The gradient of the cross-entropy is (softmax - one-hot) x feature, and the momentum buffer starts at the first.
    """
    generator = torch.Generator().manual_seed(1)
    features = torch.rand(150, 6, generator=generator).double()
    labels = (features @ torch.randn(6, 4, generator=generator).double()).argmax(1)
    weight, bias = torch.zeros(4, 6).double(), torch.zeros(4).double()
    moved, moved_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    order, step, steps = torch.Generator().manual_seed(0), 0, 20 * 3  # 64, 64 and 22 of 150
    for _ in range(20):
        shuffled = torch.randperm(150, generator=order)
        for start in (0, 64, 128):
            rows = shuffled[start : start + 64]
            wrong = torch.softmax(features[rows] @ weight.T + bias, dim=1) - torch.eye(4).double()[labels[rows]]
            moved = 0.9 * moved + wrong.T @ features[rows] / len(rows)
            moved_bias = 0.9 * moved_bias + wrong.mean(dim=0)
            lr = 10 * (1 - step / steps) + 0.1 * step / steps
            weight, bias, step = weight - lr * moved, bias - lr * moved_bias, step + 1
    probe = LinearProbe(20, 40.0, batch_size=64, schedule="linear", final_lr_fraction=0.01, standardize=False)
    assert torch.allclose(probe.fit(features, labels, 4)(features), features @ weight.T + bias, rtol=1e-9)


def test_a_class_without_votes_is_never_among_the_top_five():
    """Seven classes, two neighbours of classes 5 and 6: classes 0 to 4 have no votes, so the truth 0 is missed."""
    train = [(torch.tensor([1.0, 0.0]), 5), (torch.tensor([1.0, 0.1]), 6), (torch.tensor([-1.0, 0.0]), 0)]
    validation = [(torch.tensor([1.0, 0.05]), 0), (torch.tensor([1.0, 0.05]), 6)]
    found = measure_utility(lambda x: x, [NearestNeighborProbe(k=2)], UtilitySets(train, validation, 7))
    assert found["knn_top5"] == 0.5


class Given:
    """A probe that takes the features for the scores."""

    name = "given"

    def fit(self, features, labels, num_classes):
        return lambda queries: queries


def test_accuracies_are_those_of_torchmetrics_where_no_classes_tie():
    scores, labels = torch.randn(60, 10, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 10
    validation = [(row, int(label)) for row, label in zip(scores, labels, strict=True)]
    found = measure_utility(lambda x: x, [Given()], UtilitySets(separable(10, 0), validation, 10))
    for top in (1, 5):
        expected = multiclass_accuracy(scores, labels, num_classes=10, top_k=top, average="micro")
        assert found[f"given_top{top}"] == pytest.approx(float(expected))


def test_of_equal_scores_the_lower_classes_come_first():
    """Ten classes with one score: the first is the answer, the first five the top five."""
    validation = [(torch.zeros(10), label) for label in range(10)]
    found = measure_utility(lambda x: x, [Given()], UtilitySets(separable(10, 0), validation[:5], 10))
    assert (found["given_top1"], found["given_top5"]) == (0.2, 1.0)
    found = measure_utility(lambda x: x, [Given()], UtilitySets(separable(10, 0), validation[5:], 10))
    assert (found["given_top1"], found["given_top5"]) == (0.0, 0.0)


def separable(count, seed, classes=10):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    return [
        (torch.eye(classes)[label] + 0.3 * torch.randn(classes, generator=generator), int(label)) for label in labels
    ]


def test_both_probes_learn_what_is_there_and_nothing_else():
    probes = [LinearProbe(epochs=30), NearestNeighborProbe(k=5)]
    found = measure_utility(lambda x: x, probes, UtilitySets(separable(200, 0), separable(100, 1), 10))
    assert found["linear_top1"] > 0.8
    assert found["knn_top1"] > 0.8
    assert found["linear_top5"] >= found["linear_top1"]
    blind = measure_utility(torch.zeros_like, probes, UtilitySets(separable(200, 0), separable(100, 1), 10))
    assert blind["linear_top1"] == pytest.approx(0.1)


def test_accuracy_counts_every_picture_once_by_hand():
    """Three validation pictures, batches of two: the padded fourth must not count."""
    train = [(torch.tensor([1.0, 0.0]), 0), (torch.tensor([0.0, 1.0]), 1)]
    validation = [(torch.tensor([1.0, 0.1]), 0), (torch.tensor([1.0, 0.2]), 0), (torch.tensor([1.0, 0.3]), 1)]
    found = measure_utility(lambda x: x, [NearestNeighborProbe(k=1)], UtilitySets(train, validation, 2), batch_size=2)
    # One neighbour votes for one class, and a class without votes is not among the top five.
    assert {name: value for name, value in found.items() if not name.endswith(("_low", "_high"))} == {
        "knn_top1": 2 / 3,
        "knn_top5": 2 / 3,
    }


def measured(batch_size, layers=False):
    torch.manual_seed(0)
    module = HostModule()
    sets = UtilitySets(Pairs(67, 2), Pairs(45, 1), 10)
    encode = (lambda module, x: {"early": x.flatten(1)[:, :9], "late": module.backbone(x)}) if layers else "backbone"
    probes = [LinearProbe(epochs=5), NearestNeighborProbe(k=3)]
    return measure_utility(ModuleEncoder(module, encode), probes, sets, batch_size=batch_size)


def test_the_interval_is_wilsons():
    """30 pictures, 21 right: 0.7 with [0.5212, 0.8334] (Wilson 1927)."""
    hits = torch.arange(30) % 10 < 7
    found = averages(torch.arange(30), {"a": hits})["a"]
    assert found.estimate[:3] == pytest.approx((0.7, 0.5212, 0.8334), abs=1e-4)


def test_a_picture_counts_once():
    """Ten trials a picture, always all right or all wrong: as sure as one trial a picture, not ten times as sure."""
    hits = torch.arange(40) % 2
    alone, many = averages(torch.arange(40), {"a": hits})["a"], averages(torch.arange(40), {"a": 10 * hits}, 10)["a"]
    assert alone.estimate.value == many.estimate.value == 0.5
    assert alone.estimate[1:3] == pytest.approx(many.estimate[1:3])
    assert alone.estimate.high - alone.estimate.low > 0.25  # 2 * 1.96 * 0.5 / sqrt(40) = 0.31


def test_the_order_of_the_rows_changes_nothing():
    shuffled = torch.tensor([3, 0, 4, 1, 2])
    hits = torch.tensor([1, 0, 0, 1, 1])
    one, other = averages(torch.arange(5), {"a": hits})["a"], averages(shuffled, {"a": hits[shuffled]})["a"]
    assert np.array_equal(one.values, other.values)
    assert one.rows == other.rows == [0, 1, 2, 3, 4]


def test_without_a_mistake_the_interval_has_a_width():
    """Of 20 pictures all right: Wilson's lower end is 20 / (20 + 1.96^2) = 0.8389."""
    found = averages(torch.arange(20), {"all": torch.ones(20), "none": torch.zeros(20)})
    assert found["all"].estimate[1:3] == (pytest.approx(0.8389, abs=1e-4), 1.0)
    assert found["none"].estimate[1:3] == (0.0, pytest.approx(0.1611, abs=1e-4))


SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "batch_size"), [(2, 8), pytest.param(4, 8, marks=SLOW), pytest.param(3, 64, marks=SLOW)]
)
def test_numbers_equal_one_process(processes, batch_size):
    alone = measured(batch_size, True)
    assert len(alone) == 8 * 3
    assert alone["linear_top1/late_low"] < alone["linear_top1/late"] < alone["linear_top1/late_high"]
    assert 0 < alone["linear_top1/late"] < alone["linear_top5/late"]
    for found in run_processes(processes, measured, batch_size, True):
        assert found == alone


def test_layers_are_measured_as_if_alone():
    layered, alone = measured(8, True), measured(8)
    for name, value in alone.items():
        end = next((end for end in ("_low", "_high") if name.endswith(end)), "")
        assert layered[f"{name.removesuffix(end)}/late{end}"] == value


def test_training_is_bitwise_the_same_and_the_curve_is_there(tmp_path):
    weights = []
    for monitored in (False, True):
        monitor = UtilityMonitor(probes=[LinearProbe(epochs=2), NearestNeighborProbe(k=3)], every_n_epochs=2)
        trainer = tiny_trainer(tmp_path / str(monitored), max_epochs=3, callbacks=[monitor] if monitored else [])
        module = tiny_vicreg()
        torch.manual_seed(5)
        trainer.fit(module, datamodule=tiny_data())
        weights.append(module.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    with (tmp_path / "True" / "utility" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["2.0", "3.0"]
    names = ("linear_top1", "linear_top5", "knn_top1", "knn_top5")
    assert set(rows[0]) == {"epoch", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))}
    assert all(float(row["knn_top1_low"]) <= float(row["knn_top1"]) <= float(row["knn_top1_high"]) for row in rows)
    assert "utility/linear_top1" in trainer.callback_metrics


def test_it_measures_as_often_as_the_other_monitor_where_nothing_else_is_asked_for(tmp_path):
    for given, others, expected in (
        ({}, [MemorizationMonitor(every_n_epochs=7)], 7),
        ({}, [], 50),
        ({"every_n_epochs": 3}, [MemorizationMonitor(every_n_epochs=7)], 3),
    ):
        monitor = UtilityMonitor(**given)
        trainer = tiny_trainer(tmp_path, callbacks=[monitor, *others])
        monitor.setup(trainer, tiny_vicreg(), "fit")
        assert monitor.every_n_epochs == expected
    with pytest.raises(ValueError, match="every_n_epochs must be at least 1, got 0"):
        UtilityMonitor(every_n_epochs=0)


@pytest.mark.slow
def test_the_command_repeats_the_numbers_of_training(config, tmp_path):
    out = tmp_path / "run"
    overlay = tmp_path / "utility.yaml"
    overlay.write_text("trainer:\n  callbacks+:\n    - class_path: dejavu_lightning.callbacks.UtilityMonitor\n")
    run("train.py", "fit", "--config", config, "--config", overlay, "--trainer.default_root_dir", out)
    with (out / "utility" / "history.csv").open() as file:
        during = list(csv.DictReader(file))[-1]
    arguments = ("--checkpoint", out / "checkpoints" / "last.ckpt", "--output", tmp_path / "utility.json")
    printed = run("evaluate.py", "utility", *arguments).stdout
    assert "linear_top1" in printed
    assert "95% interval" in printed
    found = json.loads((tmp_path / "utility.json").read_text())["metrics"]
    assert found == {name: float(value) for name, value in during.items() if name != "epoch"}
    layered = ("--encode", "encode_layers", "--output", tmp_path / "layers.json")
    layers = run("evaluate.py", "utility", *arguments[:2], *layered, "--linear.epochs", "1").stdout
    assert "knn_top1/projector.1" in layers
    beside = ("--encode", "encode_layers", "--utility", tmp_path / "layers.json", "--output", tmp_path / "measured")
    printed = run("evaluate.py", "memorization", "--target", arguments[1], "--reference", "HeldOut", *beside).stdout
    assert "by_layer.png" in printed
    scores = json.loads((tmp_path / "measured" / "metrics.json").read_text())["metrics"]
    assert scores["score/projector.1"] == scores["score"]
    probed = json.loads((tmp_path / "layers.json").read_text())["metrics"]
    shown = read_run(tmp_path / "measured").final_utility["knn_top1/projector.1"]  # beside memorization in the report
    assert shown.value == probed["knn_top1/projector.1"]
    during = list(csv.DictReader((out / "memorization" / "history.csv").open()))[-1]
    assert scores["score"] == float(during["score"])  # as without --encode


def on(encoder, samples, classes):
    return measure_utility(encoder, [], UtilitySets(samples, samples, classes))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NearestNeighborProbe(k=9).fit(torch.zeros(3, 2), torch.zeros(3), 2), "k=9 exceeds the 3 training"),
        (lambda: NearestNeighborProbe(temperature=0), "temperature > 0, got 20 and 0"),
        (lambda: LinearProbe(epochs=0), "epochs >= 1"),
        (lambda: LinearProbe(schedule="step"), r"schedule must be one of \['cosine', 'linear'\], got 'step'"),
        (lambda: LinearProbe(final_lr_fraction=2.0), r"final_lr_fraction must be in \[0, 1\], got 2.0"),
        (
            lambda: measure_utility(lambda x: x, [LinearProbe()], UtilitySets(separable(9, 0), separable(9, 1), 4)),
            r"outside \[0, 4\)",
        ),
        (
            lambda: measure_utility(lambda x: {"a": x[0]}, [LinearProbe()], UtilitySets(Pairs(9, 0), Pairs(9, 0), 10)),
            r"shape \(B, D\)",
        ),
        (lambda: tiny_data(held_out_per_class=0).utility_sets(), r"set data\.validation_per_class"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_validation_is_balanced_and_disjoint_from_the_bank():
    data = tiny_data(validation_per_class=5)
    sets = data.utility_sets()
    assert torch.bincount(sets.validation.labels).tolist() == [5] * 10
    others = {i for split in ("A", "B", "shared", "public", "held_out") for i in data.manifest.members[split]}
    assert not set(sets.validation.ids) & others
    assert set(sets.train.ids) == set(data.manifest.members["public"])
    with pytest.raises(ValueError, match=r"class 'disk' is short: 19 pictures remain for validation_per_class=19"):
        tiny_data(validation_per_class=19)
