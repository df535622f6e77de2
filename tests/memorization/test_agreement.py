import csv
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from dejavu_lightning.callbacks import MemorizationMonitor
from torchmetrics.functional.classification import binary_cohen_kappa

from dejavu_lightning.cli.memorization_options import read_references
from dejavu_lightning.figures.artifacts import save_ranking, save_records
from dejavu_lightning.figures.tables import print_agreement, print_references
from dejavu_lightning.memorization import Comparison, HeldOut, LabelInference, NaiveBayes, ObjectRetrieval, measure
from dejavu_lightning.memorization.agreement import agreement
from tests.memorization.references.test_naive_bayes import half, write_tags
from tests.models import tiny_data, tiny_trainer, tiny_vicreg

DISPLAY = LabelInference.display


def comparison(verdicts, ids=None):
    outcome = ["memorized" if verdict else "correlated" for verdict in verdicts]
    return Comparison({}, pa.table({"id": ids or list(map(str, range(len(verdicts)))), "outcome": outcome}), {}, {})


def test_by_hand():
    # Of 10 records: 3 memorized by both, 1 by the first alone, 2 by the second alone, 4 by neither.
    one = comparison([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    other = comparison([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    (found,) = agreement({"a": one, "b": other}, DISPLAY)
    assert found[:3] == ("a", "b", pytest.approx(0.7))
    # By chance 4/10 * 5/10 + 6/10 * 5/10 = 1/2; (0.7 - 0.5) / (1 - 0.5) = 0.4.
    assert found.kappa == pytest.approx(0.4)
    assert found.jaccard == pytest.approx(3 / 6)
    assert found[5:] == (3, 1, 2)


def test_kappa_is_that_of_torchmetrics():
    torch.manual_seed(0)
    one, other = torch.rand(200) < 0.3, torch.rand(200) < 0.6
    (found,) = agreement({"a": comparison(one.tolist()), "b": comparison(other.tolist())}, DISPLAY)
    assert found.kappa == pytest.approx(float(binary_cohen_kappa(one.int(), other.int())), abs=1e-6)


def test_every_pair_and_what_cannot_be_told():
    nothing = comparison([0, 0, 0])
    found = agreement(
        {"a": nothing, "held out": Comparison({}, None, {}, {}), "b": nothing, "c": comparison([1, 0, 0])},
        DISPLAY,
    )
    assert [(pair.first, pair.second) for pair in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found[0].agreement == 1
    assert math.isnan(found[0].kappa)
    assert math.isnan(found[0].jaccard)
    assert found[1].jaccard == 0
    with pytest.raises(ValueError, match="references 'a' and 'd' answered for different records"):
        agreement({"a": nothing, "d": comparison([0, 0, 0], ["0", "1", "3"])}, DISPLAY)


def test_object_retrieval_counts_records_of_which_the_target_finds_more():
    def gaps(values):
        return Comparison({}, pa.table({"id": list("abc"), "correct_gap": values}), {}, {})

    (found,) = agreement({"a": gaps([1, 0, -1]), "b": gaps([2, 1, 0])}, ObjectRetrieval.display)
    assert (found.both, found.only_first, found.only_second) == (1, 0, 1)


@pytest.fixture
def references(tmp_path):
    sets = tiny_data().memorization_sets()
    path = write_tags(tmp_path / "tags.jsonl", sets, half)
    return sets, NaiveBayes(path, k=1), {"product": NaiveBayes(path, k=1, form="product"), "other half": HeldOut()}


def test_one_attack_serves_all_references(tmp_path, references, capsys):
    sets, first, also = references
    target, test = tiny_vicreg(), LabelInference(k=5, batch_size=16)
    found = measure(target, test, first, sets, extra_references=also)
    for name, reference in {"": first, **also}.items():
        alone = measure(target, test, reference, sets)
        for metric, value in alone.metrics.items():
            if not name or not metric.startswith(("target_", "records", "public", "excluded")):
                assert found.metrics[f"{name}/{metric}" if name else metric] == value
    (pair,) = found.agreement
    assert (pair.first, pair.second) == ("NaiveBayes", "product")
    assert found.metrics["agreement/NaiveBayes/product"] == pair.agreement

    save_records(found, tmp_path / "out")
    assert len(pq.read_table(tmp_path / "out" / "product" / "comparison.parquet")) == 40
    assert not (tmp_path / "out" / "other half" / "comparison.parquet").exists()
    with (tmp_path / "out" / "agreement.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["agreement"]) == pair.agreement
    print_references(found.extra_references, LabelInference)
    print_agreement(found.agreement)
    told = capsys.readouterr().out
    assert "other half" in told
    assert f"{pair.kappa:.2f}" in told


@pytest.mark.parametrize("name", ["NaiveBayes", "a/b", "", "..", "target.parquet", "."])
def test_names_that_would_mix_up_metrics(references, name):
    sets, first, also = references
    with pytest.raises(
        ValueError, match=r"extra_references: .* must be a name of letters, digits, .* other than 'NaiveBayes'"
    ):
        measure(tiny_vicreg(), LabelInference(k=5), first, sets, extra_references={name: also["product"]})


def test_the_monitor_logs_all_of_them(tmp_path, references):
    _, first, also = references
    monitor = MemorizationMonitor(None, LabelInference(k=5), first, also, every_n_epochs=1)
    tiny_trainer(tmp_path, callbacks=[monitor]).fit(tiny_vicreg(), tiny_data())
    assert [
        {"score", "product/score", "other half/score", "agreement/NaiveBayes/product"} <= set(row)
        for row in monitor.history
    ] == [True] * 3
    assert (tmp_path / "memorization" / "epoch=0002" / "agreement.csv").is_file()
    assert (tmp_path / "memorization" / "confidence.png").is_file()

    also["bad"] = NaiveBayes(str(tmp_path / "none.jsonl"))
    monitor = MemorizationMonitor(None, LabelInference(k=5), first, also, every_n_epochs=1)
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        tiny_trainer(tmp_path, callbacks=[monitor]).fit(tiny_vicreg(), tiny_data())


def test_files_of_further_references(tmp_path):
    file = tmp_path / "also.yaml"
    with pytest.raises(FileNotFoundError, match=r"--extra_references .*also.yaml is not a file"):
        read_references(str(file))
    file.write_text('half: {class_path: dejavu_lightning.memorization.HeldOut, init_args: {"split": neither_split}}')
    found = read_references(str(file))
    assert {name: (type(one), one.split) for name, one in found.items()} == {"half": (HeldOut, "neither_split")}
    file.write_text("one: {class_path: TimmModel, init_args: {name: resnet18}}\ntwo: RUN/last.ckpt")
    found = read_references(str(file))
    assert (found["one"].name, found["two"]) == ("resnet18", "RUN/last.ckpt")
    for text, problem in (
        ("half: [", "also.yaml: while parsing"),
        ("half: {class_path: dejavu_lightning.memorization.HeldUp}", "(?s)also.yaml: .*HeldUp"),
        ("half", "also.yaml: "),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=problem):
            read_references(str(file))


def test_ranking(tmp_path, references):
    sets, first, also = references
    found = measure(tiny_vicreg(), LabelInference(k=5, batch_size=16), first, sets)
    display = LabelInference.display
    rows = display.ranking(found.comparison.table, sets.class_names)
    confidences = {row["id"]: row["memorization_confidence"] for row in found.comparison.table.to_pylist()}
    assert [(-row["memorization_confidence"], row["id"]) for row in rows] == sorted(
        (-value, identifier) for identifier, value in confidences.items()
    )
    assert [row["rank"] for row in rows] == list(range(1, 41))
    assert {row["label"] for row in rows} == set(sets.class_names)
    assert set(save_ranking(found, sets, tmp_path, display)) == {"ranking", "confidence"}
    with (tmp_path / "ranking.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == [row["id"] for row in rows]
    unpaired = measure(tiny_vicreg(), LabelInference(k=5, batch_size=16), also["other half"], sets)
    assert save_ranking(unpaired, sets, tmp_path / "none", display) == {}
