"""What is printed of a measurement."""

from pathlib import Path

from dejavu_lightning.figures.tables import print_sample_gaps

ROW = {"order": "gap", "k": 10, "records": 20, "measure": "recall", "gap": 0.25, "null_mean": 0.1, "null_low": 0.0}
ROW |= {"null_high": 0.2, "p_value": 0.004, "p_adjusted": 0.072}


def test_gaps_of_the_top_records_are_printed_with_both_p_values(capsys):
    others = [ROW | {"k": 1, "gap": 0.5}, ROW | {"measure": "precision", "gap": 0.5}]
    print_sample_gaps([ROW, ROW | {"order": "correct", "p_value": 0.0005, "p_adjusted": 0.009}, *others], 10)
    printed = capsys.readouterr().out
    assert "gap in recall" in printed
    first, second = (line for line in printed.splitlines() if "+0.250" in line)
    assert [cell.strip() for cell in first.split("│")[-3:-1]] == ["0.004", "0.072"]
    assert second.split("│")[-3].strip() == "< .001"
    assert "+0.500" not in printed
    assert "for all 4 rows of k, L and measure together" in " ".join(printed.split())


def test_of_gaps_that_a_file_has_one_of_each_order_is_printed(capsys):
    rows = [ROW | {"order": order, "records": size} for order in ("gap", "correct") for size in (20, 100)]
    print_sample_gaps(rows, 10, Path("out/metrics.json"))
    printed = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("│")[1:3]] for line in printed.splitlines() if "0.072" in line]
    assert cells == [["gap", "100"], ["correct", "100"]]
    print_sample_gaps([], 10, Path("out/metrics.json"))  # of fewer records than the least that are looked at
    assert "which are in out/metrics.json" in " ".join(printed.split())
