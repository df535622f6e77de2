import pytest

from dejavu_lightning.core.split_record import SplitRecord, verify_disjoint


def test_a_record_comes_back_from_a_checkpoint():
    for record in (SplitRecord("A", "f00d"), SplitRecord("B", "f00d", "beef")):
        assert SplitRecord.find({"other": {}, "data": {**record.state(), "more": 1}}) == record
    assert SplitRecord("A", "f00d").state() == {"split": "A", "split_fingerprint": "f00d"}
    assert SplitRecord.find({"epoch": 3}) is None


def test_other_samples_under_the_same_rule_are_refused():
    verify_disjoint(SplitRecord("A", "f00d", "beef"), SplitRecord("B", "f00d", "beef"), "b.ckpt")
    for reference, found in ((SplitRecord("B", "f00d", "cafe"), "cafe"), (SplitRecord("B", "f00d"), "missing")):
        with pytest.raises(
            ValueError,
            match=rf"b\.ckpt was trained on other samples .*\(content fingerprint {found}, the target's is beef\).*"
            r"train both on the same files, or set allow_unverified_split",
        ):
            verify_disjoint(SplitRecord("A", "f00d", "beef"), reference, "b.ckpt")
    with pytest.raises(ValueError, match="another partition"):
        verify_disjoint(SplitRecord("A", "f00d", "beef"), SplitRecord("B", "dead", "cafe"), "b.ckpt")
    with pytest.raises(ValueError, match="trained on split 'A', like the target"):
        verify_disjoint(SplitRecord("A", "f00d", "beef"), SplitRecord("A", "f00d", "beef"), "b.ckpt")
