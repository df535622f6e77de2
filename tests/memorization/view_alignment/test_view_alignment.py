"""SSLMem (Wang et al. 2024, arXiv 2401.12233): by hand, against a plain loop, in two processes."""

import zlib

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from dejavu_lightning.core.random_stream import random_stream
from dejavu_lightning.core.samples import subsample
from dejavu_lightning.memorization import (
    HeldOut,
    MemorizationSets,
    ModuleEncoder,
    Records,
    SecondModel,
    ViewAlignment,
    compare,
    measure,
)
from tests.models import HostModule, Pairs, tiny_data, tiny_vicreg
from tests.processes import run_processes


class Given:
    """Samples whose picture and views are given vectors."""

    def __init__(self, pictures, views, ids=None):
        self.pictures, self.given = torch.tensor(pictures), torch.tensor(views)
        self.ids = ids or [f"r{row}" for row in range(len(pictures))]

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, row):
        return {"image": self.pictures[row], "label": row, "id": self.ids[row]}

    def views(self, row, count):
        return self.given[row][:count]


def sets(**parts):
    given = Given([[1.0, 0.0], [0.0, 3.0]], [[[2.0, 0.0], [0.0, 5.0]], [[0.0, 1.0], [0.0, -1.0]]])
    return MemorizationSets(**{"attack": given, "public": given, "num_classes": 2, **parts})


def test_distances_by_hand():
    attack = ViewAlignment(views=2).prepare(lambda images: images, sets())
    records = attack(sets().attack, "attack")
    # Directions: picture (1, 0), views (1, 0) and (0, 1): distances 0 and sqrt 2. Then (0, 1) and (0, -1): 0 and 2.
    assert records.column("distance").tolist() == pytest.approx([2**0.5 / 2, 1.0])
    assert records.table["label"].to_pylist() == [0, 1]
    assert records.settings == {"test": "view_alignment", "views": 2, "view_seed": 0, "layers": []}


def records(distance, **layers):
    table = pa.table({"id": [f"r{row}" for row in range(len(distance))], "label": [0] * len(distance)})
    for name, values in {"distance": distance, **layers}.items():
        table = table.append_column(name, pa.array(np.asarray(values, dtype=float)))
    return Records(table, {"test": "view_alignment"})


def test_metrics_by_hand():
    found = compare(records([0.2, 0.4, 0.9]), records([0.5, 0.4, 0.7]))
    # m: .3, 0, -.2; their mean .1 / 3, their range .5
    assert found.metrics["sslmem"] == pytest.approx(0.1 / 3)
    assert found.metrics["sslmem_scaled"] == pytest.approx(0.1 / 3 / 0.5)
    assert found.metrics["target_distance"] == pytest.approx(0.5)
    assert found.metrics["reference_distance"] == pytest.approx(1.6 / 3)
    assert found.table["memorization"].to_pylist() == pytest.approx([0.3, 0.0, -0.2])
    display = ViewAlignment.display
    assert display.memorized(found.table).tolist() == [True, False, False]
    assert [row["id"] for row in display.ranking(found.table, ())] == ["r0", "r1", "r2"]
    assert display.most_memorized(found.table)["id"].to_pylist() == ["r0"]


def test_unpaired_is_the_difference_of_means():
    found = compare(records([0.2, 0.4]), records([0.5, 0.6, 0.7]), paired=False)
    assert found.metrics["sslmem"] == pytest.approx(0.6 - 0.3)
    assert found.table is None
    assert "sslmem_scaled" not in found.metrics


def test_the_interval_is_students_of_the_differences():
    """Differences 0.1, 0.2, 0.3, 0.4: mean 0.25, sd 0.1291, t of 3 degrees of freedom 3.182."""
    found = compare(records([0.4, 0.3, 0.2, 0.1]), records([0.5, 0.5, 0.5, 0.5])).metrics
    assert found["sslmem"] == pytest.approx(0.25)
    assert found["sslmem_high"] - 0.25 == pytest.approx(3.182 * 0.1291 / 2, abs=1e-4)
    assert 0.25 - found["sslmem_low"] == pytest.approx(3.182 * 0.1291 / 2, abs=1e-4)


def test_real_views_equal_a_plain_loop():
    data, module = tiny_data(), tiny_vicreg().eval()
    given = data.memorization_sets()
    found = ViewAlignment(views=3, seed=5, batch_size=16).prepare(ModuleEncoder(module), given)(given.attack, "attack")
    expected = {}
    with torch.no_grad():
        for row, identifier in enumerate(given.attack.ids):
            whole = given.attack.whole()
            with random_stream(5, zlib.crc32(identifier.encode())):
                views = whole.views(row, 3)
            z = nn.functional.normalize(module.encode(torch.cat([whole[row]["image"][None], views])), dim=1)
            expected[identifier] = float((z[1:] - z[0]).norm(dim=1).mean())
    assert found.ids == sorted(expected)
    assert found.column("distance").tolist() == pytest.approx([expected[i] for i in found.ids], abs=1e-5)
    assert len(set(found.column("distance").tolist())) > 30  # each record has views of its own


