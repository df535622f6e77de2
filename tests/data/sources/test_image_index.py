import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dejavu_lightning.data import ImageFolder
from dejavu_lightning.data.account import Account
from dejavu_lightning.data.sources import image_folder as imagefolder_module
from dejavu_lightning.data.sources.image_index import Boxes, FileContents, Index, clip_boxes
from tests.data.sources.test_voc import xml


def write_folder(root, classes=("cat", "dog"), per_class=3, size=(60, 40)):
    """The first picture of a class has no annotation, the last has two boxes."""
    for name in classes:
        (root / "train" / name).mkdir(parents=True)
        (root / "boxes" / name).mkdir(parents=True)
        for number in range(per_class):
            Image.new("RGB", size).save(root / "train" / name / f"{number}.JPEG")
            objects = [(name, 1, 1, 10, 10), (name, 20, 20, 30, 30)][: 1 + (number == per_class - 1)]
            if number:
                (root / "boxes" / name / f"{number}.xml").write_text(xml(size, *objects))
    return root


def source_of(root, index="index.parquet", **options):
    arguments = {"annotations": str(root / "boxes"), **options}
    return ImageFolder(str(root / "train"), index=index and str(root / index), **arguments)


def touch(folder):
    """As copying does: another time of change."""
    changed = folder.stat().st_mtime_ns
    os.utime(folder, ns=(changed, changed + 10**9))


def contents(source):
    return (
        list(source.ids),
        source.labels.tolist(),
        list(source.class_names),
        [boxes.tolist() for boxes in source.boxes],
        source.sizes.tolist(),
        dict(source.counts),
        source.contents.sizes.tolist(),
        source.contents.same_as.tolist(),
        [source.path(index) for index in range(len(source))],
    )


def test_boxes_are_cut_from_one_array():
    parts = [np.array([[1, 2, 3, 4]]), np.zeros((0, 4)), np.array([[5, 6, 7, 8], [9, 10, 11, 12]])]
    boxes = Boxes.of(parts)
    assert len(boxes) == 3
    assert [part.tolist() for part in boxes] == [part.tolist() for part in parts]
    assert boxes[-1].tolist() == parts[-1].tolist()
    assert boxes[1].shape == (0, 4)
    assert boxes[1].dtype == np.int64
    assert [part.tolist() for part in boxes[::2]] == [parts[0].tolist(), parts[2].tolist()]
    assert len(Boxes.of([])) == 0
    for beyond in (3, -4):
        with pytest.raises(IndexError, match=f"picture {beyond} of 3"):
            boxes[beyond]


def test_clipping_rounds_outward():
    clipped, kept, counts = clip_boxes(np.array([[-0.5, 1.9, 5.1, 7.0], [3.0, 3.0, 3.0, 9.0]]), (5, 8))
    assert clipped.tolist() == [[0, 1, 5, 7]]
    assert kept.tolist() == [True, False]
    assert counts == {"boxes_clipped": 1, "boxes_dropped": 1}
    clipped, kept, _ = clip_boxes(np.array([[6, 0, 9, 9], [6, 0, 9, 9]]), [(5, 8), (8, 5)])
    assert clipped.tolist() == [[6, 0, 8, 5]]
    assert kept.tolist() == [False, True]


def test_a_loaded_index_gives_the_source_that_was_built(tmp_path, monkeypatch):
    root = write_folder(tmp_path)
    without = contents(source_of(root, index=None))
    built = contents(source_of(root))
    assert sorted(path.name for path in root.glob("index*")) == ["index.parquet", "index.parquet.lock"]
    monkeypatch.setattr(imagefolder_module, "scan_images", None)  # no file is opened
    monkeypatch.setattr(imagefolder_module._Layout, "pictures", None)  # no class folder is listed
    loaded = source_of(root)
    assert contents(loaded) == built == without
    assert loaded.image(3).shape == (3, 40, 60)


def test_a_data_set_copied_with_its_index_passes(tmp_path):
    root = write_folder(tmp_path / "here")
    built = source_of(root)
    shutil.copytree(root, tmp_path / "there")
    touch(tmp_path / "there" / "train" / "cat")
    touch(tmp_path / "there" / "boxes" / "dog")
    shutil.rmtree(root)
    copied = source_of(tmp_path / "there")
    assert copied.ids == built.ids
    assert copied.image(0).shape == (3, 40, 60)


def new_picture(root):
    shutil.copy(root / "train" / "cat" / "0.JPEG", root / "train" / "cat" / "9.JPEG")


def lost_picture(root):
    (root / "train" / "dog" / "2.JPEG").unlink()


def renamed_picture(root):
    (root / "train" / "dog" / "2.JPEG").rename(root / "train" / "dog" / "2.jpg")


def new_annotation(root):
    shutil.copy(root / "boxes" / "cat" / "1.xml", root / "boxes" / "cat" / "0.xml")


def lost_annotations(root):
    shutil.rmtree(root / "boxes" / "dog")


def new_class(root):
    shutil.copytree(root / "train" / "dog", root / "train" / "emu")


