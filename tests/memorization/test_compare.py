import numpy as np
import pyarrow as pa
import pytest

from dejavu_lightning.memorization import (
    LabelInference,
    ObjectRetrieval,
    Records,
    compare,
    statistics,
    symmetric_average,
)
from dejavu_lightning.memorization.compare import control, headline, net, net_terms


def records(correct, confidence=None, ids=None, **settings):
    count = len(correct)
    correct = np.asarray(correct, dtype=bool)
    table = pa.table(
        {
            "id": ids or [f"r{number:04d}" for number in range(count)],
            "label": np.zeros(count, dtype=np.int64),
            "predicted": np.where(correct, 0, 1),
            "confidence": np.zeros(count) if confidence is None else np.asarray(confidence, dtype=float),
            "correct": correct,
            "correct_top5": correct,
            "neighbors": [["p0"]] * count,
        }
    )
    return Records(table, {"test": "label_inference", "k": 5, **settings})


def test_values_by_hand():
    target = records([1, 1, 0, 0, 1], confidence=[-0.5, -0.1, -0.2, -0.3, -0.4])
    reference = records([0, 1, 1, 0, 0], confidence=[-0.1, -0.2, -0.3, -0.4, -0.5])
    metrics = compare(target, reference).metrics
    assert metrics["score"] == pytest.approx(3 / 5 - 2 / 5)
    # 20% of 5 is one record: the target's surest (r0001) is right, the reference's (r0000) is wrong.
    assert metrics["score@20"] == 1.0
    shares = [metrics[name] for name in ("memorized", "correlated", "misrepresented", "unassociated")]
    assert shares == pytest.approx([2 / 5, 1 / 5, 1 / 5, 1 / 5])
    assert metrics["score"] == pytest.approx(metrics["memorized"] - metrics["misrepresented"])
    assert metrics["records"] == 5


def test_the_id_is_the_join_key():
    order = [3, 0, 4, 1, 2]
    correct = np.array([1, 0, 0, 1, 1])
    shuffled = records(correct[order], ids=[f"r{number:04d}" for number in order])
    assert compare(records(correct), shuffled).metrics["memorized"] == 0
    table = compare(records(correct), records(1 - correct)).table
    assert table.select(["id", "outcome"]).to_pylist()[:2] == [
        {"id": "r0000", "outcome": "memorized"},
        {"id": "r0001", "outcome": "misrepresented"},
    ]


def test_other_ids_or_settings_raise():
    with pytest.raises(ValueError, match=r"different records: 1 ids only in the target's \(such as \['r0002'\]\), 0"):
        compare(records([1, 0, 1]), records([1, 0]))
    with pytest.raises(ValueError, match=r"made differently \(k: 5 against 7\)"):
        compare(records([1, 0]), records([1, 0], k=7))


def slow_bootstrap(target, reference, fraction, paired, times=4000):
    """Resample records one by one and recompute the score from scratch."""
    rng = np.random.default_rng(1)

    def top(table, drawn):
        correct, confidence = table["correct"].to_numpy(zero_copy_only=False), table["confidence"].to_numpy()
        best = sorted(drawn, key=lambda index: -confidence[index])[: max(1, int(fraction * len(drawn) + 1e-9))]
        return correct[best].mean()

    values = []
    for _ in range(times):
        drawn = rng.integers(0, len(target), len(target))
        other = drawn if paired else rng.integers(0, len(reference), len(reference))
        values.append(top(target.table, drawn) - top(reference.table, other))
    return np.quantile(values, [0.025, 0.975])


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("name", "fraction"), [("score", 1.0), ("score@20", 0.2)])
def test_intervals_of_many_records_equal_a_slow_bootstrap(paired, name, fraction):
    """Confident records are right more often, and the two models' answers and confidences go together."""
    rng = np.random.default_rng(0)
    count = 800 if paired else 1000
    easy = rng.random((2, count)) if not paired else np.tile(rng.random(count), (2, 1))
    target = records(rng.random(800) < 0.2 + 0.6 * easy[0, :800], confidence=easy[0, :800] + rng.random(800))
    reference = records(rng.random(count) < 0.7 * easy[1], confidence=easy[1] + rng.random(count))
    metrics = compare(target, reference, paired=paired).metrics
    low, high = slow_bootstrap(target, reference, fraction, paired, times=2000)
    width = high - low
    assert metrics[f"{name}_low"] == pytest.approx(low, abs=0.12 * width)
    assert metrics[f"{name}_high"] == pytest.approx(high, abs=0.12 * width)


