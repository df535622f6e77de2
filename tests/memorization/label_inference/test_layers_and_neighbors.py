"""Several layers and several k of one pass: by hand, against one at a time, and the encoder's calls counted."""

import re

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import tensor

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.figures.artifacts import draw_each_series, draw_outcome_galleries
from dejavu_lightning.figures.tables import print_series
from dejavu_lightning.memorization import (
    HeldOut,
    LabelInference,
    MemorizationSets,
    ModuleEncoder,
    Records,
    SecondModel,
    ViewAlignment,
    compare,
    measure,
)
from tests.models import tiny_data, tiny_vicreg

DISPLAY = LabelInference.display


class Counted:
    """Two layers, the first and the second coordinate of a point; counts the batches it is asked for."""

    def __init__(self):
        self.calls = 0

    def __call__(self, points):
        self.calls += 1
        return {"early": points[:, :1], "late": points[:, 1:]}


def points(values, labels):
    return [(tensor(value), label) for value, label in zip(values, labels, strict=True)]


PUBLIC = points([(0.0, 9.0), (2.0, 1.0), (3.0, 2.0), (9.0, 3.0)], [0, 1, 1, 0])
ATTACKED = points([(0.9, 0.0), (8.0, 0.1)], [0, 1])


def test_numbers_of_neighbours_by_hand():
    sets = MemorizationSets(ATTACKED, PUBLIC, num_classes=2)
    test = LabelInference(k=1, ks=(4, 3, 1))
    found = test.prepare(lambda batch: batch[:, :1], sets)(ATTACKED, "attack")
    assert found.settings == {"test": "label_inference", "k": 1, "public": 4, "classes": 2, "ks": [1, 3, 4]}
    # From 0.9 the labels come as 0 1 1 0, from 8 as 0 1 1 0; of two against two the nearest voter's wins.
    predicted = {"k=1": [0, 0], "k=3": [1, 1], "k=4": [0, 0]}
    for name, classes in predicted.items():
        assert found.column(f"correct/{name}").tolist() == [classes[0] == 0, classes[1] == 1], name
    assert found.column("correct").tolist() == found.column("correct/k=1").tolist() == [True, False]
    shares = np.array([1, 2]) / 3  # of k=3
    entropy = -(shares * np.log(shares)).sum()
    assert found.column("confidence/k=3").tolist() == pytest.approx([-entropy, -entropy])
    # Three voters know both classes, one knows one.
    assert found.column("correct_top5/k=3").tolist() == [True, True]
    assert found.column("correct_top5/k=1").tolist() == [True, False]


def test_layers_come_from_one_pass_and_are_those_of_each_alone():
    sets = MemorizationSets(ATTACKED, PUBLIC, other_split=ATTACKED[::-1], num_classes=2)
    both, test = Counted(), LabelInference(k=1, ks=(2,))
    found = measure(both, test, HeldOut(), sets)
    assert both.calls == 3  # a batch of public, attacked and other pictures each
    alone = {
        "early": measure(lambda batch: batch[:, :1], test, HeldOut(), sets),
        "late": measure(lambda batch: batch[:, 1:], test, HeldOut(), sets),
    }
    for layer, one in alone.items():
        for name in ("score", "score@20", "top5_score", "target_accuracy", "reference_accuracy"):
            assert found.estimates[f"{name}/{layer}"] == one.estimates[name], (name, layer)
    # From 0.9 and 8 in the first coordinate the nearest labels are 0, 0; from 0 and 0.1 in the second 1, 1.
    assert found.target.column("correct/early").tolist() == [True, False]
    assert found.target.column("correct/late").tolist() == [False, True]
    # All other numbers are of the last layer.
    assert found.estimates["target_accuracy"] == alone["late"].estimates["target_accuracy"]
    assert found.target.table["neighbors"] == alone["late"].target.table["neighbors"]
    assert found.estimates["score/k=2"] == alone["late"].estimates["score/k=2"]
    assert found.target.settings["layers"] == ["early", "late"]


