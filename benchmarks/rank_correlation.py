"""Do two tests agree about which records are memorized? For view_alignment.md and pair_alignment.md in docs/guides.

    python benchmarks/rank_correlation.py --test ViewAlignment RUN...

Each RUN is a folder of ``pair``, measured by its own test and by the other one, the second model as reference. Records
are ranked by what each test shows of them (``display.spread``). Prints, per run, the estimates, and over attacked and
over held-out records Spearman's rank correlation, and how often a record that the run's own test calls memorized stands
above one that it does not (0.5 by chance).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata, spearmanr

from dejavu_lightning import memorization
from dejavu_lightning.cli.evaluation.trained import MeasuredModel, load_model
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.encoders import EncodeSpec
from dejavu_lightning.memorization import Measurement, MemorizationTest, SecondModel, measure
from dejavu_lightning.runs.run_folder import PairFolder


class Pair(NamedTuple):
    """Target and reference of a run."""

    target: MeasuredModel
    reference: MeasuredModel

    def measured(self, test: MemorizationTest, encode: EncodeSpec, sets: MemorizationSets) -> Measurement:
        second = SecondModel(self.reference.encoder.using(encode), self.reference.trained_on)
        return measure(self.target.encoder.using(encode), test, second, sets, self.target.epoch)


def shown(found: Measurement, test: MemorizationTest) -> dict[str, float]:
    """What a test shows of each record, by id."""
    table = found.comparison.table
    assert table is not None
    assert test.display.spread is not None
    return dict(zip(table["id"].to_pylist(), table[test.display.spread.column].to_pylist(), strict=True))


def above(ranked: list[float], memorized: np.ndarray) -> float:
    """Share of pairs of a memorized and another record in which the memorized one is ranked higher."""
    several = memorized.sum()
    if several in (0, len(memorized)):
        return float("nan")
    ranks = rankdata(ranked)[memorized].sum() - several * (several + 1) / 2
    return float(ranks / (several * (len(memorized) - several)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="+", help="folders of pair")
    parser.add_argument("--test", required=True, help="a class of dejavu_lightning.memorization")
    parser.add_argument("--encode", help="for tests of images alone, such as encode_image of a CLIP")
    options = parser.parse_args()
    other: MemorizationTest = getattr(memorization, options.test)()
    for run in options.run:
        files = PairFolder(Path(run))
        pair = Pair(load_model(str(files.target.last)), load_model(str(files.reference.last)))
        own, sets = pair.target.settings.test, pair.target.sets()
        assert sets.neither_split is not None
        for part, given in (("attacked", sets), ("held out", replace(sets, attack=sets.neither_split))):
            one = pair.measured(own, pair.target.settings.encode, given)
            two = pair.measured(other, options.encode, given)
            if part == "attacked":
                for found, test in ((one, own), (two, other)):
                    for name in (f"{prefix}{test.headline}" for prefix in ("net_", "", "control_")):
                        value, low, high, *_ = found.estimates[name]
                        print(f"{run}  {name:16} {value:+.4f} [{low:+.4f}, {high:+.4f}]")
            first, second = shown(one, own), shown(two, other)
            table = one.comparison.table
            assert table is not None
            verdicts = dict(zip(table["id"].to_pylist(), own.display.memorized(table), strict=True))
            ids = [identifier for identifier in first if identifier in second]
            ranks = spearmanr([first[i] for i in ids], [second[i] for i in ids])
            higher = above([second[i] for i in ids], np.array([verdicts[i] for i in ids]))
            print(
                f"{run}  {part}: Spearman {ranks.statistic:+.3f} (p {ranks.pvalue:.1g}), above {higher:.3f}, {len(ids)}"
            )


if __name__ == "__main__":
    main()
