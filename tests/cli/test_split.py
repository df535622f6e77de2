"""``split`` writes a manifest that training follows, and what training code that reads paths takes."""

import csv
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from torchvision.datasets import ImageFolder

from dejavu_lightning.cli import main
from dejavu_lightning.data import Scenes, SplitManifest
from dejavu_lightning.data.partition.split_files import read_manifest
from dejavu_lightning.data.partition.split_outputs import write_splits
from dejavu_lightning.hosts import MemorizationData
from tests.pictures import write_caption_table, write_class_folders


def test_the_partition_that_a_config_draws(config, tmp_path, capsys):
    out = tmp_path / "new [x]" / "splits.parquet"
    main(["split", "--config", str(config), "--data.split_seed", "3", "--output", str(out)])
    told = capsys.readouterr().out
    found = SplitManifest.load(out)
    assert {split: len(ids) for split, ids in found.members.items()} == {
        "A": 40,
        "B": 40,
        "shared": 0,
        "held_out": 30,
        "validation": 0,
        "public": 190,
    }
    assert "pictures: 40 A, 40 B, 0 shared, 190 public, 30 held_out, 0 validation\n" in told
    assert f"wrote {out}; fingerprint {found.fingerprint}\n" in told
    assert f"--data.manifest {out}" in told
    with pytest.raises(SystemExit, match="exists; name a new file"):
        main(["split", "--config", str(config), "--output", str(out)])


def test_lists_of_others(config, tmp_path, capsys):
    ids = Scenes(300).ids
    np.save(tmp_path / "bbox_A.npy", np.arange(50))
    (tmp_path / "mine.txt").write_text("\n".join(ids[50:90]))
    out = tmp_path / "splits.parquet"
    lists = ["--A", str(tmp_path / "bbox_A.npy"), "--B", str(tmp_path / "mine.txt")]
    main(["split", "--config", str(config), *lists, "--output", str(out)])
    assert "50 A, 40 B, 0 shared, 210 public" in capsys.readouterr().out
    assert read_manifest(out, ids).members["A"] == ids[:50]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--output", "a.csv"], r"--output a\.csv must end in \.parquet, or name a new folder"),
        (["--output", "a.parquet", "--A", "nothing.npy"], r"--A nothing\.npy: there is no such file"),
        (["--output", "a.parquet", "--a", "x"], r"no option --a\b"),
        (["--output", "a.parquet", "--copy", "true"], r"--form and --copy are of a folder, and --output a\.parquet"),
        (["--output", "a", "--root", "x"], "--root --config: give --root, with or without --boxes, or --table"),
        (["--output", "a", "--form", "folders"], "form='folders' is of pictures in files, and Scenes has none; choose"),
        (["--output", "a", "--form", "ids", "--copy", "true"], "copy is of form='folders', got form='ids'"),
    ],
)
def test_what_cannot_be(config, given, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["split", "--config", str(config), *given])
    assert re.search(message, capsys.readouterr().err + str(caught.value))


def test_a_config_without_data_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"trainer": {"max_epochs": 1}}))
    with pytest.raises(
        SystemExit, match="name the pictures by --root or --table, or by --config a config with a section data"
    ):
        main(["split", "--config", str(tmp_path / "a.yaml"), "--output", "a.parquet"])


def files_below(folder):
    """<class>/<name> of a folder of class folders, and the content of each."""
    return {f"{path.parent.name}/{path.stem}": path.read_bytes() for path in Path(folder).glob("*/*.png")}


@pytest.mark.parametrize("copy", [False, True])
def test_class_folders_of_each_split(tmp_path, capsys, copy):
    """Of a class of 20, 6 in A, 6 in B, 2 held out and 6 public; and two pictures without boxes for both."""
    root, boxes = write_class_folders(tmp_path / "data")
    for name in ("ants_00", "ants_01", "bees_05"):
        (Path(boxes) / name[:4] / f"{name}.xml").unlink()
    (Path(root) / "ants" / "notes.txt").write_text("left out")
    out = tmp_path / "splits"
    given = ["--data.per_class", "8", "--data.held_out_per_class", "2", "--copy", str(copy).lower()]
    main(["split", "--root", root, "--boxes", boxes, "--output", str(out), *given])
    told = capsys.readouterr().out
    manifest = SplitManifest.load(out / "splits.parquet")
    originals = files_below(root)
    for split in ("A", "B", "public", "held_out"):
        shared = manifest.members["shared"] if split in "AB" else []
        ids = [*manifest.members[split], *shared]
        assert files_below(out / split) == {name: originals[name] for name in ids}
        beside = f", {len(shared)} of them shared by A and B" if shared else ""
        assert f"{split}: {len(ids)} pictures{beside} in 2 folders\n" in told
    assert "1 other formats, such as ants/notes.txt" in told
    assert not (out / "shared").exists()
    link = next((out / "A" / "ants").iterdir())
    assert link.is_symlink() != copy
    assert copy or not os.path.isabs(os.readlink(link))
    # Class numbers and ids are those of the whole data, also to code that reads the folders.
    data = MemorizationData.from_folder(root, boxes, manifest=str(out / "splits.parquet"))
    dataset = ImageFolder(str(out / "A"))
    assert dataset.classes == ImageFolder(root).classes
    assert len(data.train_subset(dataset)) == len(dataset)
    assert sorted(data.memorization_sets().attack.ids) == sorted(manifest.members["A"])
    with pytest.raises(SystemExit, match="exists; name a new folder"):
        main(["split", "--root", root, "--output", str(out)])
    shutil.move(str(tmp_path), f"{tmp_path}_moved")
    assert (Path(f"{tmp_path}_moved") / "splits" / "A" / "ants" / link.name).read_bytes()
    shutil.move(f"{tmp_path}_moved", str(tmp_path))


