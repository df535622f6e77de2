"""Do 95% intervals hold the truth in 95% of samples, and are p-values uniform? For docs/reference/calibration.md.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py shares paired simulated

Prints a table a part, each cell the share of samples whose interval holds the truth, for 50 to 10,000 records:

shares     of a share and of the difference of two paired shares: exact, summed over all samples of 50 and 250 records,
paired     the lowest, the mean and the highest over many true shares; of more records, simulated
simulated  answers of two models, equally able ones and a target that memorized some records: every kind of estimate

Ten minutes on one core; ``--repeats 100`` is a quick look. ``calibration_encoders.py`` is of trained encoders.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import binom, kstest, multinomial

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import bounded_mean, difference, paired_gap, share, unbounded_mean
from dejavu_lightning.memorization import Comparison
from dejavu_lightning.memorization.compare import net, symmetric_average
from dejavu_lightning.memorization.label_inference.score import score
from dejavu_lightning.memorization.object_retrieval.metrics import Gap, _unpaired
from dejavu_lightning.metrics.functional import kept_weights

SIZES = (50, 250, 1000, 10_000)
FRACTIONS = {"score": 1.0, "score@20": 0.2, "score@5": 0.05}
Floats = np.ndarray
Held = dict[tuple[str, int], list[bool]]  # by estimate and number of records


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low - 1e-12 <= truth <= estimate.high + 1e-12


# --- Shares, exactly --------------------------------------------------------------------------------------------------


def share_coverage(records: int, truth: float) -> float:
    """Exact, over all numbers of records that count and are at all likely."""
    low, high = (int(end) for end in binom.ppf((1e-9, 1 - 1e-9), records, truth))
    parts = np.arange(low, high + 1)
    return float(binom.pmf(parts, records, truth) @ [holds(share(int(part), records), truth) for part in parts])


def shares() -> None:
    print("| records | .01 | .02 | .05 | .1 | .2 | .5 | lowest, mean, highest of at least 5 either way |")
    for records in SIZES:
        chosen = [share_coverage(records, truth) for truth in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)]
        every = [
            share_coverage(records, truth) for truth in np.linspace(5 / records, 0.5, 60 if records > 250 else 400)
        ]
        print(f"| {records} | {' | '.join(f'{each:.3f}' for each in chosen)} | {spread_of(every)} |")
    near = [share_coverage(50, truth) for truth in np.linspace(0.005, 0.02, 100)]
    print(f"\nof 50 records, p from .005 to .02: {spread_of(near)}\n")


def spread_of(values: list[float]) -> str:
    return f"{min(values):.3f}, {np.mean(values):.3f}, {max(values):.3f}"


def paired() -> None:
    """Points (share only the target gets right, share only the reference does) at random, and on the edges."""
    rng = np.random.default_rng(0)
    print("| records | (.05, .01) | (.1, .1) | (.3, .1) | (.98, 0) | lowest, mean, highest of at least 5 |")
    for records, points in zip(SIZES, (300, 60, 40, 12), strict=True):
        changed = rng.uniform(5 / records, 1 - 5 / records, points) * rng.choice((1, 0.3), points)
        grown = changed * rng.choice((0.5, 0.75, 0.9, 1), points)
        many = [(up, all_ - up) for up, all_ in zip(grown, changed, strict=True) if all_ * records >= 5]
        interval = cached_gap(records)
        chosen, every = (
            [paired_coverage(records, point, interval, rng) for point in group]
            for group in (((0.05, 0.01), (0.1, 0.1), (0.3, 0.1), (0.98, 0.0)), many)
        )
        print(f"| {records} | {' | '.join(f'{each:.3f}' for each in chosen)} | {spread_of(every)} |", flush=True)
    print()


def cached_gap(records: int) -> Callable[[int, int], Estimate]:
    found: dict[tuple[int, int], Estimate] = {}

    def interval(up: int, down: int) -> Estimate:
        if (up, down) not in found:
            found[up, down] = paired_gap(np.repeat((1.0, -1.0, 0.0), (up, down, records - up - down)))
        return found[up, down]

    return interval


def paired_coverage(
    records: int, point: tuple[float, float], interval: Callable[[int, int], Estimate], rng: np.random.Generator
) -> float:
    """Exact for few records, else of 4000 samples."""
    cells = (*point, max(0.0, 1 - sum(point)))
    truth = point[0] - point[1]
    if records > 250:
        drawn = rng.multinomial(records, cells, 4000)
        return float(np.mean([holds(interval(int(up), int(down)), truth) for up, down, _ in drawn]))
    up, down = (grid.ravel() for grid in np.mgrid[: records + 1, : records + 1])
    up, down = up[up + down <= records], down[up + down <= records]
    likely = multinomial.pmf(np.stack([up, down, records - up - down], 1), records, cells)
    some = likely > 1e-8
    return float(
        sum(
            p * holds(interval(int(b), int(c)), truth)
            for b, c, p in zip(up[some], down[some], likely[some], strict=True)
        )
    )


# --- Answers of two models, simulated ---------------------------------------------------------------------------------


class Answers(NamedTuple):
    """What a model answered: whether right, how confident, and, of the other tests, recall and alignment."""

    correct: Floats
    confidence: Floats
    recall: Floats
    alignment: Floats


class World(NamedTuple):
    """Two models; what is hard for one is hard for the other, ``alike`` says how much.

    ``ability`` of target and reference, ``levels`` steps of confidence per unit (fewer: more ties), ``planted`` the
    share of attacked records that the target memorized.
    """

    ability: tuple[float, float] = (-0.3, -0.3)
    alike: float = 0.6
    levels: float = 2.0
    planted: float = 0.0

    def draw(self, rng: np.random.Generator, records: int, attacked: bool = True) -> tuple[Answers, Answers]:
        hard = rng.normal(size=records)
        remembered = rng.random(records) < (self.planted if attacked else 0.0)
        objects = rng.integers(1, 6, records)
        found = []
        for ability, memory in zip(self.ability, (remembered, False), strict=True):
            margin = ability + self.alike * hard + np.sqrt(1 - self.alike**2) * rng.normal(size=records)
            surely = 0.7 * margin + 0.7 * rng.normal(size=records) + 1.5 * memory
            recall = np.round(objects / (1 + np.exp(-1.5 * np.where(memory, 3.0, margin)))) / objects
            alignment = np.exp(0.5 * margin) + 2.0 * memory
            confidence = np.clip(np.round(surely * self.levels) / self.levels, -2, 2)
            found.append(Answers((margin > 0) | memory, confidence, recall, alignment))
        return found[0], found[1]


class LeanRecords:
    """Of Records what a score asks for; a table that is sorted by id would take most of the time."""

    def __init__(self, correct: torch.Tensor, confidence: torch.Tensor) -> None:
        self.columns = {"correct": correct, "confidence": confidence}
        self.ids = range(len(correct))

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> torch.Tensor:
        return self.columns[name]


def gaps_of(target: Answers, reference: Answers, paired: bool = True) -> dict[str, Estimate]:
    tables = [LeanRecords(*map(torch.from_numpy, each[:2])) for each in (target, reference)]
    found = {name: score(*tables, fraction, paired)[0] for name, fraction in FRACTIONS.items()}
    if not paired:
        found["unpaired_prg"] = _unpaired(Gap("prg", target.recall, reference.recall, by_sign=True), *tables)[0]
        found["aucg"] = difference(bounded_mean(target.recall), bounded_mean(reference.recall))
        found["clipmem"] = difference(unbounded_mean(target.alignment), unbounded_mean(reference.alignment))
        return {f"{name}, HeldOut": estimate for name, estimate in found.items()}
    found["prg"] = paired_gap(np.sign(target.recall - reference.recall))
    found["aucg"] = paired_gap(target.recall - reference.recall)
    found["clipmem"] = unbounded_mean(target.alignment - reference.alignment)
    return found


def comparison(gaps: dict[str, Estimate]) -> Comparison:
    return Comparison(gaps, None, dict.fromkeys(gaps, ()), {})


def estimates_of(world: World, rng: np.random.Generator, records: int) -> dict[str, Estimate]:
    """One study: attacked records, held-out ones, and those that the reference was trained on."""
    attacked, held_out = world.draw(rng, records), world.draw(rng, records, attacked=False)
    exchanged = world._replace(ability=world.ability[::-1]).draw(rng, records)
    gaps = comparison(gaps_of(*attacked))
    found = gaps.estimates | gaps_of(attacked[0], held_out[0], paired=False)
    found |= net(gaps, comparison(gaps_of(*held_out))) | symmetric_average(gaps, comparison(gaps_of(*exchanged)))
    return found | {"target_recall": bounded_mean(attacked[0].recall)}


def truths_of(world: World) -> dict[str, float]:
    """From 2 million records, 500,000 at a time."""
    rng = np.random.default_rng(99)
    sums: dict[str, list[float]] = defaultdict(list)
    for _ in range(4):
        sides = world.draw(rng, 500_000), world.draw(rng, 500_000, attacked=False)
        exchanged = world._replace(ability=world.ability[::-1]).draw(rng, 500_000)
        values = [exact_gaps(*pair) for pair in (*sides, exchanged)]
        for name, value in values[0].items():
            sums[name].append(value)
            sums[f"net_{name}"].append(value - values[1][name])
            sums[f"symmetric_{name}"].append((value + values[2][name]) / 2)
        for name, value in exact_gaps(sides[0][0], sides[1][0]).items():
            sums[f"{name}, HeldOut"].append(value)
        own, other = sides[0][0].recall, np.sort(sides[1][0].recall)
        below, above = np.searchsorted(other, own, "left"), len(other) - np.searchsorted(other, own, "right")
        sums["unpaired_prg, HeldOut"].append(float((below - above).mean()) / len(other))
        sums["target_recall"].append(float(own.mean()))
    return {name: float(np.mean(values)) for name, values in sums.items()}


def exact_gaps(target: Answers, reference: Answers) -> dict[str, float]:
    found = {"prg": float(np.sign(target.recall - reference.recall).mean())}
    for name, column in (("aucg", "recall"), ("clipmem", "alignment")):
        found[name] = float(getattr(target, column).mean() - getattr(reference, column).mean())
    for name, fraction in FRACTIONS.items():
        target_part, reference_part = (
            np.average(each.correct, weights=kept_weights(torch.from_numpy(each.confidence), fraction).numpy())
            for each in (target, reference)
        )
        found[name] = float(target_part - reference_part)
    return found


WORLDS = {
    "nothing memorized, models nearly alike": World(alike=0.98, levels=0.7),
    "nothing memorized, target abler": World(ability=(0.0, -0.3)),
    "10% memorized": World(planted=0.1),
    "40% memorized, few ties": World(planted=0.4, levels=50.0),
}
PLANTED = (0.01, 0.02, 0.05, 0.1, 0.2)


def simulated(repeats: int) -> None:
    for name, world in WORLDS.items():
        truths, place = truths_of(world), list(WORLDS).index(name)
        held: Held = defaultdict(list)
        nulls: dict[tuple[str, int], list[float]] = defaultdict(list)
        for records in SIZES:
            rng = np.random.default_rng((place, records))
            for _ in range(repeats if records < max(SIZES) else repeats // 2):
                for key, found in estimates_of(world, rng, records).items():
                    held[f"{key} ({truths[key]:+.3f})", records].append(holds(found, truths[key]))
                    if found.p_value is not None:
                        nulls[key, records].append(found.p_value)
        print(f"\n**{name}**\n")
        print_shares("estimate (truth)", held)
        if not world.planted:
            print_uniformity(nulls)
    print_power(repeats)


def print_power(repeats: int) -> None:
    power: Held = defaultdict(list)
    for planted in PLANTED:
        for records in SIZES:
            rng = np.random.default_rng(records)
            for _ in range(repeats // 8):
                found = estimates_of(World(planted=planted), rng, records)
                for key in ("net_score", "symmetric_score", "net_prg"):
                    power[f"{planted:.0%}, {key}", records].append(found[key].p_value < 0.05)
    print("\n**p below .05 where a share is planted**\n")
    print_shares("planted", power)


def print_shares(title: str, found: Held) -> None:
    sizes = sorted({records for _, records in found})
    print(f"| {title} | {' | '.join(f'{size:,}' for size in sizes)} |\n|---|{'---|' * len(sizes)}")
    for name in dict.fromkeys(name for name, _ in found):
        print(f"| {name} | {' | '.join(f'{np.mean(found[name, records]):.3f}' for records in sizes)} |", flush=True)


def print_uniformity(nulls: dict[tuple[str, int], list[float]]) -> None:
    """Of each estimate the share of p-values below .05 and the distance of Kolmogorov and Smirnov, with its p."""
    sizes = sorted({records for _, records in nulls})
    print("\n| p-values: below .05; distance (KS) | " + " | ".join(f"{size:,}" for size in sizes) + " |")
    for key in dict.fromkeys(key for key, _ in nulls):
        cells = []
        for records in sizes:
            values = np.array(nulls[key, records])
            test = kstest(values, "uniform")
            cells.append(f"{np.mean(values < 0.05):.3f}; {test.statistic:.3f} ({test.pvalue:.2f})")
        print(f"| {key} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="+", choices=("shares", "paired", "simulated"))
    parser.add_argument("--repeats", type=int, default=1000, help="samples of a cell, half as many of 10,000 records")
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = {"shares": shares, "paired": paired, "simulated": lambda: simulated(options.repeats)}
    for part in options.part:
        parts[part]()


if __name__ == "__main__":
    main()
