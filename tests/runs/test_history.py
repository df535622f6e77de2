import pytest

from dejavu_lightning.runs.history import read_history, row_after, write_history


def test_what_is_written_is_read(tmp_path):
    """A monitor whose references can tell less at first has fewer columns then; none is read as a number."""
    rows = [{"epoch": 0.0, "score": 0.1}, {"epoch": 4.0, "score": 1 / 3, "control_score": -0.25}]
    folder = tmp_path / "new" / "memorization"
    write_history(folder, rows)
    assert (folder / "history.csv").read_bytes() == (
        b"epoch,score,control_score\r\n0.0,0.1,\r\n4.0,0.3333333333333333,-0.25\r\n"
    )
    assert read_history(folder) == rows
    assert read_history(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,loss\n1,2\n", r"history\.csv is no history of a monitor: it has no column epoch"),
        ("epoch,score\n0.0,high\n", r"history\.csv is no history of a monitor: could not convert .*'high'"),
        ("epoch,score\n0.0,0.1,0.2\n", r"history\.csv is no history of a monitor: "),
        ("epoch,score\n0.0,0.1\n,0.2\n", r"history\.csv is damaged: row 2 has no epoch"),
        (b"epoch\n\xff\n", r"history\.csv is no history of a monitor: .*can't decode"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, message):
    (tmp_path / "history.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_history(tmp_path)


def test_the_row_of_a_model():
    rows = [{"epoch": 4.0, "knn_top1": 0.2}, {"epoch": 8.0, "knn_top1": 0.3}]
    assert row_after(rows, 4) == rows[0]
    assert row_after(rows, 8.0) == rows[1]
    assert row_after(rows, 6) == {}
    assert row_after(rows, None) == rows[1]
    assert row_after([], None) == {}
