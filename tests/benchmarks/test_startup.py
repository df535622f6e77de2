"""The arithmetic of the start-up benchmark."""

import sys

from tests.commands import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import startup


def test_ratios_are_taken_turn_by_turn():
    taken = {startup.BASE: [(2.0, 9.0), (4.0, 9.0)], "fit --help": [(1.0, 1.0), (6.0, 1.0)]}
    assert startup.ratios(taken) == {startup.BASE: [1.0, 1.0], "fit --help": [0.5, 1.5]}
