import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dejavu_lightning.callbacks import MemorizationMonitor

from dejavu_lightning.core.object_file import read_tags
from dejavu_lightning.core.samples import Subsample
from dejavu_lightning.memorization import (
    LabelInference,
    MemorizationSets,
    ModuleEncoder,
    NaiveBayes,
    ObjectRetrieval,
    TextEmbedder,
    measure,
)
from dejavu_lightning.memorization.references.naive_bayes import label_probabilities, learn_tags
from tests.models import tiny_data, tiny_trainer, tiny_vicreg


def test_probabilities_by_hand():
    # Label 0 twice with tag 0, once of them with tag 1; label 1 once with tag 1; smoothing 1, two tags, two labels.
    model = learn_tags(torch.tensor([[0, 1], [0, -1], [1, -1]]), torch.tensor([0, 0, 1]), 2, 2)
    # P(c) = 3/5, 2/5.  n(t, c): tag 0: 2, 0; tag 1: 1, 1.  P(t|0) = 3/5, 2/5; P(t|1) = 1/3, 2/3.
    # P(c|tag 0) = 3/4, 1/4; P(c|tag 1) = 2/4, 2/4.
    tags = torch.tensor([[0, 1], [1, -1], [-1, -1]])
    both = (3 / 5 * 3 / 5 * 2 / 5, 2 / 5 * 1 / 3 * 2 / 3)  # 18/125 and 4/45
    one = (3 / 5 * 2 / 5, 2 / 5 * 2 / 3)  # 6/25 and 4/15
    expected = [[both[0] / sum(both), both[1] / sum(both)], [one[0] / sum(one), one[1] / sum(one)], [3 / 5, 2 / 5]]
    torch.testing.assert_close(label_probabilities(model, tags), torch.tensor(expected, dtype=torch.float64))
    # 3/4 * 2/4 against 1/4 * 2/4; 2/4 against 2/4; nothing.
    expected = [[3 / 4, 1 / 4], [1 / 2, 1 / 2], [1 / 2, 1 / 2]]
    model = learn_tags(torch.tensor([[0, 1], [0, -1], [1, -1]]), torch.tensor([0, 0, 1]), 2, 2, form="product")
    found = label_probabilities(model, tags)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("form", ["posterior", "product"])
@pytest.mark.parametrize("smoothing", [1.0, 0.3])
def test_probabilities_equal_a_slow_independent_count(form, smoothing):
    random = np.random.default_rng(0)
    num_tags, num_classes, width = 7, 4, 3
    tags = [random.choice(num_tags, random.integers(0, width + 1), replace=False).tolist() for _ in range(60)]
    labels = random.integers(0, num_classes, 60).tolist()

    def times(tag, label):
        return sum(tag in row and own == label for row, own in zip(tags, labels, strict=True)) + smoothing

    def probabilities(row):
        weights = []
        for label in range(num_classes):
            weight = (labels.count(label) + smoothing) / (60 + smoothing * num_classes) if form == "posterior" else 1
            for tag in row:
                others = (
                    sum(times(other, label) for other in range(num_tags))
                    if form == "posterior"
                    else sum(times(tag, other) for other in range(num_classes))
                )
                weight *= times(tag, label) / others
            weights.append(weight)
        return [weight / sum(weights) for weight in weights]

    rows = torch.tensor([row + [-1] * (width - len(row)) for row in tags])
    model = learn_tags(rows, torch.tensor(labels), num_tags, num_classes, smoothing, form)
    expected = torch.tensor([probabilities(row) for row in tags], dtype=torch.float64)
    torch.testing.assert_close(label_probabilities(model, rows), expected)


def write_tags(path, sets, tags_of, roles=("attack", "other_split", "neither_split")):
    with path.open("w") as file:
        for role in roles:
            dataset = getattr(sets, role)
            for identifier, label in zip(dataset.ids, dataset.labels.tolist(), strict=True):
                objects = [{"label": tag, "score": score} for tag, score in tags_of(identifier, label)]
                file.write(json.dumps({"id": identifier, "objects": objects}) + "\n")
    return str(path)


def half(identifier, label):
    """A tag that tells two labels apart, of some records only, and two that tell nothing."""
    told = [(f"kind {label // 2}", 0.9)] if int(identifier.split("-")[-1]) % 3 else []
    return [("sky", 0.2), *told, ("ground", 0.1)]


