"""The same as ``calibration.py`` of trained encoders, which differ by more than records.

    OMP_NUM_THREADS=1 python benchmarks/calibration_encoders.py

Pairs of linear encoders, with label inference as the package does it, on records that neither saw; on such of which
the target is made to remember 10%; and on the records that target and reference were trained on. Ten minutes on one
core; ``--pairs 10`` is a quick look.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import torch
from calibration import FRACTIONS, SIZES, Held, LeanRecords, comparison, holds, print_shares, print_uniformity
from torch import nn

from dejavu_lightning.memorization import Comparison
from dejavu_lightning.memorization.compare import net, symmetric_average
from dejavu_lightning.memorization.label_inference.score import score
from dejavu_lightning.metrics.functional import label_votes, rank_labels, vote_confidence

CLASSES, WIDTH, NEIGHBORS, PUBLIC = 10, 48, 20, 1000
OWN = 150  # points that an encoder of the null learns from
CENTRES = 0.45 * torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(0))


class Points(NamedTuple):
    """Labelled pictures, which an encoder is trained on, and their backgrounds: 0.6 of the class, the same noise."""

    labels: torch.Tensor
    pictures: torch.Tensor
    backgrounds: torch.Tensor

    @classmethod
    def draw(cls, count: int, generator: torch.Generator) -> Points:
        labels = torch.randint(0, CLASSES, (count,), generator=generator)
        noise = torch.randn(count, WIDTH, generator=generator)
        return cls(labels, CENTRES[labels] + noise, 0.6 * CENTRES[labels] + noise)


def trained_encoder(seen: Points, generator: torch.Generator, steps: int = 60) -> nn.Module:
    encoder, head = nn.Linear(WIDTH, 6), nn.Linear(6, CLASSES)
    for each in (*encoder.parameters(), *head.parameters()):
        nn.init.normal_(each, std=0.14, generator=generator)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(encoder(seen.pictures)), seen.labels).backward()
        optimizer.step()
    return encoder


@torch.no_grad()
def answers(encoder: nn.Module, asked: Points, public: Points) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether each record's label is inferred, and how confidently, as LabelInference does."""
    bank, queries = (nn.functional.normalize(encoder(each)) for each in (public.pictures, asked.backgrounds))
    neighbors = public.labels[(queries @ bank.T).topk(NEIGHBORS).indices]
    votes = label_votes(neighbors, CLASSES)
    return rank_labels(votes, neighbors, 1)[:, 0] == asked.labels, vote_confidence(votes)


def label_gaps(target: tuple[torch.Tensor, torch.Tensor], reference: tuple[torch.Tensor, torch.Tensor]) -> Comparison:
    tables = LeanRecords(*target), LeanRecords(*reference)
    return comparison({name: score(*tables, fraction, True)[0] for name, fraction in FRACTIONS.items()})


def unseen_records(pairs: int) -> None:
    """Pairs of 40 encoders, each pair with new records, of which smaller sets are parts; and 10% of them planted.

    The symmetric average of records that neither saw is half the net estimate, exactly, and so are its ends.
    """
    generator = torch.Generator().manual_seed(1)
    public = Points.draw(PUBLIC, generator)
    encoders = [trained_encoder(Points.draw(OWN, generator), generator) for _ in range(40)]
    accuracy = [float(answers(each, Points.draw(30_000, generator), public)[0].double().mean()) for each in encoders]
    held: Held = defaultdict(list)
    p_values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(pairs):
        one, other = torch.randperm(len(encoders), generator=generator)[:2].tolist()
        halves = [Points.draw(max(SIZES), generator) for _ in range(2)]
        found = [[answers(encoders[each], half, public) for each in (one, other)] for half in halves]
        planted = torch.rand(max(SIZES), generator=generator) < 0.1
        remembering = found[0][0][0] | planted, torch.where(planted, 0.0, found[0][0][1])
        for records in SIZES:
            for start in range(0, min(5 * records, max(SIZES)), records):
                rows = slice(start, start + records)
                (a, b), (c, d), (e,) = (
                    [(correct[rows], confidence[rows]) for correct, confidence in group]
                    for group in (*found, [remembering])
                )
                attacked, unseen = label_gaps(a, b), label_gaps(c, d)
                for name, estimate in (attacked.estimates | net(attacked, unseen)).items():
                    held[name, records].append(holds(estimate, 0.0))
                    if estimate.p_value is not None:
                        p_values[name, records].append(estimate.p_value)
                grown = net(label_gaps(e, b), unseen)["net_score"]
                held["net_score, 10% planted", records].append(holds(grown, 0.1 * (1 - accuracy[one])))
    print_shares("estimate", held)
    print_uniformity(p_values)


def attacked_records(pairs: int) -> None:
    """Target and reference learn from as many records as are attacked, each from its own, for 200 steps.

    The truth is the mean over all trainings of how many more of its own records than of others an encoder gets right.
    """
    generator = torch.Generator().manual_seed(2)
    public = Points.draw(PUBLIC, generator)
    held: Held = defaultdict(list)
    for records in SIZES[:3]:
        found, memory = [], []
        for _ in range(pairs):
            sets = [Points.draw(records, generator) for _ in range(3)]
            encoders = [trained_encoder(own, generator, steps=200) for own in sets[:2]]
            found.append([[answers(each, asked, public) for each in encoders] for asked in sets])
            fresh = Points.draw(5000, generator)
            for encoder, own in zip(encoders, found[-1], strict=False):
                right = own[encoders.index(encoder)][0].double().mean()
                memory.append(float(right - answers(encoder, fresh, public)[0].double().mean()))
        truth, error = float(np.mean(memory)), float(np.std(memory) / len(memory) ** 0.5)
        for (a, b), (c, d), (e, f) in found:
            attacked = label_gaps(a, b)
            held["net_score", records].append(holds(net(attacked, label_gaps(e, f))["net_score"], truth))
            both = symmetric_average(attacked, label_gaps(d, c))["symmetric_score"]
            held["symmetric_score", records].append(holds(both, truth))
        print(f"truth of {records}: {truth:.3f} +- {error:.3f}", flush=True)
    print_shares("estimate", held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("\n**that saw neither half**\n")
    unseen_records(options.pairs)
    print("\n**trained on the attacked records**\n")
    attacked_records(options.pairs)


if __name__ == "__main__":
    main()
