"""How often does the 95% interval of the score cover 0 when nothing is memorized?

python benchmarks/null_coverage.py

Records of two models of equal accuracy whose right answers are correlated, as those of real models are:
both infer what the background gives away. No model has seen any record. Expect about 0.95 at every size.
"""

import numpy as np
import pyarrow as pa

from dejavu_lightning.memorization import Records, compare

REPLICATES = 500


def table(correct: np.ndarray, confidence: np.ndarray) -> Records:
    """Records with the given outcomes."""
    count = len(correct)
    columns = {
        "id": [f"{i:06d}" for i in range(count)],
        "label": np.zeros(count, int),
        "predicted": np.zeros(count, int),
    }
    columns |= {"confidence": confidence, "correct": correct, "correct_top5": correct, "neighbors": [[""]] * count}
    return Records(pa.table(columns))


def coverage(records: int, paired: bool, rng: np.random.Generator) -> dict[str, float]:
    """Share of replicates whose interval holds 0, of the score and the score at 20%."""
    hits = {"score": 0, "score@20": 0}
    for _ in range(REPLICATES):
        models = []
        easy = rng.beta(0.4, 2.0, records)  # how far the background gives the label away
        for _ in range(2):
            own = easy if paired else rng.beta(0.4, 2.0, records)
            models.append(table(rng.random(records) < own, own + 0.1 * rng.normal(size=records)))
        metrics = compare(*models, paired=paired, seed=int(rng.integers(1 << 31))).metrics
        for name in hits:
            hits[name] += metrics[f"{name}_low"] <= 0 <= metrics[f"{name}_high"]
    return {name: count / REPLICATES for name, count in hits.items()}


if __name__ == "__main__":
    generator = np.random.default_rng(0)
    for records in (100, 300, 1000):
        for paired in (True, False):
            kind = "paired" if paired else "two-sample"
            print(f"records {records:5d}  {kind:10}  {coverage(records, paired, generator)}")
