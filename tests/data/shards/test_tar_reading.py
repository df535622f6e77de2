"""Shards: a stable split, and no broken file unnoticed."""

import gzip
import hashlib
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dejavu_lightning.data.shards.hash_splits import SPLITS, HashSplits
from dejavu_lightning.data.shards.shard_index import shard_index
from dejavu_lightning.data.shards.shard_urls import expand_shards
from dejavu_lightning.data.shards.tar_reading import read_shard
from tests.shards import (
    HALVES,
    UNEVEN,
    epoch_of,
    jpeg,
    members,
    sample,
    shard_data,
    write_shard,
    write_shards,
)

KNOWN = [("0", "82c1", "B"), ("1", "2857", "A"), ("3", "9b36", "B"), ("a/b", "20fd", "A"), ("ключ", "46bf", "A")]


def test_split_follows_from_the_id_alone():
    splits = HashSplits(HALVES, seed=5)
    counts = Counter(splits.of(f"{number:09d}") for number in range(20_000))
    expected = {"A": 0.4, "B": 0.3, "public": 0.1, "held_out": 0.1, "validation": 0.1}
    # Five standard deviations of a binomial share.
    for split in SPLITS:
        assert counts[split] / 20_000 == pytest.approx(expected[split], abs=5 * (0.25 / 20_000) ** 0.5)
    # printf '0\\0KEY' | sha256sum begins with DIGITS: A up to 0.4 of ffff, which is 6666, then B up to 0.7, b333.
    for key, digits, split in KNOWN:
        assert hashlib.sha256(f"0\0{key}".encode()).hexdigest().startswith(digits)
        assert HashSplits(HALVES).of(key) == split
        second = hashlib.sha256(f"0\0rank\0{key}".encode()).hexdigest()
        assert HashSplits(HALVES).rank(key) == int(second[:16], 16)
    other = HashSplits(HALVES, seed=6)
    moved = sum(splits.of(str(number)) != other.of(str(number)) for number in range(1000))
    assert moved > 500
    assert splits.record("A") == HashSplits(dict(reversed(HALVES.items())), seed=5).record("A")
    fingerprints = {
        HashSplits(fractions, seed, field).record("A").split_fingerprint
        for fractions, seed, field in ((HALVES, 5, None), (HALVES, 6, None), ({**HALVES, "B": 0.2}, 5, None))
    } | {HashSplits(HALVES, 5, "url").record("A").split_fingerprint}
    assert len(fingerprints) == 4
    assert all(len(fingerprint) == 16 for fingerprint in fingerprints)


def test_split_does_not_depend_on_order_or_layout(tmp_path, shards):
    numbers = np.random.default_rng(0).permutation(sum(UNEVEN)).tolist()
    other = write_shards(tmp_path, (30, 20), numbers)
    splits = HashSplits(HALVES)
    for split in SPLITS:
        assert members(shards, split, splits) == members(other, split, splits)
        here, there = (shard_index(urls, splits, None).per_shard(split).sum() for urls in (shards, other))
        assert here == there == len(members(shards, split, splits))
    ours, theirs = shard_data(shards, fractions=HALVES), shard_data(other, fractions=HALVES)
    assert ours.record == theirs.record


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"A": 0.5, "test": 0.1}, "unknown splits.*'test'.*choose from"),
        ({"A": 0.6, "B": 0.6}, "add up to 1"),
        ({"A": 0.5, "B": 0.5}, "leave some to A, B and public"),
        ({"A": 0.5, "B": 0.2, "public": 0.1}, "add up to 1"),
    ],
)
def test_wrong_fractions(fractions, message):
    with pytest.raises(ValueError, match=message):
        HashSplits(fractions)


def odd_shard(path):
    long, broken = ("word " * 80).encode(), jpeg(0)[:9]
    samples = [
        sample(0, txt=None),
        sample(1, txt=b"  \n"),
        sample(2, jpg=broken),
        sample(3, jpg=None),
        sample(4, txt="собака бежит по снегу".encode()),
        sample(5, txt=long),
        sample(6, txt=long),
        sample(7, json=b"{"),
        sample(8, txt=None, json=b'{"caption": "from the JSON"}'),
        *map(sample, range(9, 40)),
    ]
    return write_shard(path, samples)


