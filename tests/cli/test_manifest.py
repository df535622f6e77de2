"""``splits`` writes a manifest that training follows."""

import re

import numpy as np
import pytest
import yaml

from dejavu_lightning.cli import main
from dejavu_lightning.data import Scenes, SplitManifest
from dejavu_lightning.data.partition.split_files import read_manifest


def test_the_partition_that_a_config_draws(config, tmp_path, capsys):
    out = tmp_path / "new [x]" / "splits.parquet"
    main(["splits", "--config", str(config), "--data.split_seed", "3", "--output", str(out)])
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
    assert f"40 A, 40 B, 0 shared, 190 public, 30 held_out, 0 validation; fingerprint {found.fingerprint}" in told
    assert f"--data.manifest {out}" in told
    with pytest.raises(SystemExit, match="exists; name a new file"):
        main(["splits", "--config", str(config), "--output", str(out)])


def test_lists_of_others(config, tmp_path, capsys):
    ids = Scenes(300).ids
    np.save(tmp_path / "bbox_A.npy", np.arange(50))
    (tmp_path / "mine.txt").write_text("\n".join(ids[50:90]))
    out = tmp_path / "splits.parquet"
    lists = ["--A", str(tmp_path / "bbox_A.npy"), "--B", str(tmp_path / "mine.txt")]
    main(["splits", "--config", str(config), *lists, "--output", str(out)])
    assert "50 A, 40 B, 0 shared, 210 public" in capsys.readouterr().out
    assert read_manifest(out, ids).members["A"] == ids[:50]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--output", "a.csv"], r"--output a\.csv must end in \.parquet"),
        (["--output", "a.parquet", "--A", "nothing.npy"], r"--A nothing\.npy: there is no such file"),
        (["--output", "a.parquet", "--a", "x"], r"no option --a\b"),
    ],
)
def test_what_cannot_be(config, given, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["splits", "--config", str(config), *given])
    assert re.search(message, capsys.readouterr().err + str(caught.value))


def test_a_config_without_data_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"trainer": {"max_epochs": 1}}))
    with pytest.raises(SystemExit, match="name by --config a config of fit with a section data"):
        main(["splits", "--config", str(tmp_path / "a.yaml"), "--output", "a.parquet"])
