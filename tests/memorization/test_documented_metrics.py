"""docs/reference/metrics.md names every estimate."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dejavu_lightning.core.estimate import flatten
from dejavu_lightning.memorization import Records, compare, symmetric_average
from dejavu_lightning.memorization.compare import control, net

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
NUMBERS = ("precision", "recall", "f_score", "distance", "alignment", "confidence", "min_distance")
GAPS = "score|top5_score|ppg|prg|aucg|unpaired_ppg|unpaired_prg|sslmem|clipmem"
WILD = {"<layer>": r"[\w.]+", "k=K": r"k=\d+", "<gap>": rf"(?:{GAPS})(?:[@/].+)?", "@K": r"@\d+", "topN": r"top\d+"}


def documented(name):
    """As in a row of a table, or as ``<name>@K`` or ``<name>/<layer>`` of a documented name and a documented prefix."""
    name = re.sub(r"_(low|high)$", "", name)
    prefix, gap = re.fullmatch(r"((?:net|control|unpaired)_)?(.+)", name).groups()
    plain = re.split(r"(?:@\d+(?:/top\d+)?|/.+)$", name)[0]
    return listed(name) or (prefix is not None and listed(gap) and listed(plain))


def listed(name):
    first_cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    for shown in re.findall(r"`([^`]+)`", " ".join(first_cells)):
        pattern = re.escape(shown)
        for part, wild in WILD.items():
            pattern = pattern.replace(re.escape(part), wild)
        if re.fullmatch(pattern, name):
            return True
    return False


def records(test, seed):
    rng = np.random.default_rng(seed)
    columns = {name: rng.random(20) for name in NUMBERS} | {"distance/backbone.4": rng.random(20)}
    columns |= {f"{name}@1{top}": rng.random(20) for name in NUMBERS[:3] for top in ("", "/top10")}
    columns |= {name: rng.integers(0, 2, 20) for name in ("label", "predicted", "correct", "correct_top5")}
    columns |= {name: [["p"]] * 20 for name in ("objects", "neighbors")}
    if test == "label_inference":
        columns |= {name: columns[name].astype(bool) for name in ("correct", "correct_top5")}
        for place in ("k=50", "projector.1"):
            columns |= {f"{name}/{place}": columns[name] for name in ("confidence", "correct", "correct_top5")}
    return Records(pa.table({"id": [f"r{row:02d}" for row in range(20)], **columns}), {"test": test})


@pytest.mark.parametrize("test", ["label_inference", "object_retrieval", "view_alignment", "pair_alignment"])
def test_every_estimate_is_documented(test):
    found, other = (compare(records(test, seed), records(test, seed + 2)) for seed in (0, 1))
    alone = compare(records(test, 0), records(test, 1), paired=False)
    estimates = found.estimates | control(other) | net(found, other) | symmetric_average(found, other) | alone.estimates
    assert len(estimates) >= 10
    assert [name for name in flatten(estimates) if not documented(name)] == []


def test_what_is_not_documented_is_noticed():
    for name in ("control", "net_accuracy", "score@30", "net_recall@1", "control_score_p_value"):
        assert not documented(name), name