def test_a_model_s_layers_end_in_its_embedding():
    sets, test = tiny_data().memorization_sets(), LabelInference(k=5)
    target, other = tiny_vicreg(0), tiny_vicreg(1)
    numbers = {}
    for encode in (None, "encode_layers"):
        passes = []
        seen = target.backbone.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        second = SecondModel(ModuleEncoder(other, encode), allow_unverified_split=True)
        numbers[encode] = measure(ModuleEncoder(target, encode), test, second, sets).metrics, len(passes)
        seen.remove()
    (plain, once), (layered, as_often) = numbers.values()
    assert once == as_often
    assert plain.items() <= layered.items()
    assert layered["net_score/backbone"] == layered["score/backbone"] - layered["control_score/backbone"]
    last = [name for name in layered if re.fullmatch(r"score/projector\.\d", name)][-1]
    assert layered[last] == plain["score"]


def records(correct, top5=None, **further):
    correct = np.asarray(correct, bool)
    columns = {"confidence": np.zeros(len(correct)), "correct": correct}
    columns["correct_top5"] = correct if top5 is None else np.asarray(top5, bool)
    for name, other in further.items():
        columns |= {f"confidence/{name}": np.zeros(len(correct))}
        columns |= {f"{column}/{name}": np.asarray(other, bool) for column in ("correct", "correct_top5")}
    ids = [f"r{row:03d}" for row in range(len(correct))]
    fixed = {"id": ids, "label": np.zeros(len(ids), int), "predicted": np.where(correct, 0, 1)}
    return Records(pa.table({**fixed, **columns, "neighbors": [["p"]] * len(ids)}), {"test": "label_inference"})


def test_the_top5_score_by_hand():
    target, reference = records([1, 0, 0, 0], [1, 1, 1, 0]), records([0, 0, 0, 1], [0, 1, 0, 1])
    found = compare(target, reference)
    assert found.estimates["score"].value == 0
    one = found.estimates["top5_score"]
    assert one.value == 3 / 4 - 2 / 4
    assert one.low < one.value < one.high
    # Where the five are one, the interval is that of the score.
    alike = compare(records([1, 1, 0, 0]), records([1, 0, 0, 0])).estimates
    assert alike["top5_score"] == alike["score"]
    apart = compare(target, reference, paired=False).estimates["top5_score"]
    assert apart.value == 1 / 4
    assert apart.high - apart.low > 0.5


def test_a_reference_without_layers_answers_the_same_at_each():
    found = compare(records([1, 1, 0, 0], late=[1, 1, 1, 0]), records([1, 0, 0, 0]))
    assert found.metrics["score/late"] == 3 / 4 - 1 / 4
    assert found.metrics["reference_accuracy/late"] == 1 / 4
    assert found.gaps["score/late"][0].values.tolist() == [0, 1, 1, 0]


def test_the_axes_of_a_measurement():
    names = ("score", "score/k=100", "score/k=5", "score@20/k=5", "score/backbone", "score/projector.1", "other/score")
    layers, neighbors = DISPLAY.series(names)
    assert (layers.key, dict(layers.places)) == ("by_layer", {"backbone": None, "projector.1": None})
    assert list(neighbors.places.items()) == [("k=5", 5), ("k=100", 100)]
    assert DISPLAY.series(["score", "score@20"]) == ViewAlignment.display.series(["sslmem/late"]) == []


