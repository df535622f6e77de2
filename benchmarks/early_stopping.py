"""What MemorizationEarlyStopping does to runs with flat curves: how often it stops, and whether its choice flatters.

Each of 400 records and 400 validation samples has its answer redrawn with some probability from one measurement to
the next; nothing is learned and nothing memorized. About half of them decide. ``python benchmarks/early_stopping.py``
prints the share of runs that are stopped, by how many measurements they have and by ``patience``; then the mean error
of M and U at the best epoch, measured on the samples that chose it and on those that judge. A minute on one core.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from dejavu_lightning.callbacks import MemorizationEarlyStopping

SAMPLES, RUNS, MEASUREMENTS = 400, 400, (5, 10, 20)
ACCURACY = {"memorization": 0.4, "utility": 0.6}


class Run(NamedTuple):
    """One run: ``waited`` after each measurement, and the errors of M and U at the best epoch by who measures."""

    waited: list[float]
    decided: list[float]
    judged: list[float]


@cache
def deciding(name, samples):
    return MemorizationEarlyStopping().part.decides(f"{name}/{number}" for number in range(samples))


def run(rng, redrawn, measurements, samples=SAMPLES):
    """Follow a run to its end, whether it is stopped or not."""
    stopping = MemorizationEarlyStopping()
    answers = {name: rng.random(samples) < share for name, share in ACCURACY.items()}
    found = []
    for epoch in range(measurements):
        for name, share in ACCURACY.items():
            renewed = rng.random(samples) < redrawn
            answers[name] = np.where(renewed, rng.random(samples) < share, answers[name])
        found.append(dict(answers))
        stopping._decide(epoch, *([answers[name][deciding(name, samples)].astype(float)] for name in ACCURACY))
    best = found[int(stopping.history[-1]["best_epoch"])]
    errors = [
        [best[name][deciding(name, samples) == decides].mean() - share for name, share in ACCURACY.items()]
        for decides in (True, False)
    ]
    return Run([row["waited"] for row in stopping.history], *errors)


def main():
    rng = np.random.default_rng(0)
    flattered = []
    print("redrawn  measurements  patience 1     2     3     4")
    for redrawn in (1.0, 0.2):
        for measurements in MEASUREMENTS:
            runs = [run(rng, redrawn, measurements) for _ in range(RUNS)]
            stopped = [np.mean([max(each.waited) >= patience for each in runs]) for patience in (1, 2, 3, 4)]
            print(f"{redrawn:7.0%}  {measurements:12d}  " + "".join(f"{share:10.0%}" for share in stopped), flush=True)
            errors = np.array([(each.decided, each.judged) for each in runs])  # R, decided or judged, M or U
            flattered.append((redrawn, measurements, errors))
    print("\nredrawn  measurements  error of M: decided            judged   error of U: decided            judged")
    for redrawn, measurements, errors in flattered:
        means, spread = errors.mean(0), 1.96 * errors.std(0, ddof=1) / RUNS**0.5
        cells = [f"{means[who, what]:+.4f} +-{spread[who, what]:.4f}" for what in (0, 1) for who in (0, 1)]
        print(f"{redrawn:7.0%}  {measurements:12d}  " + "  ".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
