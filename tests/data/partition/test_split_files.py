"""Partitions as others keep them."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from dejavu_lightning.data import ImageDataModule, Scenes, SplitManifest
from dejavu_lightning.data.partition.split_files import read_manifest

IDS = [f"{number}" for number in range(7)]
MEMBERS = {"A": ["0", "2"], "B": ["1"], "held_out": ["6"], "public": ["3", "4", "5"]}
ROWS = [(identifier, split) for split, ids in MEMBERS.items() for identifier in ids]
TABLE = pa.table({"id": [row[0] for row in ROWS], "split": [row[1] for row in ROWS]})


def same(manifest):
    assert {split: list(ids) for split, ids in manifest.members.items() if ids} == MEMBERS
    assert manifest.fingerprint == SplitManifest(MEMBERS).fingerprint


def test_tables_made_by_hand(tmp_path):
    pq.write_table(TABLE, tmp_path / "a.parquet")
    pa.csv.write_csv(TABLE, tmp_path / "a.csv")
    (tmp_path / "a.tsv").write_text("id\tsplit\n" + "".join(f"{i}\t{s}\n" for i, s in ROWS))
    for name in ("a.parquet", "a.csv", "a.tsv"):
        same(read_manifest(tmp_path / name, IDS))  # ids stay texts though all are numbers


def test_those_of_a_run(tmp_path):
    SplitManifest(MEMBERS).save(tmp_path / "splits.parquet")
    same(read_manifest(tmp_path / "splits.parquet", IDS))
    table = pq.read_table(tmp_path / "splits.parquet")
    pq.write_table(table.slice(1), tmp_path / "cut.parquet")
    with pytest.raises(ValueError, match=r"^manifest='\S+cut\.parquet'.* fingerprint \w+ of the ids is not the stored"):
        read_manifest(tmp_path / "cut.parquet", IDS)


def test_lists_and_index_files(tmp_path):
    folder = tmp_path / "lists [1]"
    folder.mkdir()
    (folder / "A.txt").write_text("0\n2\n\n")
    np.save(folder / "B.npy", np.array([1]))
    np.save(folder / "held_out.npy", np.array(["6"]))
    same(read_manifest(folder, IDS))  # what is in no list is public
    np.save(folder / "public.npy", np.array([3, 4]))
    assert read_manifest(folder, IDS).members["public"] == ["3", "4"]


def test_a_datamodule_follows_them(tmp_path):
    source = Scenes(60)
    positions = {"A": range(20), "B": range(20, 40)}
    for split, rows in positions.items():
        np.save(tmp_path / f"{split}.npy", np.array(rows))
    data = ImageDataModule(source, manifest=str(tmp_path), min_crop_side=6)
    assert data.manifest.members["A"] == source.ids[:20]
    assert data.manifest.members["public"] == source.ids[40:]