def test_each_axis_is_printed_and_drawn(tmp_path, capsys):
    estimates = {}
    for number, place in enumerate(("k=1", "k=10", "early", "late")):
        for name in ("net_score", "score", "target_accuracy", "reference_accuracy"):
            estimates[f"{name}/{place}"] = Estimate(number / 8, number / 8 - 0.0625, number / 8 + 0.0625)
    utility = {f"linear_top1/{place}": Estimate(0.75) for place in ("early", "late")} | {"knn_top1/late": Estimate(0.5)}
    drawn = draw_each_series(estimates, tmp_path, DISPLAY, utility)
    assert {name: path.name for name, path in drawn.items()} == {
        "by_layer": "by_layer.png",
        "by_neighbors": "by_neighbors.png",
    }
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in drawn.values())
    print_series(DISPLAY.series(estimates)[0], estimates, utility, DISPLAY)
    printed = capsys.readouterr().out
    assert "net déjà vu score by layer" in printed
    heading, line = (line for line in printed.splitlines() if "linear_top1" in line or "late" in line)
    assert "knn_top1" not in heading  # not of all layers
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        "late",
        "+0.375",
        "[+0.312, +0.438]",
        *["0.375"] * 2,
        "0.750",
    ]


def test_galleries_of_correlated_and_misrepresented_records(tmp_path):
    table = pa.table(
        {
            "id": ["a", "b", "c", "d", "e"],
            "outcome": ["correlated", "misrepresented", "correlated", "memorized", "misrepresented"],
            "target_confidence": [-0.5, -0.1, -0.2, 0.0, -0.1],
            "reference_confidence": [-0.1, -0.3, -0.9, 0.0, -0.2],
        }
    )
    chosen = {outcome: DISPLAY.of_outcome(table, outcome)["id"].to_pylist() for outcome in DISPLAY.galleries}
    assert chosen == {"correlated": ["c", "a"], "misrepresented": ["e", "b"]}
    assert ViewAlignment.display.of_outcome(table, "correlated").num_rows == 0

    sets, test = tiny_data().memorization_sets(), LabelInference(k=5)
    second = SecondModel(ModuleEncoder(tiny_vicreg(1)), allow_unverified_split=True)
    found = measure(tiny_vicreg(0), test, second, sets)
    rows = DISPLAY.gallery(found.comparison.table, found.target, sets, 100, "misrepresented")
    outcomes = dict(zip(*(found.comparison.table[name].to_pylist() for name in ("id", "outcome")), strict=True))
    assert {row.identifier for row in rows} == {
        name for name, outcome in outcomes.items() if outcome == "misrepresented"
    }
    assert rows
    drawn = draw_outcome_galleries(found, sets, tmp_path, DISPLAY)
    assert drawn["gallery_misrepresented"] == tmp_path / "gallery_misrepresented.png"
    assert drawn["gallery_misrepresented"].is_file()
    unpaired = measure(tiny_vicreg(0), test, HeldOut(), sets)
    assert draw_outcome_galleries(unpaired, sets, tmp_path, DISPLAY) == {}


def prepared(encoder, test=None, public=PUBLIC):
    return (test or LabelInference(k=1)).prepare(encoder, MemorizationSets(ATTACKED, public, num_classes=2))


def constant(batch):
    return {"early": batch, "dead": torch.zeros(len(batch), 2)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LabelInference(ks=(5, 0)), r"k, ks and batch_size must be at least 1, got k=None, ks=\[5, 0\]"),
        (
            lambda: prepared(Counted(), LabelInference(k=1, ks=(9,))),
            "k=9 exceeds the public set of 4 images; lower k and",
        ),
        (lambda: prepared(lambda batch: {}), r"shape \(B, D\), it returned a dict of none"),
        (
            lambda: prepared(lambda batch: {"map": batch[:, :, None, None].expand(-1, -1, 3, 3)}),
            r"'map' of those that it returned is \(4, 2, 3, 3\); pool",
        ),
        (lambda: prepared(constant), r"all 4 embeddings of the public \(dead\) set are the same"),
        (
            lambda: compare(
                prepared(Counted())(ATTACKED, "attack"),
                prepared(lambda batch: {"only": batch, "two": batch})(ATTACKED, "attack"),
            ),
            r"made differently \(layers: \['early', 'late'\] against \['only', 'two'\]\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
