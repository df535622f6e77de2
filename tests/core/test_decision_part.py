"""Which samples decide: stable, independent of splits, nested, and told by checkpoints."""

import numpy as np
import pytest

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.data.shards.hash_splits import HashSplits

IDS = [f"pictures/{number}.jpg" for number in range(4000)]


def test_a_sample_decides_by_the_hash_of_its_id_alone():
    # Of the shell: printf 'decides\0a' | sha256sum begins with a2, 80 or more: it judges; b 31, c 92, d d3, e c3, f a3.
    expected = [False, True, False, False, False, False]
    assert DecisionPart(0.5).decides("abcdef").tolist() == expected
    assert DecisionPart(0.5).decides("fedcba").tolist() == expected[::-1]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_about_the_share_decides_and_the_rest_judges(share):
    part = DecisionPart(share)
    decides = part.decides(IDS)
    assert decides.mean() == pytest.approx(share, abs=3 * (share * (1 - share) / len(IDS)) ** 0.5)
    assert np.array_equal(part.judges(IDS, "records"), ~decides)
    assert part.count(IDS) == (4000, 4000 - decides.sum(), decides.sum())


def test_a_larger_share_holds_all_of_a_smaller_one():
    small, large = DecisionPart(0.3).decides(IDS), DecisionPart(0.6).decides(IDS)
    assert not (small & ~large).any()


def test_splits_that_are_hashes_of_ids_have_as_many_that_decide_each():
    splits = HashSplits({"A": 0.4, "B": 0.4})
    decides = DecisionPart(0.5).decides(IDS)
    for split in ("A", "B"):
        inside = np.array([splits.of(name) == split for name in IDS])
        assert decides[inside].mean() == pytest.approx(0.5, abs=0.04)


def test_checkpoints_tell_the_largest_part_of_all():
    one, two = {}, {}
    DecisionPart(0.5).store(one)
    DecisionPart(0.2).store(one)  # a second rule in the same run
    DecisionPart(0.3).store(two)
    assert DecisionPart.find(one) == DecisionPart(0.5)
    assert DecisionPart.find(two, None, {}) == DecisionPart(0.3)
    assert DecisionPart.find(two, one) == DecisionPart(0.5)
    assert DecisionPart.find({"state_dict": {}}, None) is None


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_none_would_decide_or_judge(share):
    with pytest.raises(ValueError, match=rf"must be above 0 and below 1, got {share}: the others judge"):
        DecisionPart(share)


def test_none_is_left():
    deciding = [name for name in IDS if DecisionPart(0.5).decides([name])[0]][:3]
    with pytest.raises(ValueError, match=r"none of 3 records is left to judge: 0.5 of all ids decided .*--leave_out 0"):
        DecisionPart(0.5).judges(deciding, "records")
