"""The measured samples of shards, and the objects in them."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from dejavu_lightning.core.object_file import read_objects
from dejavu_lightning.data.decode import decode, decode_bytes
from dejavu_lightning.data.shards.hash_splits import HashSplits
from tests.shards import HALVES, UNEVEN, jpeg, members, sample, shard_data, write_shard, write_shards


def test_read_objects(tmp_path):
    path = tmp_path / "objects.jsonl"
    lines = [
        {
            "id": "b",
            "objects": [{"label": "dog", "box": [0, 0, 1, 1]}, {"label": "cat", "score": 0.3}, {"label": "dog"}],
        },
        {"id": "a", "objects": []},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert read_objects(str(path)) == {"b": ["dog", "cat"], "a": []}
    for line, message in (
        ("{", "line 3 is not JSON"),
        ('{"objects": []}', 'line 3 needs an "id"'),
        ("[]", 'line 3 needs an "id"'),
        ('{"id": "b", "objects": []}', "line 3 repeats the id 'b' of line 1"),
        ('{"id": "c", "objects": "dog"}', r"line 3 \(id 'c'\): objects must be a list, got 'dog'"),
        ('{"id": "c"}', r"line 3 \(id 'c'\): objects must be a list"),
        ('{"id": "c", "objects": [{"box": []}]}', r"line 3 \(id 'c'\): an object must"),
    ):
        path.write_text("\n".join([*map(json.dumps, lines), line]))
        with pytest.raises(ValueError, match=rf"objects\.jsonl, {message}"):
            read_objects(str(path))


def test_objects_of_the_json_and_of_a_side_file(tmp_path, shards):
    data = shard_data(shards, fractions=HALVES)
    source, _ = data.measured
    assert source.object_names == ["bird", "cat", "dog", "tree"]
    for identifier, objects, named in zip(source.ids, source.objects, source.named, strict=True):
        animal = [2, 1, 0][int(identifier) % 3]
        assert objects.tolist() == [animal, 3]
        assert named.tolist() == [animal]
    source, _ = shard_data(shards, fractions=HALVES, object_names=["tree", "dog"]).measured
    assert {len(objects) for objects in source.objects} == {1, 2}
    assert source.counts["objects_outside_the_vocabulary"] == sum(int(i) % 3 > 0 for i in source.ids)
    path = tmp_path / "objects.jsonl"
    path.write_text(json.dumps({"id": source.ids[3], "objects": [{"label": "sofa"}]}))
    source, _ = shard_data(shards, fractions=HALVES, objects=str(path)).measured
    assert source.object_names == ["sofa"]
    assert [i for i, objects in zip(source.ids, source.objects, strict=True) if len(objects)] == [source.ids[3]]
    path.write_text('{"id": "http://pictures.test/1", "objects": []}')
    with pytest.raises(ValueError, match=r"none of the measured samples.*like 'http://pictures\.test/1'"):
        shard_data(shards, fractions=HALVES, objects=str(path)).memorization_sets()
    broken = write_shard(tmp_path / "b.tar", [sample(n, json=b'{"objects": "dog"}') for n in range(30)])
    with pytest.raises(ValueError, match=r"sample '\d+' of shard '.*b\.tar': objects must be a list"):
        shard_data(broken, fractions=HALVES).memorization_sets()


def test_measured_sets_do_not_depend_on_order_or_layout(tmp_path, shards):
    numbers = np.random.default_rng(0).permutation(sum(UNEVEN)).tolist()
    other = write_shards(tmp_path / "other", (30, 20), numbers)
    limits = {"max_attack": 4, "max_public": 2, "max_held_out": 0, "max_validation": 100}
    sets = [shard_data(urls, fractions=HALVES, **limits).memorization_sets() for urls in (shards, other)]
    utility = shard_data(shards, fractions=HALVES, **limits).utility_sets()
    for name, split, count in (("attack", "A", 4), ("other_split", "B", 4), ("public", "public", 2)):
        here, there = (getattr(found, name) for found in sets)
        assert len(here) == count
        assert here.ids == there.ids
        assert here.captions == there.captions
        assert torch.equal(here[0]["image"], there[0]["image"])
        assert set(here.ids) <= members(shards, split, HashSplits(HALVES))
    assert sets[0].neither_split is None
    assert sets[0].trained_on.split == "A"
    assert utility.train.ids == sets[0].public.ids
    assert set(utility.validation.ids) == members(shards, "validation", HashSplits(HALVES))
    more = shard_data(shards, fractions=HALVES, max_attack=6).memorization_sets()
    assert more.attack.ids[:4] == sets[0].attack.ids
    swapped = shard_data(shards, train_on="B", fractions=HALVES, **limits).memorization_sets()
    assert (swapped.attack.ids, swapped.other_split.ids) == (sets[0].other_split.ids, sets[0].attack.ids)


def test_measured_shards(tmp_path):
    urls = write_shards(tmp_path, (60, 60))
    sets = shard_data(urls, measured_shards=urls[1]).memorization_sets()
    assert {int(i) >= 60 for i in [*sets.attack.ids, *sets.public.ids]} == {True}
    with pytest.raises(ValueError, match=r"measured_shards names .*1\.tar', which is not one of shards"):
        shard_data(urls[0], measured_shards=urls)
    small = write_shards(tmp_path / "small", (1, 60), [200, *range(60)])
    with pytest.raises(ValueError, match="measured_shards hold no usable sample of split"):
        shard_data(small, measured_shards=small[0]).memorization_sets()


def test_one_of_the_samples_with_one_url_is_measured_whatever_the_order(tmp_path):
    twins = [sample(number) for number in range(60)]
    again = [sample(number, __key__=f"again{number}", txt=b"told otherwise") for number in range(60)]
    parts = [write_shard(tmp_path / f"{n}.tar", found) for n, found in enumerate((twins, again))]
    found = [shard_data(urls, key_field="url", max_attack=5).memorization_sets() for urls in (parts, parts[::-1])]
    assert len(set(found[0].attack.ids)) == 5
    assert found[0].attack.ids == found[1].attack.ids
    assert found[0].attack.captions == found[1].attack.captions


def test_bytes_are_decoded_as_files_are(tmp_path):
    file = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(jpeg(1))).save(file, exif=exif)
    assert torch.equal(decode_bytes(file.read_bytes(), "it"), decode(file))
    with pytest.raises(ValueError, match="it cannot be decoded"):
        decode_bytes(file.read_bytes()[:-300], "it")
    source, _ = shard_data(write_shards(tmp_path / "s", (60,))).measured
    assert torch.equal(source.image(0), decode_bytes(jpeg(int(source.ids[0])), ""))


def test_what_cannot_be_decoded_is_neither_trained_on_nor_attacked(tmp_path):
    """The header of a truncated picture is sound; training skips it, so it must not count as a member."""
    samples = [sample(number) for number in range(60)]
    for number in (7, 9):
        whole = jpeg(number, side=64)
        samples[number]["jpg"] = whole[: len(whole) // 2]
    data = shard_data(write_shard(tmp_path / "a.tar", samples), fractions={"A": 0.4, "B": 0.4})
    sets = data.memorization_sets()
    ids = {identifier for part in (sets.attack, sets.other_split, sets.public) for identifier in part.ids}
    assert len(ids) == 58
    assert not ids & {f"{7:09d}", f"{9:09d}"}
    strict = shard_data(str(tmp_path / "a.tar"), fractions={"A": 0.4, "B": 0.4}, max_unusable=0.01)
    with pytest.raises(ValueError, match=r"2 of 60 measured samples cannot be decoded, more than max_unusable=0.01"):
        strict.memorization_sets()


def test_a_sample_without_its_id_is_counted(tmp_path):
    samples = [sample(number) for number in range(60)]
    samples[3]["json"] = b"{broken"
    del samples[5]["json"]
    data = shard_data(write_shard(tmp_path / "a.tar", samples), fractions={"A": 0.4, "B": 0.4}, key_field="url")
    assert data.index.counts["missing_ids"] == 2
    assert sum(int(data.index.per_shard(split).sum()) for split in ("A", "B", "public")) == 58
