import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from dejavu_lightning.core.intervals import paired_gap, unbounded_mean
from dejavu_lightning.memorization.records_over_seeds import over_seeds


def test_records_are_averaged_over_the_seeds_that_attacked_them():
    seeds = {
        "0": {"a": 1.0, "b": -1.0, "c": 0.0},
        "1": {"a": 1.0, "b": 0.0, "d": 1.0},
        "2": {"a": 0.0, "c": 0.5},
    }
    found = over_seeds(seeds, {})
    assert [(one.id, one.seeds, one.memorized) for one in found.records] == [
        ("d", 1, 1),
        ("a", 3, 2),
        ("c", 2, 1),
        ("b", 2, 0),
    ]
    by_id = {one.id: one.mean for one in found.records}
    assert by_id["a"] == unbounded_mean(np.array([1.0, 1.0, 0.0])), "one kind for all, and c has a half"
    assert by_id["c"] == unbounded_mean(np.array([0.0, 0.5]))
    assert by_id["d"][:3] == (1.0, None, None)
    assert found.records[0].row()["mean_low"] == ""


def test_intervals_of_a_record_are_of_one_kind():
    answers = {"0": {"a": 1.0, "b": 0.0}, "1": {"a": 1.0, "b": -1.0}}
    assert {one.id: one.mean for one in over_seeds(answers, {}).records} == {
        "a": paired_gap(np.array([1.0, 1.0])),  # of a width above 0
        "b": paired_gap(np.array([0.0, -1.0])),
    }
    distances = {"0": {"a": 0.5, "b": 0.5}, "1": {"a": 0.5, "b": 0.25}}
    means = {one.id: one.mean for one in over_seeds(distances, {}).records}
    assert means["a"][:3] == (0.5, None, None), "Student's t of equal values has no width"
    assert means["b"] == unbounded_mean(np.array([0.5, 0.25]))


def test_stability_is_spearman_s_correlation_of_the_common_records():
    rng = np.random.default_rng(0)
    first, second = rng.integers(-1, 2, (2, 60)).astype(float)
    second[:40] = first[:40]
    seeds = {"0": dict(zip(map(str, range(60)), first, strict=True))}
    seeds["1"] = dict(zip(map(str, range(20, 80)), np.r_[second[20:], rng.random(20)], strict=True))
    (pair,) = over_seeds(seeds, {}).stability
    expected = spearmanr(first[20:], second[20:])
    assert (pair.first, pair.second, pair.records) == ("0", "1", 40)
    assert pair.estimate.value == pytest.approx(expected.statistic)
    assert pair.p_value == pytest.approx(expected.pvalue)
    half = 1.959964 * math.sqrt((1 + expected.statistic**2 / 2) / 37)
    ends = np.tanh(np.arctanh(expected.statistic) + np.array([-half, half]))
    assert pair.estimate[1:3] == pytest.approx(tuple(ends), abs=1e-6)


def test_facts_are_correlated_with_the_mean_and_their_p_values_adjusted_together():
    rng = np.random.default_rng(1)
    values = rng.random(50)
    ids = [f"r{row}" for row in range(50)]
    seeds = {"0": dict(zip(ids, values, strict=True))}
    facts = {
        "rank": dict(zip(ids, values**3, strict=True)),
        "noise": dict(zip(ids, rng.random(50), strict=True)),
        "constant": dict.fromkeys(ids, 4.0),
        "few": dict.fromkeys(ids[:9], 1.0),
    }
    rank, noise, constant, few = over_seeds(seeds, facts).predictors
    assert rank.estimate.value == pytest.approx(1)
    assert noise.p_value == pytest.approx(spearmanr(values, list(facts["noise"].values())).pvalue)
    assert rank.p_value < 1e-9
    assert (constant.estimate, constant.p_value, constant.records) == (None, None, 50)
    assert (few.estimate, few.records) == (None, 9)
    assert few.row()["correlation"] == ""


def test_records_without_relation_are_found_unrelated_as_often_as_said():
    rng = np.random.default_rng(2)
    ids = [str(row) for row in range(60)]
    held = 0
    for _ in range(300):
        one, other = (dict(zip(ids, rng.integers(-1, 2, 60).astype(float), strict=True)) for _ in range(2))
        estimate = over_seeds({"0": one, "1": other}, {}).stability[0].estimate
        held += estimate.low <= 0 <= estimate.high
    assert 0.92 <= held / 300 <= 0.98


def test_no_seeds():
    with pytest.raises(ValueError, match="seeds is empty"):
        over_seeds({}, {})
