import numpy as np
import pyarrow as pa
import pytest

from dejavu_lightning.memorization import Records, compare, sample_gaps, statistics


def records(precision, recall, correct=None, distance=None, prefix="r"):
    count = len(precision)
    precision, recall = np.asarray(precision, float), np.asarray(recall, float)
    table = pa.table(
        {
            "id": [f"{prefix}{row:04d}" for row in range(count)],
            "objects": [[0]] * count,
            "precision": precision,
            "recall": recall,
            "f_score": (precision + recall) / 2,
            "precision@1": recall,
            "recall@1": precision,
            "f_score@1": precision,
            "correct": np.asarray(np.zeros(count) if correct is None else correct, dtype=np.int64),
            "min_distance": np.arange(count, dtype=float) if distance is None else np.asarray(distance, float),
            "predicted": [[0]] * count,
            "neighbors": [["p"]] * count,
        }
    )
    return Records(table, {"test": "object_retrieval", "k": 2})


def test_gaps_by_hand():
    target = records([0.5, 0.2, 1.0, 0.3], [1.0, 0.0, 0.5, 0.5])
    reference = records([0.4, 0.2, 0.0, 0.6], [0.5, 0.0, 1.0, 0.0])
    metrics = compare(target, reference).metrics
    assert metrics["ppg"] == pytest.approx((2 - 1) / 4)  # better, equal, better, worse
    assert metrics["prg"] == pytest.approx((2 - 1) / 4)
    assert metrics["aucg"] == pytest.approx(2.0 / 4 - 1.5 / 4)
    assert metrics["ppg@1"] == metrics["prg"]
    assert metrics["aucg@1"] == pytest.approx(2.0 / 4 - 1.2 / 4)
    assert metrics["target_precision"] == 0.5
    assert metrics["reference_recall"] == 0.375
    assert metrics["ppg_low"] <= metrics["ppg"] <= metrics["ppg_high"]


def test_unpaired_gaps_are_over_all_pairs():
    rng = np.random.default_rng(0)
    target = records(rng.integers(0, 5, 30) / 4, rng.integers(0, 4, 30) / 3)
    reference = records(rng.integers(0, 5, 40) / 4, rng.integers(0, 4, 40) / 3, prefix="b")
    found = compare(target, reference, paired=False)
    assert not {"ppg", "prg"} & set(found.metrics), "of one record they compare two models: other quantities"
    for name, column in (("unpaired_ppg", "precision"), ("unpaired_prg", "recall")):
        own, other = target.column(column).numpy(), reference.column(column).numpy()
        assert found.metrics[name] == pytest.approx(np.sign(own[:, None] - other[None]).mean())
    assert found.metrics["aucg"] == pytest.approx(
        float(target.column("recall").mean() - reference.column("recall").mean())
    )
    assert found.table is None
    assert found.sample_gaps is None


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_equal_a_slow_bootstrap(paired):
    rng = np.random.default_rng(0)
    target = records(rng.integers(0, 5, 200) / 4, rng.integers(0, 4, 200) / 3)
    reference = records(rng.integers(0, 5, 200) / 4, rng.integers(0, 4, 200) / 3)
    metrics = compare(target, reference, paired=paired).metrics
    own, other = target.column("precision").numpy(), reference.column("precision").numpy()
    values = []
    for _ in range(4000):
        first = rng.integers(0, 200, 200)
        second = rng.integers(0, 200, 200)
        difference = own[first] - other[first] if paired else own[first][:, None] - other[second][None]
        values.append(np.sign(difference).mean())
    expected = np.quantile(values, [0.025, 0.975])
    name = "ppg" if paired else "unpaired_ppg"
    found = [metrics[f"{name}_low"], metrics[f"{name}_high"]]
    assert found == pytest.approx(expected, abs=0.08 * (expected[1] - expected[0]))


def test_a_pair_of_unpaired_samples_is_drawn_independently():
    same = records(np.arange(40) / 40, np.arange(40) / 40)
    assert compare(same, same).metrics["ppg_high"] < 0.1  # record by record nothing differs
    assert compare(same, same, paired=False).metrics["unpaired_ppg_high"] > 0.2


