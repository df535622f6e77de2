"""How often MemorizationEarlyStopping stops a run whose curves are flat.

Each of 200 records and 200 validation samples has its answer redrawn with some probability from one measurement to
the next; nothing is learned and nothing memorized. ``python benchmarks/early_stopping.py`` prints the share of runs
that are stopped, by how many measurements they have and by ``patience``. Half a minute on one core.
"""

import numpy as np
from dejavu_lightning.callbacks import MemorizationEarlyStopping

SAMPLES, RUNS, MEASUREMENTS = 200, 200, (5, 10, 20)
ACCURACY = {"memorization": 0.4, "utility": 0.6}


def decisions(rng, redrawn, measurements):
    stopping = MemorizationEarlyStopping()
    answers = {name: rng.random(SAMPLES) < share for name, share in ACCURACY.items()}
    for epoch in range(measurements):
        for name, share in ACCURACY.items():
            renewed = rng.random(SAMPLES) < redrawn
            answers[name] = np.where(renewed, rng.random(SAMPLES) < share, answers[name])
        means = {name: float(answer.mean()) for name, answer in answers.items()}
        added = [answers["utility"].astype(float), -answers["memorization"].astype(float)]
        stopping._decide(epoch, *means.values(), added)
    return [row["waited"] for row in stopping.history]


def main():
    rng = np.random.default_rng(0)
    print("redrawn  measurements  patience 1     2     3     4")
    for redrawn in (1.0, 0.2):
        waited = [decisions(rng, redrawn, max(MEASUREMENTS)) for _ in range(RUNS)]
        for measurements in MEASUREMENTS:
            stopped = [np.mean([max(run[:measurements]) >= patience for run in waited]) for patience in (1, 2, 3, 4)]
            print(f"{redrawn:7.0%}  {measurements:12d}  " + "".join(f"{share:10.0%}" for share in stopped))


if __name__ == "__main__":
    main()
