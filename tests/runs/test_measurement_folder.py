import json

import pyarrow as pa
import pytest

from dejavu_lightning.core.records import Records
from dejavu_lightning.core.whole_file import write_json
from dejavu_lightning.runs.files import read_json
from dejavu_lightning.runs.measurement_folder import (
    epoch_folder,
    figure_file,
    read_class_names,
    read_metrics,
    read_records,
    read_table,
    read_terms,
    table_file,
    table_files,
    write_agreement,
    write_class_names,
    write_metrics,
    write_ranking,
    write_records,
    write_table,
    write_terms,
)


def records():
    return Records(pa.table({"id": ["b", "a"], "correct": [True, False]}), {"k": 3})


def test_names(tmp_path):
    assert epoch_folder(tmp_path, 40) == tmp_path / "epoch=0040"
    assert table_file(tmp_path, "target") == tmp_path / "target.parquet"
    assert figure_file(tmp_path, "gallery") == tmp_path / "gallery.png"


def test_tables_are_read_as_written(tmp_path):
    folder = epoch_folder(tmp_path / "new", 4)
    write_records(folder, "target", records())
    write_table(folder, "comparison", pa.table({"id": ["a", "b"]}))
    found = read_records(folder, "target")
    assert found.table.to_pydict() == {"id": ["a", "b"], "correct": [False, True]}
    assert found.settings == {"k": 3}
    assert read_table(folder, "comparison").to_pydict() == {"id": ["a", "b"]}
    assert read_table(folder, "sample_gaps") is None


def test_the_tables_of_all_epochs_are_found(tmp_path):
    for folder in ("epoch=0004", "epoch=0004/naive_bayes", "epoch=0000", "other"):
        write_table(tmp_path / folder, "reference", pa.table({"id": ["a"]}))
    found = [file.parent.relative_to(tmp_path).as_posix() for file in table_files(tmp_path)]
    assert found == ["epoch=0000", "epoch=0004/naive_bayes", "epoch=0004"]


def test_rows_and_names(tmp_path):
    write_class_names(tmp_path / "new", ("cat", "dög"))
    assert read_class_names(tmp_path / "new") == ["cat", "dög"]
    assert read_class_names(tmp_path) == []
    write_agreement(tmp_path, [{"one": "a", "other": "b", "kappa": 0.1}])
    assert (tmp_path / "agreement.csv").read_bytes() == b"one,other,kappa\r\na,b,0.1\r\n"
    assert write_ranking(tmp_path, [{"rank": 1, "label": "c,d"}]) == tmp_path / "ranking.csv"
    assert (tmp_path / "ranking.csv").read_bytes() == b'rank,label\r\n1,"c,d"\r\n'


def test_metrics_are_written_at_once(tmp_path):
    facts = {"metrics": {"score": 0.1}, "epoch": 4, "options": {"output": tmp_path}}
    assert write_metrics(tmp_path, facts) == tmp_path / "metrics.json"
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
    assert read_metrics(tmp_path) == facts | {"options": {"output": str(tmp_path)}}
    with pytest.raises(TypeError):
        write_json(tmp_path / "metrics.json", {("no", "text"): 1})
    assert read_metrics(tmp_path)["epoch"] == 4


@pytest.mark.parametrize("torn", [b"", b"PAR1", b"half"])
def test_a_damaged_table_is_named(tmp_path, torn):
    for name in ("target", "comparison"):
        file = table_file(tmp_path, name)
        write_records(tmp_path, name, records())
        file.write_bytes(file.read_bytes()[:-20] if torn == b"half" else torn)
    with pytest.raises(ValueError, match=r"target\.parquet is damaged or no record table: "):
        read_records(tmp_path, "target")
    with pytest.raises(ValueError, match=r"comparison\.parquet is damaged or no record table: "):
        read_table(tmp_path, "comparison")


def test_another_table_is_no_record_table(tmp_path):
    write_table(tmp_path, "target", pa.table({"name": ["a"]}))
    with pytest.raises(ValueError, match=r"target\.parquet is damaged or no record table: .*id"):
        read_records(tmp_path, "target")
    with pytest.raises(FileNotFoundError):
        read_records(tmp_path, "reference")


@pytest.mark.parametrize("text", ["", '{"metrics": {"sc', "[1]", '{"metrics": null}', '{"epoch": 3}', b"\xff"])
def test_damaged_metrics_are_named(tmp_path, text):
    (tmp_path / "metrics.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"metrics\.json is no (JSON|output of evaluate\.py memorization): "):
        read_metrics(tmp_path)


def test_damaged_names_are_named(tmp_path):
    (tmp_path / "classes.json").write_text('["cat", "do')
    with pytest.raises(ValueError, match=r"classes\.json is no JSON: "):
        read_class_names(tmp_path)
    (tmp_path / "classes.json").write_text(json.dumps({"0": "cat"}))
    with pytest.raises(ValueError, match=r"classes\.json is no list of names: \{'0': 'cat'\}"):
        read_class_names(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


def test_terms_are_read_as_written(tmp_path):
    """Samples of one estimate; of another there is only the first, with another record; damage is told."""
    assert read_terms(tmp_path, "gap") == []
    write_terms(tmp_path, {})
    assert not table_file(tmp_path, "terms").exists()
    attacked, held_out = (["b", "a"], [1.0, 0.0]), (["h"], [-0.5])
    write_terms(tmp_path, {"gap": [(["c"], [0.25])], "net_gap": [attacked, held_out]})
    assert read_terms(tmp_path, "net_gap") == [{"b": 1.0, "a": 0.0}, {"h": -0.5}]
    assert read_terms(tmp_path, "gap") == [{"c": 0.25}]
    assert read_terms(tmp_path, "other") == []
    table_file(tmp_path, "terms").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"terms\.parquet is damaged"):
        read_terms(tmp_path, "gap")
