"""The same picture in several samples of shards, and two downloads whose keys count positions."""

from collections import Counter
from hashlib import blake2b

import pyarrow.parquet as pq
import pytest

from dejavu_lightning.core.split_record import verify_disjoint
from dejavu_lightning.data.shards.hash_splits import SPLITS, HashSplits
from dejavu_lightning.data.shards.shard_index import shard_index
from tests.shards import epoch_of, jpeg, sample, shard_data, write_shard

FRACTIONS = {"A": 0.4, "B": 0.3, "held_out": 0.1}
KEYS = [f"{number:09d}" for number in range(120)]
# Samples 100 .. 119 show pictures of others, 3 to 5 times the same one each; 7 is unusable.
SHOWN = {number: number if number < 100 else (number % 5) * 20 for number in range(120)}


def write(folder, order=range(120), per_shard=50, shown=SHOWN, captions=None):
    folder.mkdir(exist_ok=True)
    numbers = list(order)
    return [
        write_shard(
            folder / f"{shard}.tar",
            [
                sample(n, jpg=jpeg(shown[n]), txt=None if n == 7 else (captions or {}).get(n, f"number {n}").encode())
                for n in numbers[start : start + per_shard]
            ],
        )
        for shard, start in enumerate(range(0, len(numbers), per_shard))
    ]


def expected(policy):
    """The split of each key, by plain loops: all of a group follow the first by rank."""
    splits = HashSplits(FRACTIONS)
    groups = {}
    for number, key in enumerate(KEYS):
        if number != 7:
            groups.setdefault(SHOWN[number], []).append(key)
    home = {}
    for keys in groups.values():
        first = min(keys, key=splits.rank)
        home |= dict.fromkeys(keys if policy == "keep" else [first], splits.of(first))
    return home


@pytest.mark.parametrize("policy", ["keep", "drop"])
def test_copies_follow_the_first_of_their_group(tmp_path, policy):
    urls = write(tmp_path)
    home = expected(policy)
    by_id = HashSplits(FRACTIONS)
    assert any(home[key] != by_id.of(key) for key in home) or policy == "drop"
    path = str(tmp_path / "index.parquet")
    for index in (path, path, None):  # made, loaded, and without a file
        data = shard_data(urls, fractions=FRACTIONS, duplicates=policy, index=index)
        counts = {split: int(data.index.per_shard(split).sum()) for split in SPLITS}
        assert counts == {split: Counter(home.values())[split] for split in SPLITS}
        assert data.index.counts["duplicate_pictures"] == 20
        moved = sum(home.get(key) not in (by_id.of(key), None) for key in KEYS)
        assert data.index.counts["duplicates_moved"] == moved
        assert data.index.counts["duplicates_left_out"] == (20 if policy == "drop" else 0)
        assert sum(counts.values()) == 120 - 1 - data.index.counts["duplicates_left_out"]
    for split in ("A", "B"):
        data = shard_data(urls, train_on=split, fractions=FRACTIONS, duplicates=policy, index=path)
        shown = Counter(key for rank in epoch_of(data, 0, 2, 2) for batch in rank for key in batch)
        assert shown == dict.fromkeys([key for key in home if home[key] == split], 1)
    source, members = data.measured
    assert {source.ids[i]: split for split, positions in members.items() for i in positions} == home


def test_the_hashes_of_pictures_travel_in_the_index_which_serves_every_policy(tmp_path, monkeypatch):
    urls = write(tmp_path)
    path, splits = tmp_path / "index.parquet", HashSplits(FRACTIONS)
    with pytest.raises(
        ValueError,
        match=r"duplicates='refuse': shards '.*0\.tar' \.\. '.*2\.tar' have 20 copies of other pictures, such as "
        r"'\d{9}' of '\d{9}' and '\d{9}' of '\d{9}'; remove them; or set duplicates to 'keep'",
    ):
        shard_index(urls, splits, str(path), "refuse")
    table = pq.read_table(path)
    hashes = [
        blake2b(jpeg(SHOWN[n]), digest_size=8).digest()[::-1] if n != 7 else bytes(8) for n in range(50)
    ]  # little-endian
    assert table["pictures"][0].as_py() == b"".join(hashes)
    monkeypatch.setattr("dejavu_lightning.data.shards.shard_scan.read_shard", None)  # no shard is opened again
    kept, dropped = (shard_index(urls, splits, str(path), policy) for policy in ("keep", "drop"))
    assert len({kept.content, dropped.content}) == 2
    with pytest.raises(ValueError, match="duplicates='refuse'"):
        shard_index(urls, splits, str(path), "refuse")
    with pytest.raises(ValueError, match=r"duplicates must be one of \['keep', 'drop', 'refuse'\], got 'all'"):
        shard_data(urls, duplicates="all")


