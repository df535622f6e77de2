"""Utility without the samples that decided: from the kept file, and measured anew."""

import numpy as np
import pytest
from dejavu_lightning.callbacks import UtilityMonitor

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.core.estimate import estimates_in
from dejavu_lightning.core.intervals import bounded_mean
from dejavu_lightning.memorization import ModuleEncoder
from dejavu_lightning.runs.history import write_history
from dejavu_lightning.runs.utility_samples import read_utility, write_utility_samples
from dejavu_lightning.utility import NearestNeighborProbe, utility_measurement
from tests.models import tiny_data, tiny_trainer, tiny_vicreg

PART = DecisionPart(0.5)
DECIDE, JUDGE = (
    [name for name in map(str, range(40)) if PART.decides([name])[0] == decides][:4] for decides in (True, False)
)


def test_the_rest_by_hand(tmp_path):
    """Of the four that judge three are right, of the four that decide none; a metric may have fewer samples."""
    top = ([*DECIDE, *JUDGE], np.array([0.0] * 4 + [1.0, 1.0, 1.0, 0.0]))
    named = ([DECIDE[0], JUDGE[1], JUDGE[0]], np.array([1.0, 0.25, 0.5]))
    for epoch in (2, 4):
        write_utility_samples(tmp_path, epoch, {"top": top, "named@2": named})
    row = {"top": 0.375, "top_low": 0.1, "top_high": 0.7, "named@2": 0.58, "named@2_low": 0.1, "named@2_high": 0.9}
    write_history(tmp_path, [{"epoch": 2.0, **row}, {"epoch": 4.0, **row, "top": 0.25}])
    found = read_utility(tmp_path, 2.0, PART)
    assert found == {"top": bounded_mean(top[1][4:]), "named@2": bounded_mean(np.array([0.25, 0.5]))}
    assert (found["top"].value, found["named@2"].value) == (0.75, 0.375)
    assert read_utility(tmp_path, 2.0)["top"][:3] == (0.375, 0.1, 0.7)
    assert read_utility(tmp_path, None)["top"].value == 0.25  # of the last
    assert read_utility(tmp_path, 3.0, PART) == {}
    (tmp_path / "epoch=0002" / "samples.parquet").unlink()
    with pytest.raises(ValueError, match=r"epoch=0002 lacks samples.parquet.*by evaluate.py utility, or train"):
        read_utility(tmp_path, 2.0, PART)


def test_what_a_monitor_kept_gives_what_a_measurement_without_them_gives(tmp_path):
    monitor = UtilityMonitor(probes=[NearestNeighborProbe(k=5)], every_n_epochs=1)
    module, data = tiny_vicreg(), tiny_data()
    tiny_trainer(tmp_path, max_epochs=1, callbacks=[monitor]).fit(module, data)
    encoder = ModuleEncoder(module, "backbone")
    whole = utility_measurement(encoder, [NearestNeighborProbe(k=5)], data.utility_sets())
    rest = utility_measurement(encoder, [NearestNeighborProbe(k=5)], data.utility_sets(), leave_out=PART)
    assert {name: each[:3] for name, each in read_utility(tmp_path / "utility", 1).items()} == {
        name: each[:3] for name, each in estimates_in(whole.metrics).items()
    }
    kept = read_utility(tmp_path / "utility", 1, PART)
    assert {name: each[:3] for name, each in kept.items()} == {
        name: each[:3] for name, each in estimates_in(rest.metrics).items()
    }
    (all_of_them,), (judging,) = whole.terms["knn_top1"], rest.terms["knn_top1"]
    assert judging.ids == [name for name in all_of_them.ids if not PART.decides([name])[0]]
    assert 0 < len(judging.ids) < len(all_of_them.ids)
    assert rest.metrics["knn_top1"] == judging.values.mean() != whole.metrics["knn_top1"]
