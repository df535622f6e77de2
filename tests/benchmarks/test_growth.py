"""Growth: the slope is that of a power law, and the script runs at its smallest."""

import sys

import pytest

from tests.commands import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import growth


def test_slope_of_a_power_law():
    sizes = (10, 20, 40, 80)
    assert growth.slope(sizes, [0.3 * size**1.7 for size in sizes]) == pytest.approx(1.7)
    assert growth.slope(sizes, [0.5] * 4) == pytest.approx(0.0)


def test_every_size_of_both_tests_has_a_line(capsys):
    growth.main(["--tiny", "--turns", "1"])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [
        [test, size]
        for test in ("label_inference", "object_retrieval")
        for size in ("records", "public", "width", "classes")
    ]