def test_a_reference_made_of_tags(tmp_path):
    data = tiny_data()
    sets = data.memorization_sets()
    reference = NaiveBayes(write_tags(tmp_path / "tags.jsonl", sets, half), k=1)
    encoder = ModuleEncoder(tiny_vicreg(), None)
    test = LabelInference(k=5, batch_size=16)
    found = measure(encoder, test, reference, sets)
    rows = found.reference.table.to_pylist()
    position = dict(zip(sets.attack.ids, sets.attack.labels.tolist(), strict=True))
    for row in rows:
        label = position[row["id"]]
        told = int(row["id"].split("-")[-1]) % 3 != 0
        if told:  # the pair of labels is known; the lower of equals is predicted
            assert row["predicted"] // 2 == label // 2
        assert row["neighbors"] == []
    told = [-row["confidence"] for row in rows if int(row["id"].split("-")[-1]) % 3]
    untold = [-row["confidence"] for row in rows if int(row["id"].split("-")[-1]) % 3 == 0]
    assert 0 < max(told) < min(untold) <= math.log(10)
    assert {"control_score", "net_score_p_value", "memorized", "score_low"} <= set(found.metrics)

    table = found.comparison.table.to_pylist()
    for row in table:
        # H(reference) - H(target) in nats (Kokhlikyan et al. 2025, arXiv 2504.05651); a confidence is -H.
        assert row["memorization_confidence"] == pytest.approx(-row["reference_confidence"] - -row["target_confidence"])
    again = measure(encoder, test, reference, sets)
    assert again.reference.table is found.reference.table, "tags are counted once"


def test_the_highest_scores_count_and_unknown_tags_do_not(tmp_path):
    sets = tiny_data().memorization_sets()
    encoder, test = ModuleEncoder(tiny_vicreg(), None), LabelInference(k=5, batch_size=16)

    def answers(name, tags_of, k):
        return measure(encoder, test, NaiveBayes(write_tags(tmp_path / name, sets, tags_of), k=k), sets).reference.table

    def noisy(identifier, label):
        return [(f"noise of {identifier}", 0.5), (f"label {label}", 0.6), ("common", 0.4)]

    alone = answers("alone", lambda identifier, label: [(f"label {label}", 1.0)], 1)
    assert alone["correct"].to_pylist() == [True] * len(alone)
    assert answers("noisy", noisy, 1).drop_columns("neighbors") == alone.drop_columns("neighbors")
    assert answers("noisy", noisy, 2)["predicted"] == alone["predicted"]


def test_the_monitor_takes_it_and_asks_in_time(tmp_path):
    data = tiny_data()
    path = write_tags(tmp_path / "tags.jsonl", data.memorization_sets(), half)
    monitor = MemorizationMonitor(
        test=LabelInference(k=5), reference=NaiveBayes(path, k=2), every_n_epochs=1, figures=False
    )
    tiny_trainer(tmp_path, callbacks=[monitor]).fit(tiny_vicreg(), data)
    assert len({row["reference_accuracy"] for row in monitor.history}) == 1
    assert len(monitor.history) == 3

    path = write_tags(tmp_path / "few.jsonl", data.memorization_sets(), half, roles=["other_split"])
    monitor = MemorizationMonitor(test=LabelInference(k=5), reference=NaiveBayes(path), every_n_epochs=1)
    with pytest.raises(ValueError, match=r"few.jsonl' has no line for 40 of the 40 records of the attack set, such as"):
        tiny_trainer(tmp_path, callbacks=[monitor]).fit(tiny_vicreg(), data)


def test_it_learns_from_all_records_however_few_are_attacked(tmp_path):
    sets = tiny_data().memorization_sets()
    encoder, test = ModuleEncoder(tiny_vicreg(), None), LabelInference(k=5, batch_size=16)
    path = write_tags(tmp_path / "tags.jsonl", sets, half)
    whole = measure(encoder, test, NaiveBayes(path, k=2), sets).reference.table
    few = measure(encoder, test, NaiveBayes(path, k=2), sets.subsample(10, None)).reference.table
    assert len(few) == 10
    rows = {row["id"]: row for row in whole.to_pylist()}
    assert few.to_pylist() == [rows[row["id"]] for row in few.to_pylist()]


