"""Groups from the source's own columns: of tables, COCO's JSON, shards, and classes."""

import json

import numpy as np
import pytest
import torch

from dejavu_lightning.core.samples import Subsample
from dejavu_lightning.data import CaptionTable, CocoCaptions, CocoInstances, ImageDataModule, ObjectScenes, Scenes
from dejavu_lightning.data.caption_dataset import CaptionDataset
from dejavu_lightning.memorization import GroupColumn, MemorizationSets
from dejavu_lightning.memorization.group_column import read_groups_of
from tests.data.sources.test_caption_table import write as write_table
from tests.data.sources.test_coco import instance, write_coco
from tests.data.sources.test_coco_captions import write as write_captions
from tests.shards import sample, shard_data, write_shard

NAMES = ("a.jpg", "b.jpg", "c.jpg")
BOXES = [instance(number, 18, [0, 0, 8, 8]) for number in (1, 2, 3)]
LICENCES = [{"id": 4, "name": "open", "url": "http://open.test"}, {"id": 5, "name": "closed"}, {"id": 6}]
IMAGES = [
    {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40, "license": 4, "donor": "x"},
    {"id": 2, "file_name": "b.jpg", "width": 60, "height": 40, "license": 5, "donor": None},
    {"id": 3, "file_name": "c.jpg", "width": 60, "height": 40, "license": 6, "tags": ["a"]},
]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_of_the_table(tmp_path, kind):
    rows = [
        {"image": f"{name}.png", "caption": caption, "licence": licence, "year": year}
        for name, caption, licence, year in [
            ("a", "one", "open", 1999),
            ("b", "", "open", 2000),
            ("c", "two", None, 1999),
        ]
    ]
    source = CaptionTable(write_table(tmp_path, rows, kind), max_unusable=0.5)
    assert source.ids == ["a", "c"]
    assert source.column("licence") == (["open", None] if kind == "parquet" else ["open", ""])
    assert source.column("year") == ["1999", "1999"]
    with pytest.raises(ValueError, match=r"no column column='site'; its columns are \['image', 'caption', 'licence'"):
        source.column("site")


def test_a_table_that_was_changed_since_is_told(tmp_path):
    rows = [{"image": f"{name}.png", "caption": name, "licence": "open"} for name in "abc"]
    source = CaptionTable(write_table(tmp_path, rows))
    assert source.column("licence") == ["open"] * 3
    write_table(tmp_path, rows[:2])
    assert source.column("licence") == ["open"] * 3  # read once
    with pytest.raises(ValueError, match="has 2 rows now, it had 3: it was changed; start again"):
        source.column("caption")


def test_rows_of_one_picture_must_agree(tmp_path):
    rows = [
        {"image": "a.png", "caption": caption, "uid": "a", "licence": "open", "writer": writer}
        for caption, writer in [("one", "x"), ("two", "y")]
    ]
    source = CaptionTable(write_table(tmp_path, rows), id="uid", several_rows=True)
    assert source.column("licence") == ["open"]
    with pytest.raises(ValueError, match="rows 1 and 2 of picture 'a' differ in column 'writer', 'x' and 'y'"):
        source.column("writer")


def test_a_column_must_hold_text_or_numbers(tmp_path):
    rows = [{"image": "a.png", "caption": "one", "tags": ["x"]}]
    with pytest.raises(ValueError, match="column 'tags' must hold text or numbers, it holds list"):
        CaptionTable(write_table(tmp_path, rows, "parquet")).column("tags")


def test_a_field_of_the_pictures_in_coco(tmp_path):
    source = CocoInstances(*write_coco(tmp_path, BOXES, NAMES, images=IMAGES, licenses=LICENCES))
    assert source.column("license") == ["open", "closed", "6"]  # the third has no name
    assert source.column("donor") == ["x", None, None]
    with pytest.raises(ValueError, match=r"no picture has a field 'site'; their fields are \['donor', 'file_name'"):
        source.column("site")
    with pytest.raises(ValueError, match=r"picture 3 has tags \['a'\], expected a text or a number"):
        source.column("tags")


