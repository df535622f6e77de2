"""A stream of WebDataset that others read, filtered by key, trains on what our own datamodule would."""

import json
from collections import Counter

import open_clip
import pytest
import torch
import webdataset as wds
from torch.utils.data import DataLoader

from dejavu_lightning.hosts import MemorizationData
from tests.shards import HALVES, ids_of, jpeg, sample, shard_data, write_shard, write_shards

COPIES = {101: 3, 102: 7, 103: 11, 104: 20, 105: 33, 106: 41}  # number of the copy: whose picture it has


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    """60 samples in five shards, and a sixth of six whose pictures others have, and one without a caption."""
    folder = tmp_path_factory.mktemp("shards")
    copies = [sample(number, jpg=jpeg(of)) for number, of in COPIES.items()]
    return [
        *write_shards(folder, (23, 11, 9, 0, 17)),
        write_shard(folder / "00005.tar", [*copies, sample(107, txt=None)]),
    ]


def from_shards(urls, **settings):
    return MemorizationData.from_shards(urls, **{"fractions": HALVES, "image_size": 8, **settings})


def streamed(data, urls, key="__key__", workers=0):
    """What a pipeline of the host's own yields in an epoch."""
    told = (lambda s: s[key]) if key == "__key__" else (lambda s: str(json.loads(s["json"])[key]))
    dataset = wds.WebDataset(urls, shardshuffle=len(urls), nodesplitter=wds.split_by_node, empty_check=False)
    dataset = (
        dataset.select(lambda s: data.trains_on(told(s))).shuffle(5).decode("pil").to_tuple("__key__", "jpg", "txt")
    )
    loader = DataLoader(dataset.batched(4, collation_fn=list, partial=True), batch_size=None, num_workers=workers)
    return [key for batch in loader for key, picture, caption in batch]


def own(urls, **settings):
    data = shard_data(urls, fractions=HALVES, **settings)
    return Counter(ids_of(data.train_dataloader()))


@pytest.mark.parametrize("duplicates", ["keep", "drop"])
@pytest.mark.parametrize("split", ["A", "B"])
def test_a_stream_shows_what_the_datamodule_shows_each_once(urls, split, duplicates):
    data = from_shards(urls, train_on=split, duplicates=duplicates)
    shown = streamed(data, urls, workers=2)
    assert Counter(shown) == own(urls, train_on=split, duplicates=duplicates)
    assert max(Counter(shown).values()) == 1


def test_a_copy_goes_with_its_picture_whatever_its_own_key_draws(urls):
    """At least one of the six would be elsewhere by the hash of its key alone."""
    data, splits = from_shards(urls), shard_data(urls, fractions=HALVES).splits
    moved = 0
    for copy, of in COPIES.items():
        pair = f"{copy:09d}", f"{of:09d}"
        assert data.trains_on(pair[0]) == data.trains_on(pair[1])
        moved += splits.of(pair[0]) != splits.of(pair[1])
    assert moved
    assert not data.trains_on("000000107"), "it has no caption"
    assert not data.trains_on("another"), "no shard has it"


def test_a_field_of_the_json_is_what_is_asked_for(urls):
    data = from_shards(urls, key_field="url")
    urls_of = {f"http://pictures.test/{int(key)}" for key in streamed(data, urls, "url")}
    assert urls_of == set(own(urls, key_field="url"))


def test_the_attacked_records_are_trained_on_and_the_others_are_not(urls, tmp_path):
    data = from_shards(urls, transform=open_clip.image_transform(8, is_train=False), index=str(tmp_path / "i.parquet"))
    shown, sets = set(streamed(data, urls)), data.memorization_sets()
    assert set(sets.attack.ids) == shown
    assert sets.attack[0]["image"].shape == (3, 8, 8)
    for other in (sets.other_split, sets.neither_split, sets.public):
        assert not shown & set(other.ids)
    again = from_shards(urls, index=str(tmp_path / "i.parquet"))
    assert all(again.trains_on(key) == data.trains_on(key) for key in (f"{n:09d}" for n in range(108)))


def test_bad_input(urls, tmp_path):
    data = from_shards(urls)
    with pytest.raises(TypeError, match=r"samples of shards are told by key: filter the stream, as by dataset\.select"):
        data.train_subset(torch.utils.data.TensorDataset(torch.zeros(3)))
    # Two samples with one url, each with the picture of another sample, which comes first and so decides.
    splits = shard_data(urls, fractions=HALVES, key_field="url").splits
    of = "http://pictures.test/{}".format
    twin = max(map(of, range(900, 950)), key=splits.rank)
    pictures = [next(n for n in range(60) if splits.of(of(n)) == split) for split in "AB"]
    assert all(splits.rank(of(n)) < splits.rank(twin) for n in pictures)
    files = [sample(200 + n, jpg=jpeg(n), json=json.dumps({"url": twin}).encode()) for n in pictures]
    shards = [*urls[:5], write_shard(tmp_path / "x.tar", files)]
    with pytest.raises(
        ValueError, match="key_field='url': 1 ids are of several samples, of which not all are in split 'A'"
    ):
        from_shards(shards, key_field="url")
