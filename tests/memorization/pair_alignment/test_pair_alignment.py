"""CLIPMem (Wang et al. 2025, arXiv 2502.07830): by hand, against loops over views and samples, in two processes."""

import os
import zlib

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn.functional import normalize

from dejavu_lightning.core.random_stream import random_stream
from dejavu_lightning.memorization import (
    HeldOut,
    MemorizationSets,
    ModuleEncoder,
    PairAlignment,
    Records,
    SecondModel,
    compare,
    measure,
)
from tests.captions import Captioned, Embeddings, caption_data, tiny_clip
from tests.processes import run_processes


class Given(Captioned):
    """Captioned pictures that are embeddings, and so are their views."""

    def __init__(self, images, views, prefix):
        super().__init__([[0]] * len(images), torch.tensor(images), prefix=prefix)
        self.given = torch.tensor(views)

    def views(self, row, count):
        return self.given[row][:count]


def test_alignment_by_hand():
    attack = Given([[1.0, 0.0]], [[[1.0, 0.0], [0.0, 2.0]]], "a")
    neither = Given([[0.0, 1.0], [3.0, 0.0]], [[[1.0, 1.0]]] * 2, "n")
    texts = {"a0": torch.tensor([1.0, 0.0]), "n0": torch.tensor([0.0, 1.0]), "n1": torch.tensor([0.0, 4.0])}
    sets = MemorizationSets(attack=attack, public=attack, num_classes=1, neither_split=neither)
    found = PairAlignment(views=2, batch_size=6).prepare(Embeddings(texts), sets)
    # Views (1, 0) and (0, 1), caption (1, 0): s(I', T) is 1 and 0, mean 1/2.
    # Captions of neither split, both (0, 1): s(I', t) is 0 and 1, mean 1/2.
    # Pictures of neither split (0, 1) and (1, 0) against the caption: 0 and 1, mean 1/2.
    assert found.settings == {"test": "pair_alignment", "views": 2, "view_seed": 0, "contrast": 2}
    records = found(attack, "attack")
    assert records.column("alignment").tolist() == pytest.approx([1 / 2 - 1 / 2 - 1 / 2], abs=1e-3)


def sampled(module, data, views, seed):
    """The definition, one cosine at a time."""
    sets = data.memorization_sets()
    neither = sets.neither_split
    with torch.no_grad():
        t = normalize(module.encode_text([neither[row]["caption"] for row in range(len(neither))]), dim=1)
        i = normalize(module.encode_image(torch.stack([neither[row]["image"] for row in range(len(neither))])), dim=1)
        found = {}
        for row, identifier in enumerate(sets.attack.ids):
            with random_stream(seed, zlib.crc32(identifier.encode())):
                drawn = normalize(module.encode_image(sets.attack.views(row, views)), dim=1)
            own = normalize(module.encode_text([sets.attack[row]["caption"]]), dim=1)[0]
            each = [
                float(view @ own)
                - np.mean([float(view @ other) for other in t])
                - np.mean([float(other @ own) for other in i])
                for view in drawn
            ]
            found[identifier] = np.mean(each)
    return found


@pytest.mark.parametrize("augmentation", [None, {"scale": (0.5, 1.0)}])
def test_real_pairs_equal_a_plain_loop(tmp_path, augmentation):
    options = {} if augmentation is None else {"augmentation": augmentation}
    data, module = caption_data(**options), tiny_clip(tmp_path / "tiny.json").eval()
    sets = data.memorization_sets()
    found = PairAlignment(views=3, seed=2, batch_size=16).prepare(ModuleEncoder(module), sets)(sets.attack, "attack")
    expected = sampled(module, data, 3, 2)
    assert found.ids == sorted(expected)
    assert found.column("alignment").tolist() == pytest.approx([expected[i] for i in found.ids], abs=1e-5)


def records(alignment):
    table = pa.table({"id": [f"r{row}" for row in range(len(alignment))], "alignment": np.asarray(alignment, float)})
    return Records(table, {"test": "pair_alignment"})


def test_metrics_by_hand():
    found = compare(records([0.9, 0.4, 0.1]), records([0.3, 0.4, 0.3]))
    # m: .6, 0, -.2; mean .4 / 3, range .8
    assert found.metrics["clipmem"] == pytest.approx(0.4 / 3)
    assert found.metrics["clipmem_scaled"] == pytest.approx(0.4 / 3 / 0.8)
    assert found.table["memorization"].to_pylist() == pytest.approx([0.6, 0.0, -0.2])
    unpaired = compare(records([0.9, 0.5]), records([0.1, 0.2, 0.3]), paired=False)
    assert unpaired.metrics["clipmem"] == pytest.approx(0.7 - 0.2)


def test_references_controls_and_net(tmp_path):
    data = caption_data()
    sets = data.memorization_sets()
    target, other = (tiny_clip(tmp_path / "tiny.json", seed) for seed in (0, 1))
    second = SecondModel(ModuleEncoder(other), allow_unverified_split=True)
    found = measure(target, PairAlignment(views=2), second, sets)
    assert found.metrics["net_clipmem"] == pytest.approx(found.metrics["clipmem"] - found.metrics["control_clipmem"])
    held_out = measure(target, PairAlignment(views=2), HeldOut(), sets).metrics
    expected = held_out["target_alignment"] - held_out["reference_alignment"]
    assert held_out["clipmem"] == pytest.approx(expected)
    assert "control_clipmem" not in held_out
    rows = PairAlignment.display.gallery(found.comparison.table, found.target, sets, 3)
    assert all(row.note.startswith("+") and row.record.caption and not row.target for row in rows)


def test_the_contrast_sample_is_seeded_and_bounded(tmp_path):
    sets, module = caption_data().memorization_sets(), tiny_clip(tmp_path / "tiny.json")
    few = [PairAlignment(views=1, contrast=5, seed=seed).prepare(ModuleEncoder(module), sets) for seed in (0, 0, 1)]
    numbers = [attack(sets.attack, "attack").column("alignment").tolist() for attack in few]
    assert few[0].settings["contrast"] == 5
    assert numbers[0] == numbers[1] != numbers[2]


def measured(folder):
    torch.manual_seed(0)
    module = tiny_clip(folder / f"{os.getpid()}.json")  # each process its own: it is written and read
    sets, numbers = caption_data().memorization_sets(), []
    for batch_size in (16, 256):  # of captions; one process alone has those of 256
        found = measure(module, PairAlignment(views=3, batch_size=batch_size), HeldOut(), sets)
        numbers.append((found.metrics, found.target.table.to_pylist()))
    return numbers


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path):
    alone = measured(tmp_path)
    for found in run_processes(2, measured, tmp_path):
        assert found == alone


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="at least 1, got views=10, contrast=0, batch_size=250"):
        PairAlignment(contrast=0)
    sets = caption_data(held_out=0, validation=5).memorization_sets()
    with pytest.raises(ValueError, match="PairAlignment needs 'neither_split' among the memorization sets"):
        PairAlignment().prepare(ModuleEncoder(tiny_clip(tmp_path / "tiny.json")), sets)
    with pytest.raises(ValueError, match="encode='visual' is for tests of images alone"):
        PairAlignment().check(ModuleEncoder(tiny_clip(tmp_path / "tiny.json"), "visual"))
    plain = MemorizationSets(attack=Captioned([[0]]), public=Captioned([[0]]), num_classes=1)
    with pytest.raises(TypeError, match=r"the attack set must offer training views .* a Captioned draws none"):
        PairAlignment().prepare(Embeddings({}), plain)