def naive_sample_gaps(target, reference, order, size, flips):
    """Python's own sort, one exchange at a time."""
    rows = []
    for row, flip in enumerate(flips):
        pair = (reference, target) if flip else (target, reference)
        values = [
            {name: records.table[name][row].as_py() for name in ("recall", "correct", "min_distance")}
            for records in pair
        ]
        key = {
            "min_distance": sum(d < values[0]["min_distance"] for d in pair[0].table["min_distance"].to_pylist()),
            "correct": -values[0]["correct"],
            "gap": values[1]["correct"] - values[0]["correct"],
        }[order]
        rows.append((key, row, values[0]["recall"] - values[1]["recall"]))
    return np.mean([gap for _, _, gap in sorted(rows)[:size]])


@pytest.mark.parametrize("order", ["min_distance", "correct", "gap"])
def test_sample_gaps_equal_a_plain_sort(order):
    rng = np.random.default_rng(3)
    target = records(rng.random(30), rng.random(30), rng.integers(0, 4, 30), rng.random(30))
    reference = records(rng.random(30), rng.random(30), rng.integers(0, 4, 30), rng.random(30))
    permutations = 50
    table = sample_gaps(target, reference, top=(5, 20, 31), permutations=permutations, seed=1).to_pylist()
    assert {row["records"] for row in table} == {5, 20}, "31 of 30 records cannot be"
    flips = np.random.default_rng(1).random((permutations, 30)) < 0.5
    for row in table:
        if row["order"] == order and row["measure"] == "recall" and row["k"] == 2:
            observed = naive_sample_gaps(target, reference, order, row["records"], np.zeros(30, bool))
            null = [naive_sample_gaps(target, reference, order, row["records"], flip) for flip in flips]
            assert row["gap"] == pytest.approx(observed)
            assert row["null_mean"] == pytest.approx(np.mean(null))
            assert row["p_value"] == pytest.approx((1 + sum(value >= observed - 1e-12 for value in null)) / 51)


def test_the_null_does_not_depend_on_the_scale_of_a_model_s_distances():
    rng = np.random.default_rng(3)
    answers, distances = rng.integers(0, 4, (2, 60)), rng.random((2, 60))
    target = records(answers[0] / 3, answers[0] / 3, answers[0], distances[0])
    one, other = (records(answers[1] / 3, answers[1] / 3, answers[1], scale * distances[1]) for scale in (1.0, 10.0))
    assert sample_gaps(target, one, top=(20,)).equals(sample_gaps(target, other, top=(20,)))


def test_sorting_by_the_outcome_selects_on_noise_and_the_null_says_so():
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 4, (2, 400))
    target, reference = (records(a / 3, a / 3, a) for a in answers)  # neither knows more than the other
    rows = {
        (r["order"], r["records"]): r
        for r in sample_gaps(target, reference).to_pylist()
        if r["measure"] == "recall" and r["k"] == 2
    }
    assert rows["gap", 20]["gap"] > 0.6
    assert rows["gap", 20]["null_mean"] > 0.6
    assert rows["gap", 20]["p_value"] > 0.05


def test_p_values_are_uniform_where_nothing_is_memorized():
    rng = np.random.default_rng(0)
    found = []
    for seed in range(200):
        answers = rng.random((2, 60))
        target, reference = (records(a, a, (a * 4).astype(int), rng.random(60)) for a in answers)
        table = sample_gaps(target, reference, top=(20,), permutations=99, seed=seed).to_pylist()
        found.append([row["p_value"] for row in table if row["measure"] == "recall" and row["k"] == 2])
    share = (np.array(found) <= 0.1).mean(axis=0)
    assert (abs(share - 0.1) < 0.07).all(), share  # three standard errors of 200 draws


def test_few_records_leave_an_empty_table_of_the_same_columns():
    few = records([0.1, 0.2], [0.3, 0.4])
    assert sample_gaps(few, few, top=(3,)).schema == sample_gaps(few, few, top=(1,)).schema
    assert sample_gaps(few, few, top=(3,)).num_rows == 0


def test_subsample_spread_is_reported_as_the_paper_does():
    rng = np.random.default_rng(0)
    target, reference = records(rng.random(80), rng.random(80)), records(rng.random(80), rng.random(80))
    metrics = compare(target, reference).metrics
    sign = np.sign((target.column("precision") - reference.column("precision")).numpy())
    mean, std = statistics.subsample_spread(lambda rows: float(sign[rows].mean()), 80, 0)
    assert (metrics["ppg_subsample_mean"], metrics["ppg_subsample_std"]) == (mean, std)
    assert {"prg_subsample_std", "aucg_subsample_std"} <= set(metrics)