def test_tables_of_captioned_pictures(tmp_path, capsys):
    table = write_caption_table(tmp_path / "pairs")
    out = tmp_path / "splits"
    main(["split", "--table", str(table), "--output", str(out)])
    data = MemorizationData.from_captions(str(table), manifest=str(out / "splits.parquet"))
    source, told = data.datamodule.source, capsys.readouterr().out
    captions = dict(zip(source.ids, source.captions, strict=True))
    for split, ids in data.datamodule.manifest.members.items():
        if not ids:
            continue
        with (out / f"{split}.tsv").open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        assert [row["title"] for row in rows] == [captions[name] for name in sorted(ids, key=source.ids.index)]
        assert all(os.path.isabs(row["filepath"]) and os.path.isfile(row["filepath"]) for row in rows)
        assert f"{split}: {len(ids)} pictures\n" in told


def test_ids_of_pictures_without_files(config, tmp_path):
    main(["split", "--config", str(config), "--output", str(tmp_path / "out")])
    manifest = SplitManifest.load(tmp_path / "out" / "splits.parquet")
    assert (tmp_path / "out" / "A.txt").read_text().split() == sorted(manifest.members["A"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "A.txt",
        "B.txt",
        "held_out.txt",
        "public.txt",
        "splits.parquet",
    ]


class Captured(NamedTuple):
    """Labelled pictures whose ids are paths, as those of a table may be."""

    ids: list
    labels: torch.Tensor
    class_names: list
    file: Path

    def path(self, index):
        return self.file


@pytest.mark.parametrize("copy", [True, False])
def test_two_ids_of_one_file_name_are_refused(tmp_path, copy):
    (tmp_path / "a.png").touch()
    source = Captured(["x/a/b", "x/a_b"], torch.tensor([0, 0]), ["ants"], tmp_path / "a.png")
    manifest = SplitManifest({"A": source.ids, "B": []})
    told = r"the ids 'x/a/b' and 'x/a_b' would both be A/ants/x_a_b\.png, since / becomes _; rename"
    with pytest.raises(ValueError, match=told):
        write_splits(tmp_path / "out", manifest, source, "folders", copy)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_whole_data_sets_have_no_splits(tmp_path, monkeypatch):
    whole = MemorizationData(sets=None, training_ids=[])
    monkeypatch.setattr("dejavu_lightning.cli.split.PlainLightningParser.instantiate_classes", lambda *_: Whole(whole))
    root, _ = write_class_folders(tmp_path / "data")
    with pytest.raises(SystemExit, match=r"error: MemorizationData\.from_datasets leaves its training set whole"):
        main(["split", "--root", root, "--output", str(tmp_path / "out")])


class Whole(NamedTuple):
    data: MemorizationData


def test_links_that_cannot_be_made_leave_nothing(tmp_path, monkeypatch):
    root, _ = write_class_folders(tmp_path / "data")

    def refuse(*given):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(SystemExit, match=r"links cannot be made in .* \(Operation not permitted\); set copy to true"):
        main(["split", "--root", root, "--output", str(tmp_path / "out")])
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--root", "nowhere"], "root='nowhere' is not a folder"),
        (["--root", "x", "--table", "y"], "--root --table: give --root, with or without --boxes, or --table"),
        (["--boxes", "x"], "--boxes: give --root, with or without --boxes"),
        (["--root", "x", "--data.per_clas", "3"], "no argument 'per_clas'"),
        (["--root", "x", "--form", "csv"], "choose from 'folders', 'tables', 'ids'"),
    ],
)
def test_what_cannot_be_of_a_root(given, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["split", *given, "--output", "out"])
    assert message in capsys.readouterr().err + str(caught.value)
