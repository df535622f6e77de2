"""The line that a training ends with."""

import pytest

from dejavu_lightning.figures.result_line import page_command, result_line, where_it_lies
from dejavu_lightning.memorization import LabelInference


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (
            {"net_score": 0.2, "net_score_low": -0.1, "net_score_high": 0.5, "net_score_p_value": 0.0317},
            "net déjà vu score +0.200 [-0.100, +0.500], p = 0.032, after 1 epoch",
        ),
        ({"net_score": -0.2}, "net déjà vu score -0.200, after 1 epoch"),
        ({}, "déjà vu score +0.125, after 1 epoch"),
    ],
)
def test_the_first_headline_that_there_is_is_told(row, line):
    found = {"epoch": 1.0, "score": 0.125, "records": 8.0, **row}
    assert result_line(found, ["", "net_score", "score"], LabelInference.display) == line


def test_files_are_named_as_seen_from_here(tmp_path, monkeypatch):
    folder = tmp_path / "my run" / "memorization"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert where_it_lies(folder) == "history.csv in my run/memorization"
    for name in ("curve.png", "gallery.png"):
        (folder / name).touch()
    assert where_it_lies(folder) == "curve.png, gallery.png, history.csv in my run/memorization"
    monkeypatch.chdir(folder)
    assert where_it_lies(tmp_path) == f"history.csv in {tmp_path}"


def test_the_command_of_a_page_is_one_that_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = page_command(tmp_path / "my run" / "memorization")
    assert told == "dejavu-lightning report 'my run' --output 'my run/memorization/report.html'"
    assert page_command(tmp_path / "memorization").startswith("dejavu-lightning report . --output memorization/report")
    assert page_command(tmp_path / "elsewhere") == ""