def test_a_field_of_the_pictures_in_coco_captions(tmp_path):
    said = [{"id": number, "image_id": number, "caption": f"picture {number}"} for number in (1, 2, 3)]
    files = write_captions(tmp_path, said, BOXES, NAMES, images=IMAGES, licenses=LICENCES)
    source = CocoCaptions(**files)
    assert source.column("license") == ["open", "closed", "6"]
    records = CaptionDataset(source, [2, 0], None)
    assert records.column("license") == ["6", "open"]
    assert records.column("class") == ["dog", "dog"]
    sets = MemorizationSets(attack=records, public=records, num_classes=3)
    assert read_groups_of(GroupColumn("license"), sets) == {"c": "6", "a": "open"}
    with pytest.raises(ValueError, match=r"that column 'class' of the data knows are of one group, 'dog'; groups"):
        read_groups_of(GroupColumn("class"), sets)


def test_a_field_of_the_json_in_shards(tmp_path):
    def fields(number):
        known = {"licence": "open" if number % 2 else "closed", "size": [8, 8]}
        return json.dumps(known if number % 5 else {}).encode() if number % 7 else b"{"

    shard = write_shard(tmp_path / "0.tar", [sample(number, json=fields(number)) for number in range(60)])
    sets = shard_data(shard).memorization_sets()
    found = read_groups_of(GroupColumn("licence"), sets)
    numbers = {one: int(one) for one in found}
    assert found == {one: "open" if number % 2 else "closed" for one, number in numbers.items()}
    of_sets = {one for part in (sets.attack, sets.other_split, sets.neither_split) for one in part.ids}
    assert set(found) == {one for one in of_sets if int(one) % 5 and int(one) % 7}
    with pytest.raises(ValueError, match=r"groups: the JSON of no sample has a field 'site'; their fields are \['lic"):
        read_groups_of(GroupColumn("site"), sets)
    with pytest.raises(ValueError, match=r"groups: .*'size' must be a text or a number, got"):
        read_groups_of(GroupColumn("size"), sets)


def test_classes_are_groups_of_all_attacked_sets():
    data = ImageDataModule(Scenes(300), per_class=4, held_out_per_class=4, min_crop_side=8)
    sets = data.memorization_sets().subsample(20, None)
    found = read_groups_of(GroupColumn("class"), sets)
    assert set(found) == {*sets.attack.ids, *sets.other_split.ids, *sets.neither_split.ids}
    assert [found[one] for one in sets.attack.ids] == [sets.class_names[label] for label in sets.attack.labels.tolist()]


def test_records_without_columns_are_told():
    with pytest.raises(
        ValueError, match="ObjectScenes has no columns of its own but 'class'; give a file of ids and 'donor'"
    ):
        CaptionDataset(ObjectScenes(8), [0], None).column("donor")
    plain = [{"image": torch.zeros(3, 8, 8), "label": 0, "id": "a"}]
    for samples in (plain, Subsample(plain * 3, np.array([0, 2])), Columns(plain, ["x"])):
        with pytest.raises(ValueError, match=r"have no columns, such as 'donor', for which a data set needs 'ids' and"):
            read_groups_of(GroupColumn("donor"), MemorizationSets(attack=samples, public=plain, num_classes=1))


class Columns(list):
    """A data set of a host with a column."""

    def __init__(self, samples, values):
        super().__init__(samples)
        self.values = values

    def column(self, name):
        return self.values


class Named(Columns):
    @property
    def ids(self):
        return [sample["id"] for sample in self]


def test_a_data_set_of_a_host_offers_a_column():
    samples = [{"image": torch.zeros(3, 8, 8), "label": 0, "id": one} for one in "abc"]
    attack, plain = Named(samples, ["x", None, 7]), [(torch.zeros(3, 8, 8), 0)]
    sets = MemorizationSets(attack=attack, public=samples, neither_split=plain, num_classes=1)
    assert read_groups_of(GroupColumn("donor"), sets) == {"a": "x", "c": "7"}
    few = MemorizationSets(attack=Named(samples, ["x"]), public=samples, num_classes=1)
    with pytest.raises(ValueError, match=r"column\('donor'\) of a Named gives 1 values for 3 records"):
        read_groups_of(GroupColumn("donor"), few)