def test_a_reference_for_other_tests_is_refused_before_training(tmp_path):
    data = tiny_data()
    monitor = MemorizationMonitor(test=LabelInference(k=5), reference=TextEmbedder("nowhere"), every_n_epochs=1)
    with pytest.raises(
        TypeError, match="TextEmbedder cannot be the reference of LabelInference: it is made for tests of"
    ):
        tiny_trainer(tmp_path, callbacks=[monitor]).fit(tiny_vicreg(), data)


def test_held_out_records_need_tags_all_or_none(tmp_path):
    sets = tiny_data().memorization_sets()
    path = write_tags(tmp_path / "tags.jsonl", sets, half, roles=["attack", "other_split"])
    encoder, test = ModuleEncoder(tiny_vicreg(), None), LabelInference(k=5)
    assert "control_score" not in measure(encoder, test, NaiveBayes(path), sets).metrics
    with open(path, "a") as file:
        file.write(json.dumps({"id": sets.neither_split.ids[0], "objects": []}) + "\n")
    with pytest.raises(ValueError, match="has no line for 29 of the 30 records of the held-out set"):
        NaiveBayes(path).check(LabelInference(k=5), sets, [])


def test_bad_input(tmp_path):
    sets = tiny_data().memorization_sets()
    path = write_tags(tmp_path / "tags.jsonl", sets, half)
    with pytest.raises(ValueError, match="k=0"):
        NaiveBayes(path, k=0)
    with pytest.raises(ValueError, match="smoothing=0"):
        NaiveBayes(path, smoothing=0)
    with pytest.raises(ValueError, match="form must be one of posterior, product, got 'sum'"):
        NaiveBayes(path, form="sum")
    lone = MemorizationSets(sets.attack, sets.public, 10)
    with pytest.raises(ValueError, match="learns from 'other_split' of the memorization sets, and there is none"):
        NaiveBayes(path).check(LabelInference(k=5), lone, [])
    plain = MemorizationSets(sets.attack, sets.public, 10, other_split=[(torch.zeros(3, 8, 8), 0)])
    with pytest.raises(TypeError, match="needs attributes 'ids' and 'labels' of the other_split set, a list"):
        NaiveBayes(path).check(LabelInference(k=5), plain, [])
    unlabelled = SimpleNamespace(ids=["a"])
    part = MemorizationSets(sets.attack, sets.public, 10, other_split=Subsample(unlabelled, np.array([0])))
    with pytest.raises(TypeError, match="needs attributes 'ids' and 'labels' of the other_split set, a Subsample"):
        NaiveBayes(path).check(LabelInference(k=5), part, [])
    assert Subsample(SimpleNamespace(labels=[3, 4, 5]), np.array([2, 0])).labels.tolist() == [5, 3]
    empty = write_tags(tmp_path / "empty.jsonl", sets, lambda identifier, label: [])
    attack = LabelInference(k=5).prepare(ModuleEncoder(tiny_vicreg(), None), sets)
    with pytest.raises(ValueError, match=r"empty.jsonl' has no tag of any of the 40 records to learn from"):
        NaiveBayes(empty).records(attack, None)

    class Retrieval:
        test = ObjectRetrieval()

    with pytest.raises(TypeError, match="reference of ObjectRetrieval: it is made for tests of label"):
        NaiveBayes(path).records(Retrieval(), None)


def test_tags_are_read_by_score(tmp_path):
    path = tmp_path / "tags.jsonl"
    lines = [
        {
            "id": "a",
            "objects": [{"label": "x", "score": 0.1}, {"label": "y", "score": 0.7}, {"label": "x", "score": 0.8}],
        },
        {"id": "b", "objects": ["p", {"label": "q"}]},
        {"id": "c", "objects": []},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_tags(str(path)) == {"a": ["x", "y"], "b": ["p", "q"], "c": []}
    path.write_text('{"id": "a", "objects": [{"label": "x", "score": NaN}]}')
    with pytest.raises(ValueError, match=r"line 1 \(id 'a'\): the score of 'x' must be a finite number, got nan"):
        read_tags(str(path))