def test_layers():
    module = HostModule()
    data = Pairs(6, 1)
    given = MemorizationSets(attack=data, public=data, num_classes=10, other_split=Pairs(5, 2))
    test = ViewAlignment(views=2, layers=["backbone.0"], augment=lambda image: image.flip(-1), batch_size=9)
    found = measure(ModuleEncoder(module, "backbone"), test, HeldOut(), given)
    assert {"sslmem", "sslmem/backbone.0", "target_distance/backbone.0"} <= set(found.metrics)
    with torch.no_grad():
        out = [module.backbone[0](torch.stack([image, image.flip(-1)])).flatten(1) for image, _ in data]
    z = [nn.functional.normalize(one, dim=1) for one in out]
    expected = sorted(float((one[1] - one[0]).norm()) for one in z)
    assert sorted(found.target.column("distance/backbone.0").tolist()) == pytest.approx(expected, abs=1e-5)
    assert not module.backbone[0]._forward_hooks
    with pytest.raises(ValueError, match=r"layers names 'head.9', the model's submodules are backbone, backbone.0"):
        ViewAlignment(layers=["head.9"]).check(ModuleEncoder(module, "backbone"))


def test_two_models_with_control_and_net():
    data = tiny_data()
    given = data.memorization_sets()
    reference = SecondModel(ModuleEncoder(tiny_vicreg(1)), allow_unverified_split=True)
    found = measure(tiny_vicreg(0), ViewAlignment(views=2), reference, given)
    net = found.estimates["net_sslmem"]
    assert net.value == pytest.approx(found.metrics["sslmem"] - found.metrics["control_sslmem"])
    widths = [e.high - e.low for e in (found.estimates["sslmem"], found.estimates["control_sslmem"])]
    assert net.high - net.low == pytest.approx(np.hypot(*widths))  # independent samples: variances add
    same = SecondModel(ModuleEncoder(tiny_vicreg(0)), allow_unverified_split=True)
    nothing = measure(tiny_vicreg(0), ViewAlignment(views=2), same, given).metrics
    assert nothing["sslmem"] == nothing["control_sslmem"] == 0


def measured():
    torch.manual_seed(0)
    data = [Pairs(count, seed) for count, seed in ((23, 1), (31, 2), (17, 3))]
    given = MemorizationSets(attack=data[0], public=data[1], num_classes=10, other_split=data[2])
    test = ViewAlignment(views=3, augment=augment, batch_size=16)
    found = measure(ModuleEncoder(HostModule(), "backbone"), test, HeldOut(), given)
    return found.metrics, found.target.table.to_pylist()


def augment(image):
    return image + 0.3 * torch.randn(())


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one():
    alone = measured()
    assert 0 < alone[0]["target_distance"] < 2
    for found in run_processes(2, measured):
        assert found == alone


class Memorizer(nn.Module):
    """Puts what it has seen at a corner of its own, and anything else where it is."""

    def __init__(self, seen):
        super().__init__()
        self.register_buffer("seen", seen.flatten(1))

    def forward(self, images):
        x = images.flatten(1)
        distance, nearest = torch.cdist(x, self.seen).min(dim=1)
        known = torch.nn.functional.one_hot(nearest, len(self.seen)).float()
        return torch.where(distance[:, None] < 4.5, torch.cat([known, 0 * x], 1), torch.cat([0 * known, x - 0.5], 1))


def test_what_one_model_has_seen_is_found_record_by_record():
    attacked = Pairs(40, 1)
    given = MemorizationSets(attack=attacked, public=Pairs(10, 2), num_classes=10, neither_split=Pairs(30, 3))
    target, reference = Memorizer(attacked.images[:20]), Memorizer(Pairs(20, 4).images)
    test = ViewAlignment(views=4, augment=lambda image: image + 0.15 * torch.randn_like(image))
    second = SecondModel(ModuleEncoder(reference), allow_unverified_split=True)
    found = measure(ModuleEncoder(target), test, second, given)
    assert found.estimates["net_sslmem"].low > 0
    assert found.estimates["control_sslmem"].low <= 0 <= found.estimates["control_sslmem"].high
    seen = [int(identifier.split("/")[1]) < 20 for identifier in found.comparison.table["id"].to_pylist()]
    assert spearmanr(seen, found.comparison.table["memorization"].to_pylist()).statistic > 0.8


def test_subsampling_keeps_views():
    given = tiny_data().memorization_sets()
    part = subsample(given.attack, "attack", 10, 0)
    attack = ViewAlignment(views=2).prepare(ModuleEncoder(tiny_vicreg().eval()), given)
    whole, some = attack(given.attack, "attack"), attack(part, "attack")
    rows = [whole.ids.index(identifier) for identifier in some.ids]
    assert some.column("distance").tolist() == pytest.approx(whole.column("distance")[rows].tolist(), abs=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match="views and batch_size must be at least 1, got views=0, batch_size=250"):
        ViewAlignment(views=0)
    plain = MemorizationSets(attack=Pairs(4, 0), public=Pairs(4, 1), num_classes=10)
    with pytest.raises(TypeError, match=r"the attack set must offer .*, and a Pairs draws none: give it .*augment="):
        ViewAlignment().prepare(lambda images: images.flatten(1), plain)
    same = ViewAlignment(views=2).prepare(lambda images: torch.ones(len(images), 3), sets())
    with pytest.raises(ValueError, match="all views of all 2 pictures of the attack set have the same embedding"):
        same(sets().attack, "attack")
    flat = ViewAlignment(views=2).prepare(lambda images: images.sum(dim=1), sets())
    with pytest.raises(ValueError, match=r"must return embeddings \(B, D\), it returned \(6,\)"):
        flat(sets().attack, "attack")