def test_odd_samples_are_counted_and_unusable_ones_in_no_split(tmp_path):
    url = odd_shard(tmp_path / "odd.tar")
    splits = HashSplits({"A": 0.4, "B": 0.3})
    index = shard_index([url], splits, None)
    assert index.counts == {
        "pictures": 40,
        "missing_captions": 1,
        "empty_captions": 1,
        "undecodable_images": 1,
        "missing_images": 1,
        "non_latin_captions": 1,
        "long_captions": 2,
        "duplicate_captions": 1,
        "duplicate_normalized_captions": 1,
        "broken_json": 1,
    }
    assert sum(index.per_shard(split).sum() for split in SPLITS) == 36
    index.check(0.1)
    with pytest.raises(ValueError, match=r"4 of 40 samples are unusable \(1 missing captions, such as 000000000; 1"):
        index.check(0.09)
    data = shard_data(url, fractions={"A": 0.4, "B": 0.3})
    shown = {key for batch in epoch_of(data, 0, 1, 0)[0] for key in batch}
    assert shown == members([url], "A", splits) - {f"{number:09d}" for number in range(4)}
    assert data.memorization_sets().attack.ids


def test_a_mostly_broken_collection_stops_before_training(tmp_path):
    url = write_shard(tmp_path / "0.tar", [sample(n, txt=None if n % 2 else b"fine") for n in range(20)])
    path = tmp_path / "index.parquet"
    for _ in range(2):  # also where the index was kept
        with pytest.raises(ValueError, match=r"0\.tar.*10 of 20 samples are unusable .*max_unusable=0\.1"):
            shard_data(url, index=str(path)).setup("fit")
    shard_data(url, index=str(path), max_unusable=0.5).setup("fit")


