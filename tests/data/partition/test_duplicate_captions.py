"""The same caption under several ids: kept together or dropped on request, by hand and against a plain count."""

from types import SimpleNamespace

import numpy as np
import pytest

from dejavu_lightning.data import CaptionDataModule, ObjectScenes
from dejavu_lightning.data.partition.duplicate_captions import DuplicateCaptions
from dejavu_lightning.data.partition.duplicates import Duplicates
from dejavu_lightning.data.partition.splits import SPLITS, partition_by_hash
from dejavu_lightning.data.sources.caption_source import normalized_caption
from tests.data.partition.test_duplicates import same


def captioned(captions):
    return SimpleNamespace(ids=[f"x{number}" for number in range(len(captions))], captions=captions)


def scenes_data(**options):
    settings = {"per_split": 150, "held_out": 100, "image_size": 32, **options}
    return CaptionDataModule(ObjectScenes(1000, image_size=32), **settings)


CAPTIONS = ["A cat.", "a dog", "a  CAT", "a bus", "a dog", "a cat!"]


def test_captions_are_the_same_but_for_case_punctuation_and_spaces():
    found = DuplicateCaptions.of_captions(captioned(CAPTIONS), "keep")
    assert found.same_as.tolist() == [0, 1, 0, 3, 1, 0]
    assert found.copies.tolist() == [2, 4, 5]
    assert found.used().all()
    dropped = DuplicateCaptions.of_captions(captioned(CAPTIONS), "drop")
    assert dropped.used().tolist() == [True, True, False, True, False, False]


def test_both_kinds_by_hand():
    """Pictures 0 and 1 are the same, and so are 2 and 3; captions join 0, 2 and 5, and 1 and 4."""
    ids = [f"x{number}" for number in range(6)]
    captions = {policy: DuplicateCaptions.of_captions(captioned(CAPTIONS), policy) for policy in ("keep", "drop")}
    pictures = {policy: Duplicates(ids, same(ids, [[0, 1], [2, 3]]), policy) for policy in ("keep", "drop")}

    def groups(picture, caption):
        group = captions[caption].homes_with(pictures[picture])._group
        return sorted(sorted(p for p in group if group[p] == lead) for lead in set(group.values()))

    assert groups("keep", "keep") == [[0, 1, 2, 3, 4, 5]]
    assert captions["keep"].used_of(pictures["drop"]).tolist() == [True, False, True, False, True, True]
    assert groups("drop", "keep") == [[0, 2, 5]]
    # 0 is used for its caption, so that 2 and 5 are not; 1 for its, so that 4 is not.
    assert captions["drop"].used_of(pictures["keep"]).tolist() == [True, True, False, True, False, False]
    assert groups("keep", "drop") == [[0, 1]]
    # Pictures first: 1 and 3 are dropped, then of the captions those that 2 and 5 share with 0; 4 is left of its own.
    assert captions["drop"].used_of(pictures["drop"]).tolist() == [True, False, False, False, True, False]
    assert groups("drop", "drop") == []
    account = captions["drop"].account(pictures["drop"], {"A": [0], "B": [4]})
    assert account.lines()[0] == "6 pictures to split found = 2 used + 2 copies of pictures + 2 copies of captions"


@pytest.mark.parametrize("seed", range(10))
def test_no_group_of_either_kind_is_ever_divided(seed):
    generator = np.random.default_rng(seed)
    ids = [f"x{number:03}" for number in range(120)]
    texts = [f"caption {number}" for number in generator.integers(70, size=120)]
    order = generator.permutation(120)
    copies = [order[:3].tolist(), order[3:5].tolist(), order[5:11].tolist()]
    source = SimpleNamespace(ids=ids, captions=texts)
    sizes = {"A": 15, "B": 15, "held_out": 8, "validation": 4}
    for policy in ("keep", "drop"):
        pictures, captions = Duplicates(ids, same(ids, copies)), DuplicateCaptions.of_captions(source, policy)
        found = partition_by_hash(ids, sizes, seed, pictures, captions)
        positions = found.positions(ids)
        assert {split: len(found.members[split]) for split in sizes} == sizes
        home = {position: split for split, members in positions.items() for position in members}
        for text in set(texts):
            splits = [home[i] for i in range(120) if texts[i] == text and i in home]
            assert len(set(splits)) <= 1
            assert policy == "keep" or len(splits) <= 1
        assert all(len({home[i] for i in group if i in home}) <= 1 for group in copies)
        account = captions.account(pictures, positions)
        assert account.found == 120
        assert account.counts["in_no_split"] == 0
        back = [ids[i] for i in range(119, -1, -1)], [texts[i] for i in range(119, -1, -1)]
        again = DuplicateCaptions.of_captions(SimpleNamespace(ids=back[0], captions=back[1]), policy)
        mirrored = Duplicates(back[0], same(ids, [[119 - i for i in group] for group in copies]))
        assert partition_by_hash(back[0], sizes, seed, mirrored, again).fingerprint == found.fingerprint


def test_the_datamodule_splits_no_caption_and_says_so(tmp_path):
    def shared(data):
        a, b = ({normalized_caption(data.source.captions[i]) for i in data._indices[split]} for split in "AB")
        return len(a & b)

    plain = scenes_data()
    assert plain.duplicate_captions is None
    assert shared(plain) > 5
    assert plain.manifest.fingerprint == scenes_data(duplicate_captions=None).manifest.fingerprint
    for policy in ("keep", "drop"):
        data = scenes_data(duplicate_captions=policy)
        assert shared(data) == 0
        assert len(data._indices["A"]) == len(data._indices["B"]) == 150
    captions = [normalized_caption(data.source.captions[i]) for split in SPLITS for i in data._indices[split]]
    assert len(captions) == len(set(captions)) == len({normalized_caption(c) for c in data.source.captions})
    told = data.duplicate_captions.told(data._indices)
    dropped = 1000 - len(captions)
    assert told.startswith(f"{dropped} pictures with the caption of another, such as 'scene-")
    assert told.endswith("the others in one split with their copies (duplicate_captions='drop')")
    line = data.duplicate_captions.account(data.duplicates, data._indices).lines()[0]
    assert line == f"1000 pictures to split found = {len(captions)} used + {dropped} copies of captions"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"duplicate_captions": "merge"},
            r"duplicate_captions must be one of \['keep', 'drop', 'refuse'\], got 'merge'",
        ),
        (
            {"duplicate_captions": "refuse"},
            r"duplicate_captions='refuse': ObjectScenes has \d+ pictures with the caption of another, such as .*'drop'",
        ),
        (
            {"duplicate_captions": "drop", "per_split": 450, "held_out": 0},
            r"1000 captioned pictures \(\d+ pictures share their caption with others, such as .* do not suffice",
        ),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        scenes_data(**options)


def test_a_manifest_that_divides_a_caption_is_refused(tmp_path):
    scenes_data().manifest.save(tmp_path / "splits.parquet")
    given = {"manifest": str(tmp_path / "splits.parquet")}
    assert scenes_data(**given).manifest.fingerprint == scenes_data().manifest.fingerprint
    with pytest.raises(ValueError, match=r"puts \d+ pictures with the caption of another into another split"):
        scenes_data(**given, duplicate_captions="keep")
