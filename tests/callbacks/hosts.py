"""A host's training in seconds, with monitors."""

import lightning.pytorch as pl
from dejavu_lightning.callbacks import MemorizationMonitor, UtilityMonitor
from torch.utils.data import DataLoader

from dejavu_lightning.memorization import LabelInference, MemorizationSets
from dejavu_lightning.utility import NearestNeighborProbe, UtilitySets
from tests.models import HostModule, Pairs, tiny_trainer


def memorization_sets(**options):
    given = {"attack": Pairs(30, 1), "public": Pairs(60, 2), "num_classes": 10, "other_split": Pairs(40, 3)}
    return MemorizationSets(**{**given, **options})


def memorization_monitor(**options):
    given = {"data": memorization_sets(), "encode": "backbone", "every_n_epochs": 1, "figures": False}
    return MemorizationMonitor(test=LabelInference(k=5, batch_size=16), **{**given, **options})


def utility_monitor(**options):
    given = {"data": UtilitySets(Pairs(30, 2), Pairs(20, 4), 10), "every_n_epochs": 1}
    return UtilityMonitor(probes=[NearestNeighborProbe(k=5)], **{**given, **options})


def train(folder, callbacks, seed=0, trainer=None, data=None, validation=None, checkpoint=None, module=None, **options):
    """The trained module; in ``folder`` unless with a trainer of its own."""
    pl.seed_everything(seed, verbose=False)
    module = module or HostModule()
    loader = data or DataLoader(Pairs(40, 0), batch_size=10, shuffle=True)
    trainer = trainer or tiny_trainer(folder, callbacks=callbacks, **options)
    trainer.fit(module, loader, validation, ckpt_path=checkpoint)
    return module
