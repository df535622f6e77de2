"""What is printed of a measurement."""

from pathlib import Path

from dejavu_lightning.figures.tables import print_sample_gaps


def test_gaps_of_the_top_records_are_printed_with_both_p_values(capsys):
    row = {"order": "gap", "records": 20, "measure": "recall", "gap": 0.25, "null_mean": 0.1, "null_low": 0.0}
    row |= {"null_high": 0.2, "p_value": 0.004, "p_adjusted": 0.072}
    print_sample_gaps([row, row | {"order": "correct", "p_value": 0.0005, "p_adjusted": 0.009}])
    printed = capsys.readouterr().out
    assert "adjusted p" in printed
    first, second = (line for line in printed.splitlines() if "recall" in line)
    assert [cell.strip() for cell in first.split("│")[-3:-1]] == ["0.004", "0.072"]
    assert second.split("│")[-3].strip() == "< .001"
    assert "Holm's, for all 2 rows" in " ".join(printed.split())


def test_of_gaps_that_a_file_has_one_of_each_order_is_printed(capsys):
    row = {"gap": 0.25, "null_mean": 0.1, "null_low": 0.0, "null_high": 0.2, "p_value": 0.004, "p_adjusted": 0.072}
    rows = [
        {**row, "order": order, "records": size, "measure": measure}
        for order in ("gap", "correct")
        for size in (20, 100)
        for measure in ("precision", "recall")
    ]
    print_sample_gaps(rows, Path("out/metrics.json"))
    printed = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("│")[1:4]] for line in printed.splitlines() if "0.072" in line]
    assert cells == [["gap", "100", "recall"], ["correct", "100", "recall"]]
    print_sample_gaps([], Path("out/metrics.json"))  # of fewer records than the least that are looked at
    assert "for all 8 rows together, which are in out/metrics.json" in " ".join(printed.split())
