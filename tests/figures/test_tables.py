"""What is printed of a measurement."""

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
