import numpy as np
import pyarrow as pa
import pytest

from dejavu_lightning.memorization import LabelInference, ObjectRetrieval
from dejavu_lightning.memorization.agreement import agreement_of
from dejavu_lightning.memorization.display import GapVariant
from dejavu_lightning.memorization.reference_answers import answers_on_common, most_inferred, top_precision


def said(text):
    return np.array([letter == "1" for letter in text])


def test_answers_on_common_records_by_hand():
    inferred = {"a": said("1110100000"), "crops": said("1100110001"), "b": said("1101100000"), "c": said("1111000000")}
    crops, tags = answers_on_common({**inferred, "tags": said("1010000000")}, ["a", "b", "c"])
    # All three infer records 0, 1; none of them 5 to 9.
    assert (crops.reference, crops.common, crops.uncommon) == ("crops", 2, 5)
    assert crops.of_common.value == 1
    assert crops.of_uncommon.value == pytest.approx(2 / 5)
    assert crops.of_common.low < 1
    assert (tags.reference, tags.of_common.value, tags.of_uncommon.value) == ("tags", 1 / 2, 0)


def test_no_common_record_has_no_share():
    (found,) = answers_on_common({"a": said("10"), "b": said("01"), "c": said("11")}, ["a", "b"])
    assert found == ("c", 0, 0, None, None)


@pytest.mark.parametrize("second", [["a"], ["a", "a"], ["a", "x"], []])
def test_second_models_must_be_two_known_ones(second):
    with pytest.raises(ValueError, match=r"second_models must be two or more of a, b; got"):
        answers_on_common({"a": said("10"), "b": said("01")}, second)


def test_precision_recall_and_f_of_the_first_records_by_hand():
    # Memorized are records 1, 3 and 4 of the order, 3 of 6.
    found = {one.records: one for one in top_precision(said("101100"), [1, 2, 4, 6, 7])}
    assert list(found) == [1, 2, 4, 6]
    assert {size: one.precision.value for size, one in found.items()} == {1: 1, 2: 1 / 2, 4: 3 / 4, 6: 1 / 2}
    assert {size: one.recall.value for size, one in found.items()} == {1: 1 / 3, 2: 1 / 3, 4: 1, 6: 1}
    # 2 p r / (p + r): 1 and 1/3; 1/2 and 1/3; 3/4 and 1; 1/2 and 1.
    expected = {1: 1 / 2, 2: 2 / 5, 4: 6 / 7, 6: 2 / 3}
    assert {size: one.f_score for size, one in found.items()} == pytest.approx(expected)


def test_without_a_memorized_record_there_is_no_recall():
    with pytest.raises(ValueError, match=r"a record memorized; got \[1\], 0 memorized"):
        top_precision(said("000"), [1])
    with pytest.raises(ValueError, match=r"sizes must be at least 1 .* got \[0\], 1 memorized"):
        top_precision(said("100"), [0])


def test_the_most_inferred_classes_by_hand():
    # Class 7: 2 of 3. Class 2: 1 of 1. Class 5: 0 of 2. Class 1: 2 of 3, as class 7, and a lower number.
    labels, inferred = [7, 7, 2, 5, 5, 7, 1, 1, 1], said("111000011")
    found = most_inferred(labels, inferred, 3)
    assert [(one.label, one.inferred, one.records) for one in found] == [(2, 1, 1), (1, 2, 3), (7, 2, 3)]
    assert found[1].share.value == pytest.approx(2 / 3)


def test_label_inference_tells_what_a_reference_infers_and_is_surest_of():
    outcomes = ["memorized", "correlated", "misrepresented", "unassociated"]
    table = pa.table({"id": list("abcd"), "outcome": outcomes, "memorization_confidence": [0.1, 0.7, 0.7, -1.0]})
    assert LabelInference.display.inferred(table).tolist() == [False, True, True, False]
    assert LabelInference.display.by_confidence(table)["id"].to_pylist() == ["b", "c", "a", "d"]


def test_ways_of_counting_objects():
    metrics = ["ppg", "net_ppg", "ppg@1", "prg@100/top10", "aucg@1", "ppg_subsample_mean", "tags/ppg"]
    assert ObjectRetrieval.display.variants(metrics, {"k": 10}) == [
        GapVariant("ppg", "ppg", 10, "all"),
        GapVariant("ppg@1", "ppg", 1, "all"),
        GapVariant("prg@100/top10", "prg", 100, "top 10"),
    ]
    assert ObjectRetrieval.display.inferred(pa.table({"id": ["a"]})) is None
    assert LabelInference.display.variants(["score"], {}) == []


def test_agreement_of_verdicts_is_of_each_two():
    found = agreement_of({"a": said("110"), "b": said("100"), "c": said("110")})
    assert [(one.first, one.second, one.both, one.only_first) for one in found] == [
        ("a", "b", 1, 1),
        ("a", "c", 2, 0),
        ("b", "c", 1, 0),
    ]
