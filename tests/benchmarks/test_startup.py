"""Start-up costs little beyond importing Lightning, and help of a command does not import it."""

import statistics
import sys

import pytest

from tests.commands import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import startup


def test_ratios_are_taken_turn_by_turn():
    taken = {startup.BASE: [(2.0, 9.0), (4.0, 9.0)], "fit --help": [(1.0, 1.0), (6.0, 1.0)]}
    assert startup.ratios(taken) == {startup.BASE: [1.0, 1.0], "fit --help": [0.5, 1.5]}


@pytest.mark.slow
def test_help_within_a_third_of_the_import():
    taken = startup.measured(["--help", "fit --help", "fit --help.all", "memorization --help.all"], turns=2)
    ratio = {name: statistics.median(each) for name, each in startup.ratios(taken).items()}
    assert max(ratio["--help"], ratio["fit --help"]) < 0.3
    assert max(ratio["fit --help.all"], ratio["memorization --help.all"]) < 1.3
