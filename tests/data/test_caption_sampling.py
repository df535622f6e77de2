"""One of several captions each epoch: by seed, epoch and id alone, and never the tests' question."""

from collections import Counter

import numpy as np
import pytest
import torch

from dejavu_lightning.data import CaptionDataModule, ObjectScenes
from dejavu_lightning.data.caption_dataset import drawn_caption
from dejavu_lightning.data.sources.caption_source import captions_of, named_objects
from tests.captions import caption_data
from tests.models import PLAIN
from tests.shards import ANIMALS, HALVES, ids_of, sample, shard_data, write_shard


def sampled(**options):
    scenes = ObjectScenes(60, image_size=32, captions_per_scene=3)
    settings = {"per_split": 20, "image_size": 32, "batch_size": 7, "augmentation": {"scale": [0.4, 1.0]}, **PLAIN}
    data = CaptionDataModule(scenes, **{"caption_sampling": True, **settings, **options})
    data.seed = 5
    return data


def shown(data, epoch, ranks=1):
    """Caption and picture by id, of all ranks."""
    found = {}
    for rank in range(ranks):
        loader = data.train_dataloader()
        loader.batches.ranks, loader.batches.rank, loader.epoch = ranks, rank, lambda: epoch
        for batch in loader:
            found |= {i: (c, p) for i, c, p in zip(batch["id"], batch["caption"], batch["image"], strict=True)}
    return found


def test_further_captions_of_a_scene_name_its_objects_and_change_nothing_else():
    plain, several = ObjectScenes(200, named=2), ObjectScenes(200, named=2, captions_per_scene=3)
    assert several.captions == plain.captions == [first for first, *_ in several.all_captions]
    assert torch.equal(several.image(7), plain.image(7))
    assert captions_of(plain) == [(caption,) for caption in plain.captions]
    names = several.object_names
    for objects, captions in zip(several.objects, several.all_captions, strict=True):
        assert len(captions) == 3
        assert all(len(named_objects(caption, objects, names)) == 2 for caption in captions)
    assert sum(len(set(captions)) == 3 for captions in several.all_captions) > 190
    assert several.all_captions[:9] == ObjectScenes(9, named=2, captions_per_scene=3).all_captions
    five = ObjectScenes(200, named=2, captions_per_scene=5).all_captions
    assert [captions[:3] for captions in five] == several.all_captions


def test_each_caption_is_drawn_as_often_as_the_others():
    counts = Counter(drawn_caption("abc", "scene-1", (3, epoch)) for epoch in range(3000))
    # Five standard deviations of a binomial count.
    assert all(abs(counts[caption] - 1000) < 5 * np.sqrt(3000 * 2 / 9) for caption in "abc")
    assert [drawn_caption("abc", "scene-1", (3, 4))] * 3 == [drawn_caption("abc", "scene-1", (3, 4)) for _ in range(3)]


def test_a_draw_depends_on_seed_epoch_and_id_alone():
    expected, later = shown(sampled(), 0), shown(sampled(), 1)
    data = sampled()
    captions = dict(zip(data.source.ids, data.source.all_captions, strict=True))
    assert all(caption in captions[i] for i, (caption, _) in expected.items())
    changed = sum(expected[i][0] != later[i][0] for i in expected)
    assert 5 <= changed <= 19  # 2/3 of 20
    workers = shown(sampled(num_workers=1, persistent_workers=False, batch_size=4), 0)
    assert {i: caption for i, (caption, _) in workers.items()} == {i: caption for i, (caption, _) in expected.items()}
    plain = shown(sampled(caption_sampling=False), 0)
    assert all(plain[i][0] == captions[i][0] for i in plain)
    assert all(torch.equal(plain[i][1], expected[i][1]) for i in plain), "views must stay what they are"


def test_the_tests_ask_with_the_own_caption():
    sets, plain = sampled().memorization_sets(), sampled(caption_sampling=False).memorization_sets()
    for part in ("attack", "other_split", "public"):
        assert getattr(sets, part).captions == getattr(plain, part).captions
    assert sets.attack.captions == [sampled().source.captions[i] for i in sets.attack.indices]


def test_a_source_of_one_caption_is_refused():
    with pytest.raises(ValueError, match="needs several captions of a picture, ObjectScenes gives one"):
        caption_data(caption_sampling=True)
    with pytest.raises(ValueError, match=r"captions_per_scene must lie in \[1, 5\], got 6"):
        ObjectScenes(captions_per_scene=6)


def several_in_json(number):
    fields = f'{{"captions": ["dog {number}", "", 3, "two of {number}"], "objects": ["dog"]}}'
    return sample(number, json=fields.encode())


def test_shards_have_further_captions_in_their_json(tmp_path):
    url = write_shard(tmp_path / "0.tar", [several_in_json(number) for number in range(40)])
    found = {}
    for workers in (1, 2):
        data = shard_data(url, fractions=HALVES, caption_sampling=True)
        reader = data.train_dataloader().reader
        batches = [batch for w in range(workers) for batch in reader.batches(0, 0, 0, w, workers)]
        assert sorted(ids_of(batches)) == sorted({i for batch in batches for i in batch["id"]})
        captions = {i: c for batch in batches for i, c in zip(batch["id"], batch["caption"], strict=True)}
        found[workers] = captions
        for key, caption in captions.items():
            number = int(key)
            own = f"a {ANIMALS[number % 3]}, number {number}"
            assert caption in (own, f"dog {number}", f"two of {number}")
    assert found[1] == found[2]
    assert len({caption.split()[0] for caption in found[1].values()}) == 3
    sets = shard_data(url, fractions=HALVES, caption_sampling=True).memorization_sets()
    assert all(caption.startswith("a ") for caption in sets.attack.captions)


def test_shards_of_one_caption_are_warned_of(tmp_path):
    url = write_shard(tmp_path / "0.tar", [sample(number) for number in range(40)])
    with pytest.warns(UserWarning, match="none of the first 100 samples of shard .* has several captions"):
        shard_data(url, fractions=HALVES, caption_sampling=True).setup("fit")


def test_a_json_without_text_file_gives_the_own_caption(tmp_path):
    listed = [sample(n, txt=None, json=f'{{"caption": ["dog {n}", "cat {n}"]}}'.encode()) for n in range(40)]
    data = shard_data(write_shard(tmp_path / "0.tar", listed), fractions=HALVES)
    batch = next(iter(data.train_dataloader()))
    assert list(batch["caption"]) == [f"dog {int(key)}" for key in batch["id"]]
