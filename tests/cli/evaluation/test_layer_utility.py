"""The utility of layers, as another command wrote it."""

import json

import pytest

from dejavu_lightning.cli.evaluation.layer_utility import read_layer_utility


def written(tmp_path, content):
    file = tmp_path / "utility.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file)


def test_metrics_come_with_their_intervals(tmp_path):
    metrics = {"linear_top1/backbone": 0.5, "linear_top1/backbone_low": 0.25, "linear_top1/backbone_high": 0.75}
    file = written(tmp_path, {"metrics": metrics, "options": {"checkpoint": f"{tmp_path}/run/../last.ckpt"}})
    found = read_layer_utility(file, f"{tmp_path}/last.ckpt")
    assert {name: one[:3] for name, one in found.items()} == {"linear_top1/backbone": (0.5, 0.25, 0.75)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ({"found": 1}, "is no output of evaluate.py utility: it has no metrics by name"),
        ({"metrics": {"knn_top1/a": 1}, "options": {"checkpoint": "b.ckpt"}}, "is of b.ckpt, the target is a.ckpt"),
        ({"metrics": {"knn_top1": 1}, "options": {"checkpoint": "a.ckpt"}}, "is of one layer; probe all by"),
    ],
)
def test_bad_input(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_layer_utility(written(tmp_path, content), "a.ckpt")
    with pytest.raises(FileNotFoundError, match=r"--utility nowhere\.json is not a file; evaluate\.py utility"):
        read_layer_utility("nowhere.json", "a.ckpt")
