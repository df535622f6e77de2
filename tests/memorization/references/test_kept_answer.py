"""References answer once, and do not keep alive the sets that they answered for."""

import copy
import gc
import pickle
import weakref

import torch

from dejavu_lightning.memorization import Checkpoint
from dejavu_lightning.memorization.references.kept_answer import KeptAnswer
from tests.callbacks.hosts import memorization_monitor, memorization_sets, train
from tests.models import HostModule


def test_the_latest_answer_for_these_very_sets_and_this_question():
    kept, sets = KeptAnswer(), memorization_sets()
    assert kept.find(sets, "k=5") is None
    assert kept.keep(sets, "k=5", 1) == 1
    assert kept.find(sets, "k=5") == 1
    assert kept.find(sets, "k=6") is None
    assert kept.find(memorization_sets(), "k=5") is None
    for other in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert other.find(sets, "k=5") is None
    answer = torch.nn.Linear(1, 1)
    gone = weakref.ref(answer)
    kept.keep(sets, "k=7", answer)
    del answer, sets
    gc.collect()
    assert gone() is None


class Offers:
    """Makes its sets anew for each training."""

    def __init__(self):
        self.made = []

    def memorization_sets(self):
        sets = memorization_sets()
        self.made += [weakref.ref(sets), weakref.ref(sets.public)]
        return sets


def test_after_a_training_nothing_holds_its_sets(tmp_path):
    torch.save({"state_dict": HostModule().state_dict()}, tmp_path / "reference.ckpt")
    reference = Checkpoint(tmp_path / "reference.ckpt", allow_unverified_split=True)
    offers = Offers()
    monitor = memorization_monitor(data=offers, reference=reference)
    train(tmp_path, [monitor], max_epochs=1)
    gc.collect()
    assert [row["epoch"] for row in monitor.history] == [0, 1]
    assert [made() for made in offers.made] == [None, None]