def lost_class(root):
    shutil.rmtree(root / "train" / "dog")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (new_picture, r"class folder 'cat' of root='.*train': there is a new picture '9.JPEG', one of 1"),
        (lost_picture, r"class folder 'dog' of root='.*train': there is lost the picture '2.JPEG'"),
        (renamed_picture, r"class folder 'dog' of root='.*train': there is a new picture '2.jpg'"),
        (new_annotation, r"class folder 'cat' of annotations='.*boxes': there is a new annotation of '0'"),
        (
            lost_annotations,
            r"class folder 'dog' of annotations='.*boxes': there is lost the annotation of '1', one of 2",
        ),
        (new_class, r"root='.*train': there is a new class folder 'emu'"),
        (lost_class, r"root='.*train': there is lost the class folder 'dog'"),
    ],
)
def test_changed_folders_are_refused(tmp_path, change, message):
    root = write_folder(tmp_path)
    source_of(root)
    change(root)
    for folder in ("train/cat", "train/dog", "boxes/cat", "boxes/dog"):
        if (root / folder).is_dir():
            touch(root / folder)
    with pytest.raises(ValueError, match=rf"index='.*index.parquet' is not about {message}.*; delete the file"):
        source_of(root)
    (root / "index.parquet").unlink()
    assert len(source_of(root)) > 0


def test_files_that_are_no_pictures_do_not_make_an_index_stale(tmp_path):
    root = write_folder(tmp_path)
    ids = source_of(root).ids
    (root / "train" / "cat" / ".hidden.JPEG").write_text("")
    (root / "train" / "cat" / "notes.txt").write_text("")
    (root / "boxes" / "cat" / "of_no_picture.xml").write_text("")
    touch(root / "train" / "cat")
    assert source_of(root).ids == ids


def test_an_index_made_with_other_settings_is_refused(tmp_path):
    root = write_folder(tmp_path)
    source_of(root)
    shutil.copytree(root / "boxes", root / "other")
    for options, message in (
        ({"verify": True}, "verify=False, not True"),
        ({"broken": "skip"}, "broken='error', not 'skip'"),
        ({"annotations": None}, r"annotations='\.\./boxes', not None"),
        ({"annotations": str(root / "other")}, r"annotations='\.\./boxes', not '\.\./other'"),
    ):
        with pytest.raises(ValueError, match=rf"index='.*' was made with {message}; delete the file"):
            source_of(root, **options)


def test_skipped_files_stay_known(tmp_path):
    root = write_folder(tmp_path)
    (root / "train" / "cat" / "0.JPEG").write_bytes(b"")
    built = source_of(root, broken="skip")
    touch(root / "train" / "cat")
    loaded = source_of(root, broken="skip")
    assert contents(loaded) == contents(built)
    assert loaded.ids == ["cat/1", "cat/2", "dog/0", "dog/1", "dog/2"]
    assert loaded.counts["broken"] == 1


def test_a_picture_of_another_size_makes_the_index_stale(tmp_path):
    root = write_folder(tmp_path)
    source_of(root)
    Image.new("RGB", (30, 20)).save(root / "train" / "cat" / "1.JPEG")
    with pytest.raises(ValueError, match=r"1.JPEG \(id 'cat/1'\) is 30 x 20 pixels, the index says 60 x 40: .* stale"):
        source_of(root).image(1)


def test_damaged_and_foreign_files_are_named(tmp_path):
    root = write_folder(tmp_path)
    source_of(root)
    path = root / "index.parquet"
    whole = path.read_bytes()
    for data in (b"", b"something else", whole[: len(whole) // 2], whole[:40] + bytes(60) + whole[100:]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"index='.*index.parquet' cannot be read as a parquet file"):
            source_of(root)
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(ValueError, match=r"index='.*index.parquet' is not an index that this version writes"):
        source_of(root)
    path.write_bytes(whole)
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"dejavu_lightning.index"])
    changed = {b"dejavu_lightning.index": json.dumps({**about, "version": 0})}
    pq.write_table(table.replace_schema_metadata(changed), path)
    with pytest.raises(ValueError, match="is not an index that this version writes"):
        source_of(root)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"index='.*index.parquet' cannot be read as a parquet file"):
        source_of(root)


def test_several_processes_may_build_one_index(tmp_path):
    root = write_folder(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        sources = list(threads.map(lambda _: contents(source_of(root, "deep/index.parquet")), range(8)))
    assert all(source == sources[0] for source in sources)
    assert sorted(path.name for path in (root / "deep").iterdir()) == ["index.parquet", "index.parquet.lock"]


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    root = write_folder(tmp_path)

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        source_of(root)
    assert sorted(path.name for path in root.iterdir()) == ["boxes", "index.parquet.lock", "train"]


def test_large_boxes_survive_the_file(tmp_path):
    index = Index(
        ids=["a", "b"],
        files=pa.array(["a.jpg", "b.png"]),
        labels=np.array([1, 0]),
        class_names=["x", "y"],
        boxes=Boxes.of([np.zeros((0, 4)), np.array([[0, 1, 100_000, 99_999]])]),
        sizes=np.array([[1, 2], [100_000, 100_000]]),
        annotated=np.array([False, True]),
        contents=FileContents(np.array([3, 2**40]), np.array([0, 0])),
        account=Account("files", 2, {"pictures": 2}),
    )
    index.save(tmp_path / "i.parquet", {"note": [1]})
    loaded, about = Index.load(tmp_path / "i.parquet")
    assert about == {"note": [1]}
    assert [boxes.tolist() for boxes in loaded.boxes] == [[], [[0, 1, 100_000, 99_999]]]
    assert loaded.files.to_pylist() == ["a.jpg", "b.png"]
    assert loaded.sizes.tolist() == [[1, 2], [100_000, 100_000]]
    assert loaded.annotated.tolist() == [False, True]
    assert loaded.contents.sizes.tolist() == [3, 2**40]
    assert loaded.contents.same_as.tolist() == [0, 0]
