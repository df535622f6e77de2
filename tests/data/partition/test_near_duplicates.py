from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.io import decode_jpeg, encode_jpeg
from torchvision.transforms.v2.functional import resize

from dejavu_lightning.data import ImageDataModule, NearDuplicates, Scenes
from dejavu_lightning.data.partition.near_duplicates import close_pairs, perceptual_hash
from tests.models import PLAIN


def pictures(images):
    ids = [f"p{number}" for number in range(len(images))]
    return SimpleNamespace(ids=ids, image=images.__getitem__)


def photographs(count, side=96):
    """Smooth random pictures: few low frequencies, as in photographs."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    return [(resize(picture, [side, side]).clamp(0, 1) * 255).to(torch.uint8) for picture in coarse]


def test_the_same_picture_in_another_size_compression_and_brightness_is_found():
    own = photographs(40)
    again = [
        decode_jpeg(encode_jpeg(own[3], quality=60)),
        resize(own[5], [70, 50]),
        (own[7].float() * 0.9).to(torch.uint8),
    ]
    found = NearDuplicates(6).join(pictures([*own, *again]), np.arange(43))
    assert found.tolist() == [*range(40), 3, 5, 7]
    # What is known to be the same is joined too: 1 is 0, and 42 looks like 7.
    same_as = np.arange(43)
    same_as[1], same_as[42] = 0, 9
    joined = NearDuplicates(6).join(pictures([*own, *again]), same_as)
    assert joined[[1, 7, 9, 42]].tolist() == [0, 7, 7, 7]


def test_pictures_of_one_colour_are_compared_by_their_bytes_alone():
    flat = [torch.full((3, 20, 20), value, dtype=torch.uint8) for value in (0, 0, 250)]
    assert [perceptual_hash(picture) for picture in flat] == [0, 0, 0]
    assert NearDuplicates(15).join(pictures(flat), np.array([0, 0, 2])).tolist() == [0, 0, 2]


@pytest.mark.parametrize("distance", [0, 1, 4, 15])
def test_close_pairs_connect_what_a_plain_loop_does(distance):
    generator = np.random.default_rng(distance)
    base = generator.integers(1, 2**63, 30, dtype=np.uint64)
    flips = np.uint64(1) << generator.integers(0, 64, (8, 240)).astype(np.uint64)
    hashes = np.concatenate([base.repeat(8)] * 1)
    for row in flips[: 1 + distance // 3]:
        hashes = hashes ^ row
    hashes[:3] = 0
    expected = {
        (i, j)
        for i in range(240)
        for j in range(i)
        if hashes[i] and hashes[j] and bin(int(hashes[i] ^ hashes[j])).count("1") <= distance
    }
    pairs = close_pairs(hashes, distance)
    assert all(i == j or (max(i, j), min(i, j)) in expected for i, j in pairs.tolist())

    def groups(edges):
        name = list(range(240))
        for _ in range(240):
            before = list(name)
            for i, j in edges:
                name[i] = name[j] = min(name[i], name[j])
            if name == before:
                return name
        raise AssertionError

    assert groups(pairs.tolist()) == groups(expected)


def test_hashes_are_kept_in_a_file(tmp_path):
    file = str(tmp_path / "sub" / "hashes.parquet")
    own = photographs(6)
    made = NearDuplicates(file=file).hashes(pictures(own))
    assert made.tolist() == [perceptual_hash(picture) for picture in own]
    unread = SimpleNamespace(ids=pictures(own).ids)
    assert NearDuplicates(file=file).hashes(unread).tolist() == made.tolist()
    with pytest.raises(ValueError, match=r"near_duplicates: file='.*hashes.parquet' is about other pictures; delete"):
        NearDuplicates(file=file).hashes(pictures(own[:3]))
    with pytest.raises(ValueError, match=r"distance must lie in \[0, 15\], of the 64 bits of a hash, got 20"):
        NearDuplicates(20)


def test_a_datamodule_keeps_near_duplicates_in_one_split():
    scenes = Scenes(300)
    for number in range(0, 300, 10):  # each picture of the first class lightened a little
        scenes._images[number] = (scenes._images[number % 100].float() * 0.97 + 4).to(torch.uint8)
    settings = {"per_class": 8, "min_crop_side": 6, "image_size": 32, **PLAIN}
    assert ImageDataModule(scenes, **settings).duplicates.told({}) == ""
    data = ImageDataModule(scenes, near_duplicates=NearDuplicates(2), **settings)
    home = {i: split for split, members in data.manifest.members.items() for i in members}
    for number in range(0, 100, 10):
        copies = [f"scene-{number + more:06d}" for more in (0, 100, 200)]
        assert len({home[copy] for copy in copies if copy in home}) == 1