@pytest.mark.parametrize("how", ["data", "header", "member", "mark", "empty", "garbage", "joined", "flipped", "gz"])
def test_a_damaged_shard_is_named(tmp_path, how):
    good = write_shard(tmp_path / "good.tar", [sample(number) for number in range(6)])
    data = Path(good).read_bytes()
    with tarfile.open(good) as archive:
        offsets = [member.offset for member in archive]
        middle = offsets[len(offsets) // 2]
    damaged = {
        "data": data[: middle + 700],
        "header": data[: middle + 200],
        "member": data[:middle],  # tarfile and webdataset take this for a whole shard
        "mark": data.rstrip(b"\0") + b"\0" * (-len(data.rstrip(b"\0")) % 512),
        "empty": b"",
        "garbage": b"<html>not found</html>" * 100,
        "joined": data + data,
        "flipped": data[:middle] + b"x" * 512 + data[middle + 512 :],
        "gz": gzip.compress(data)[:-600],
    }[how]
    (tmp_path / "bad.tar").write_bytes(damaged)
    urls = [good, str(tmp_path / "bad.tar")]
    with pytest.raises(ValueError, match=r"shard '[^']*bad\.tar' cannot be read to its end"):
        shard_index(urls[1:], HashSplits(HALVES), None)


def test_a_compressed_shard_is_read(tmp_path):
    good = write_shard(tmp_path / "good.tar", [sample(number) for number in range(6)])
    (tmp_path / "good.tar.gz").write_bytes(gzip.compress(Path(good).read_bytes()))
    assert [s.key for s in read_shard(f"{good}.gz")] == [s.key for s in read_shard(good)]


def test_repeated_keys(tmp_path):
    within = write_shard(tmp_path / "within.tar", [sample(1), sample(2), sample(1)])
    with pytest.raises(ValueError, match=r"within\.tar.*'000000001' occurs twice"):
        shard_index([within], HashSplits(HALVES), None)
    urls = [write_shard(tmp_path / f"{n}.tar", [sample(1 + n), sample(2 + n)]) for n in range(2)]
    with pytest.raises(ValueError, match=r"0\.tar' and '[^']*1\.tar' both have the key '000000002'.*key_field"):
        shard_index(urls, HashSplits(HALVES), None)
    index = shard_index(urls, HashSplits(HALVES, key_field="url"), None)
    assert index.counts["duplicate_ids"] == 1
    assert index.examples["duplicate_ids"] == ["http://pictures.test/2"]
    with pytest.raises(ValueError, match=r"'000000001' of shard .*key_field='sha'.*'key', 'objects', 'url'"):
        shard_index(urls, HashSplits(HALVES, key_field="sha"), None)


def test_a_kept_index_is_used_and_a_stale_one_refused(tmp_path, monkeypatch):
    urls = write_shards(tmp_path, (5, 6))
    path, splits = str(tmp_path / "sub" / "index.parquet"), HashSplits(HALVES)
    made = shard_index(urls, splits, path)
    with monkeypatch.context() as patched:
        patched.setattr("dejavu_lightning.data.shards.shard_scan.read_shard", None)  # no shard is opened again
        kept = shard_index(urls[::-1], splits, path)
    assert kept.counts == made.counts
    for split in SPLITS:
        assert kept.per_shard(split).tolist() == made.per_shard(split).tolist()[::-1]
    for changed, message in (
        (HashSplits({**HALVES, "B": 0.2}), "made with fractions="),
        (HashSplits(HALVES, seed=1), "made with seed=0, not 1"),
        (HashSplits(HALVES, key_field="url"), "made with key_field=None, not 'url'"),
    ):
        with pytest.raises(ValueError, match=message):
            shard_index(urls, changed, path)
    with pytest.raises(ValueError, match=r"also has the shard .*1\.tar"):
        shard_index(urls[:1], splits, path)
    with pytest.raises(ValueError, match=r"does not know the shard .*2\.tar"):
        shard_index([*urls, write_shards(tmp_path / "more", (1, 1, 1))[2]], splits, path)
    write_shards(tmp_path, (5, 16))
    with pytest.raises(ValueError, match=r"1\.tar' had \d+ bytes, now it has \d+; delete the file"):
        shard_index(urls, splits, path)
    (tmp_path / "sub" / "index.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="cannot be read as a parquet file"):
        shard_index(urls, splits, path)


def test_urls(tmp_path, monkeypatch):
    urls = write_shards(tmp_path, (2, 2, 12))
    assert expand_shards(f"{tmp_path}/{{00000..00002}}.tar") == urls
    assert expand_shards(f"{tmp_path}/*.tar") == urls
    assert expand_shards([urls[1], f"{tmp_path}/0000{{0,2}}.tar"]) == [urls[1], urls[0], urls[2]]
    with pytest.raises(ValueError, match=r"00001\.tar' is named twice"):
        expand_shards([urls[1], f"{tmp_path}/*.tar"])
    with pytest.raises(FileNotFoundError, match=r"measured_shards: no file matches .*\*\.zip"):
        expand_shards(f"{tmp_path}/*.zip", "measured_shards")
    with pytest.raises(FileNotFoundError, match=r"shard '.*9\.tar' does not exist"):
        shard_index([str(tmp_path / "9.tar")], HashSplits(HALVES), None)
    keys = [s.key for s in read_shard(urls[2])]
    assert [s.key for s in read_shard(f"file://{urls[2]}")] == keys
    assert [s.key for s in read_shard(f"pipe:cat {urls[2]}")] == keys
    for command in ("false", f"head -c 3000 {urls[2]}", f"cat {urls[2]}; exit 3"):
        with pytest.raises(ValueError, match=r"shard 'pipe:.*' cannot be read to its end"):
            list(read_shard(f"pipe:{command}"))


def test_a_command_may_fail_when_no_more_is_read_of_it(tmp_path):
    url = write_shards(tmp_path, (3,))[0]
    # The padding does not fit into the pipe, so the command notices that it is closed.
    samples = read_shard(f"pipe:cat {url}; head -c 1000000 /dev/zero || exit 5")
    assert next(samples).key == "000000000"
    samples.close()
    assert len(list(read_shard(f"pipe:cat {url}; head -c 1000000 /dev/zero || exit 5"))) == 3
