"""What a refusal advises works when it is followed."""

import re
import subprocess
import sys

import pytest
import torch
import torch.distributed.checkpoint as distributed
from torch import nn

from dejavu_lightning.core.torch_file import read_torch_file
from dejavu_lightning.runs.checkpoints import completed_epochs, load_checkpoint


class Choice:
    """Restored by a call, as enumerations and partial functions are."""

    def __reduce__(self):
        return (dict, ())


def test_modules_among_hyper_parameters_are_passed_over(tmp_path):
    network = nn.Linear(2, 3)
    content = {"state_dict": network.state_dict(), "hyper_parameters": {"backbone": network, "width": 3}, "epoch": 4}
    torch.save(content, tmp_path / "a.ckpt")
    found = load_checkpoint(tmp_path / "a.ckpt")
    assert torch.equal(found["state_dict"]["weight"], network.weight)
    assert found["hyper_parameters"]["width"] == 3
    assert not isinstance(found["hyper_parameters"]["backbone"], nn.Module)


def test_following_the_advice_of_a_refusal(tmp_path):
    given, made = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": 7}}}}
    torch.save({"state_dict": {"w": torch.ones(2)}, "loops": loops, "hyper_parameters": {"c": Choice()}}, given)
    with pytest.raises(ValueError, match="would run code") as caught:
        load_checkpoint(given)
    command = str(caught.value).splitlines()[-1].strip()
    exec(command, {"FILE": given, "OTHER": made})
    found = load_checkpoint(made)
    assert torch.equal(found["state_dict"]["w"], torch.ones(2))
    assert completed_epochs(found) == 7


@pytest.mark.parametrize("lightning", [True, False])
def test_following_the_advice_for_a_sharded_checkpoint(tmp_path, lightning):
    folder = tmp_path / "last [1].ckpt"
    folder.mkdir()
    distributed.save({"model": {"w": torch.arange(5.0)}}, checkpoint_id=folder, no_dist=True)
    if lightning:
        torch.save({"epoch": 3, "pytorch-lightning_version": "2.6.0"}, folder / "meta.pt")
    with pytest.raises(ValueError, match="sharded checkpoint") as caught:
        read_torch_file(folder)
    command = re.sub(r"^\s*python", sys.executable, str(caught.value).splitlines()[-1])
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, capture_output=True, timeout=120)
    made = tmp_path / "last [1].ckpt.consolidated"
    weights = load_checkpoint(made)["state_dict"] if lightning else read_torch_file(made)["model"]
    assert torch.equal(weights["w"], torch.arange(5.0))
