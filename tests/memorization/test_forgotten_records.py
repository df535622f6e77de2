import numpy as np
import pytest

from dejavu_lightning.memorization.forgotten_records import forgetting


def slowly(measured):
    """One record after the other, one epoch after the other."""
    epochs = sorted(measured)
    counts = {epoch: dict.fromkeys(("memorized", "first", "again", "forgotten", "reversed"), 0) for epoch in epochs}
    for identifier in measured[epochs[0]]:
        ever, before = False, False
        for epoch in epochs:
            now = measured[epoch][identifier] > 0
            counts[epoch]["memorized"] += now
            counts[epoch]["first"] += now and not ever
            counts[epoch]["again"] += now and ever and not before
            counts[epoch]["forgotten"] += before and not now
            counts[epoch]["reversed"] += measured[epoch][identifier] < 0
            ever, before = ever or now, now
    return counts


def test_events_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    measured = {
        epoch: {f"r{row}": float(value) for row, value in enumerate(rng.integers(-1, 2, 40))} for epoch in (0, 10, 2, 5)
    }
    found = forgetting(measured)
    told = slowly(measured)
    assert [one.epoch for one in found.epochs] == [0, 2, 5, 10]
    for one in found.epochs:
        counted = (one.memorized, one.first_memorized, one.learned_again, one.forgotten, one.reversed)
        assert counted == tuple(told[one.epoch].values())
    assert sum(one.first_memorized for one in found.epochs) == sum(
        record.first_memorized is not None for record in found.records
    )
    assert sum(one.forgotten for one in found.epochs) == sum(record.forgotten for record in found.records)
    assert found.epochs[-1].memorized == sum(record.memorized for record in found.records)


def test_a_record_by_hand():
    terms = [-1.0, 1.0, 0.0, -1.0, 1.0, 1.0]
    found = forgetting({epoch * 10: {"a": value, "b": 0.0} for epoch, value in enumerate(terms)})
    first, other = found.records
    assert first == ("a", 10, 3, 1, 1, True)
    assert other == ("b", None, 0, 0, 0, False)
    assert [one.first_reversed for one in found.epochs] == [1, 0, 0, 0, 0, 0]
    assert [one.reversed for one in found.epochs] == [1, 0, 0, 1, 0, 0]


def test_measurements_of_other_records_are_refused():
    with pytest.raises(ValueError, match="after 0 and 4 epochs are of different records: 2 are in one of them alone"):
        forgetting({0: {"a": 1.0}, 4: {"b": 1.0}})
    with pytest.raises(ValueError, match="measured is empty"):
        forgetting({})