def test_hashes_are_not_loaded_where_no_picture_is_repeated(tmp_path, monkeypatch):
    urls, path = write(tmp_path, range(100)), str(tmp_path / "index.parquet")
    made = shard_index(urls, HashSplits(FRACTIONS), path, "refuse")
    assert "duplicate_pictures" not in made.counts
    contents = {shard_index(urls, HashSplits(FRACTIONS), path, policy).content for policy in ("keep", "drop", "refuse")}
    assert contents == {made.content}
    assert all(codes is by_id for codes, by_id in zip(made.codes, made.drawn, strict=True))


def test_two_downloads_with_positional_keys_are_no_one_partition(tmp_path):
    own = shard_data(write(tmp_path / "one", range(100)), fractions=FRACTIONS)
    # The same pictures under other positions: what B has here, the target has seen there.
    turned = {n: (n + 31) % 100 for n in range(100)}
    other = shard_data(write(tmp_path / "two", range(100), shown=turned), train_on="B", fractions=FRACTIONS)
    keys = {n: f"{n:09d}" for n in range(100)}
    seen_a = {n for n in range(100) if n != 7 and own.splits.of(keys[n]) == "A"}
    seen_b = {turned[n] for n in range(100) if n != 7 and own.splits.of(keys[n]) == "B"}
    assert len(seen_a & seen_b) > 5
    assert own.record.split_fingerprint == other.record.split_fingerprint
    with pytest.raises(ValueError, match=r"b\.ckpt was trained on other samples under the same split seed"):
        verify_disjoint(own.record, other.record, "b.ckpt")
    with pytest.raises(ValueError, match=r"the checkpoint was trained on .*content_fingerprint"):
        shard_data(write(tmp_path / "three", range(99)), fractions=FRACTIONS).load_state_dict(own.state_dict())


def test_the_fingerprint_does_not_depend_on_the_layout_of_the_shards(tmp_path):
    own = shard_data(write(tmp_path / "one"), fractions=FRACTIONS)
    layout = write(tmp_path / "two", sorted(range(120), key=lambda n: -SHOWN[n]), 33)
    other = shard_data(layout, train_on="B", fractions=FRACTIONS)
    verify_disjoint(own.record, other.record, "b.ckpt")
    assert own.memorization_sets().other_split.ids == other.memorization_sets().attack.ids


def test_captions_that_both_training_splits_have_are_counted(tmp_path, caplog):
    splits = HashSplits(FRACTIONS)
    in_a = [n for n in range(100) if splits.of(f"{n:09d}") == "A" and n != 7]
    in_b = [n for n in range(100) if splits.of(f"{n:09d}") == "B" and n != 7]
    captions = {in_a[0]: "A dog!", in_a[1]: "a dog", in_b[0]: "a dog", in_b[1]: "a  dog", in_a[2]: "a cat"}
    urls = write(tmp_path, range(100), captions=captions)
    data = shard_data(urls, fractions=FRACTIONS, index=str(tmp_path / "i.parquet"))
    # Of A, one caption is B's to the letter (spaces aside) and two but for case and punctuation; of B both are A's.
    assert data.index.captions_shared == {"A": [1, 2], "B": [2, 2]}
    assert data.index.counts["duplicate_captions"] == 2
    assert data.index.counts["duplicate_normalized_captions"] == 3
    with caplog.at_level("INFO"):
        shard_data(urls, fractions=FRACTIONS, index=str(tmp_path / "i.parquet")).setup("fit")
    assert "1 attacked captions that the other training split has too, 2 but for case, punctuation" in caplog.text