def test_what_a_record_adds_is_its_influence():
    """Leaving a record out changes score@20 by what it adds less the score, over N - 1."""
    rng = np.random.default_rng(1)
    easy = rng.random(2000)
    correct, confidence = rng.random(2000) < easy, easy + 0.2 * rng.random(2000)
    nothing = records(np.zeros(2000), confidence=confidence)
    found = compare(records(correct, confidence=confidence), nothing)
    (terms,) = found.gaps["score@20"]
    assert terms.values.mean() == pytest.approx(found.metrics["score@20"])
    for part in (
        confidence > np.quantile(confidence, 0.9),
        confidence < 0.3,
    ):  # a tenth of the kept records is left out
        chosen = np.flatnonzero(part)[::2]  # half of the surest tenth, or records that are not kept
        rest = np.setdiff1d(np.arange(2000), chosen)
        left = records(correct[rest], confidence=confidence[rest])
        without = compare(left, records(np.zeros(len(rest)), confidence=confidence[rest])).metrics["score@20"]
        expected = terms.values[rest].mean() - found.metrics["score@20"]
        assert without - found.metrics["score@20"] == pytest.approx(expected, abs=0.02)


def test_pairing_narrows_the_interval():
    """Two models that agree almost everywhere: only the records they differ on are uncertain."""
    rng = np.random.default_rng(0)
    correct = rng.random(400) < 0.5
    reference = correct.copy()
    reference[:8] = ~reference[:8]
    paired = compare(records(correct), records(reference)).metrics
    unpaired = compare(records(correct), records(reference), paired=False).metrics
    width = {name: m["score_high"] - m["score_low"] for name, m in (("paired", paired), ("unpaired", unpaired))}
    assert width["paired"] < width["unpaired"] / 3


def test_unpaired_has_no_outcomes():
    found = compare(records([1, 0, 1]), records([0, 0], ids=["x", "y"]), paired=False)
    assert found.table is None
    assert "memorized" not in found.metrics
    assert found.metrics["score"] == pytest.approx(2 / 3)


def test_subsample_spread_is_that_of_random_halves():
    outcome = np.random.default_rng(0).normal(size=200)
    mean, spread = statistics.subsample_spread(lambda rows: outcome[rows].mean(), 200, seed=0)
    # Means of halves drawn without replacement: sd^2 = s^2 / 100 * (1 - 100 / 200).
    assert mean == pytest.approx(outcome.mean(), abs=0.02)
    assert spread == pytest.approx(np.sqrt(outcome.var() / 100 * 0.5), rel=0.25)


def test_symmetric_average():
    rng = np.random.default_rng(0)
    one = compare(records(rng.random(300) < 0.6), records(rng.random(300) < 0.2))
    two = compare(records(rng.random(300) < 0.5), records(rng.random(300) < 0.3), seed=1)
    average = symmetric_average(one, two)
    found = average["symmetric_score"]
    assert found.value == pytest.approx((one.metrics["score"] + two.metrics["score"]) / 2)
    below = [c.metrics["score"] - c.metrics["score_low"] for c in (one, two)]
    assert found.value - found.low == pytest.approx(np.hypot(*below) / 2)  # independent records: variances add
    assert {"symmetric_score@20", "symmetric_score@5"} <= set(average)


def test_net_is_the_difference_of_differences():
    """Attacked: 6 of 10 against 2 of 10; held out: 5 of 10 against 4 of 10. Net: 0.4 - 0.1."""
    attacked = compare(records([1] * 6 + [0] * 4), records([1] * 2 + [0] * 8))
    held_out = compare(records([1] * 5 + [0] * 5), records([1] * 4 + [0] * 6))
    found = net(attacked, held_out)["net_score"]
    assert found.value == pytest.approx(0.3)
    one, other = attacked.estimates["score"], held_out.estimates["score"]
    assert found.value - found.low == pytest.approx(np.hypot(one.value - one.low, other.high - other.value))
    assert found.high - found.value == pytest.approx(np.hypot(one.high - one.value, other.value - other.low))
    assert (found.p_value < 0.025) == (found.low > 0)
    terms = net_terms(attacked, held_out)["net_score"]
    assert sum(part.values.mean() for part in terms) == pytest.approx(0.3)
    assert control(held_out)["control_score"] == other


def test_the_headline_is_net_where_it_can_be():
    assert headline(LabelInference(), {"score", "net_score"}) == "net_score"
    assert headline(LabelInference(), {"score"}) == "score"
    assert headline(ObjectRetrieval(), {"unpaired_ppg", "aucg"}) == "unpaired_ppg"


def test_ties_of_confidence_do_not_hang_on_the_ids():
    """A fifth of the records tie for the highest confidence; the first half of them is right."""
    confidence = np.where(np.arange(100) % 5 == 0, 0.0, -1.0)
    correct = np.arange(100) < 50
    names = [f"r{number:04d}" for number in range(100)]
    values = {
        compare(records(correct, confidence, ids), records(np.zeros(100), confidence, ids)).metrics["score@5"]
        for ids in (names, names[::-1])
    }
    assert values == {0.5}


def test_records_round_trip(tmp_path):
    mine = records([1, 0, 1], confidence=[-0.1, -0.2, -0.3])
    mine.save(tmp_path / "a" / "records.parquet")
    loaded = Records.load(tmp_path / "a" / "records.parquet")
    assert loaded.settings == mine.settings
    assert loaded.table.to_pylist() == mine.table.to_pylist()


def test_duplicate_ids_raise():
    with pytest.raises(ValueError, match="more than once"):
        records([1, 0], ids=["x", "x"])
