"""A measurement without the records that decided when training stopped."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.memorization import (
    HeldOut,
    LabelInference,
    MemorizationSets,
    ModuleEncoder,
    Records,
    SecondModel,
    compare,
    measure,
)
from tests.models import HostModule, Pairs

PART = DecisionPart(0.5)
SETS = MemorizationSets(
    attack=Pairs(60, 1), public=Pairs(60, 2), num_classes=10, other_split=Pairs(40, 3), neither_split=Pairs(50, 4)
)


def encoder(seed):
    torch.manual_seed(seed)
    return ModuleEncoder(HostModule(), "backbone")


def run(reference, **options):
    return measure(encoder(0), LabelInference(k=5, batch_size=16), reference, SETS, **options)


def second_model():
    return SecondModel(encoder(1), allow_unverified_split=True)


def rest(records):
    """By hand: rows whose id does not decide."""
    rows = [row for row in records.table.to_pylist() if not PART.decides([row["id"]])[0]]
    return Records(pa.Table.from_pylist(rows, records.table.schema), records.settings)


def test_both_models_are_judged_on_the_same_rest():
    whole = run(second_model())
    found = run(second_model(), leave_out=PART, extra_references={"again": second_model(), "other": HeldOut()})
    for role in ("target", "reference"):
        assert getattr(found, role).table.equals(rest(getattr(whole, role)).table)
        assert getattr(found, role).settings == {**getattr(whole, role).settings, "left_out": 0.5}
    by_hand = compare(rest(whole.target), rest(whole.reference)).metrics
    assert by_hand["score"] != whole.metrics["score"]
    assert {name: found.metrics[name] for name in by_hand} == pytest.approx(by_hand, nan_ok=True)
    assert found.metrics["again/score"] == found.metrics["score"]
    assert found.metrics["excluded"] == 0  # those that decided are not without background
    attacked, held_out, of_held_out = (found.left_out[name] for name in ("attacked", "held_out", "other"))
    assert attacked == (60, found.metrics["records"], 60 - len(found.target))
    assert (held_out.found, of_held_out.found) == (50, 40)
    assert all(each.found == each.judged + each.decided for each in found.left_out.values())
    assert whole.left_out == {}


def test_the_net_value_is_of_the_rest_of_both_sets():
    found = run(second_model(), leave_out=PART)
    samples = found.gaps["net_score"]
    ids = [name for sample in samples for name in sample.ids]
    assert [len(sample.ids) for sample in samples] == [found.left_out[name].judged for name in ("attacked", "held_out")]
    assert not PART.decides(ids).any()
    assert found.metrics["net_score"] == pytest.approx(sum(np.mean(sample.values) for sample in samples))


def test_what_decides_and_what_judges_make_the_whole():
    """Sums of the records: the whole gap is the mean of the two parts', weighed by their records."""
    whole, found = run(second_model()), run(second_model(), leave_out=PART)
    ((ids, values),) = whole.gaps["score"]
    decided = values[PART.decides(ids)]
    judged = found.metrics["score"] * len(found.target)
    assert whole.metrics["score"] * 60 == pytest.approx(judged + decided.sum())
    assert len(decided) + len(found.target) == 60


def test_a_set_of_which_all_decided_is_named():
    with pytest.raises(ValueError, match=r"none of 60 records is left to judge: 0.9999 of all ids decided"):
        run(second_model(), leave_out=DecisionPart(0.9999))
