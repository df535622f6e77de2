"""What a refusal advises works when it is followed."""

import re
import subprocess
import sys
import zipfile

import pytest
import torch
import torch.distributed.checkpoint as distributed
from torch import nn

from dejavu_lightning.core.torch_file import check_intact, read_torch_file
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


@pytest.mark.slow
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
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, capture_output=True, timeout=600)
    made = tmp_path / "last [1].ckpt.consolidated"
    weights = load_checkpoint(made)["state_dict"] if lightning else read_torch_file(made)["model"]
    assert torch.equal(weights["w"], torch.arange(5.0))


def flip_weights(file):
    """Turn over one bit in the largest tensor of a file, as a failing disk does; returns the tensor's name in it."""
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        content = archive.read(largest)
    whole = bytearray(file.read_bytes())
    at = whole.find(content) + len(content) // 2
    whole[at] ^= 1
    file.write_bytes(whole)
    return largest.filename


def test_a_bit_that_turned_over_is_found_where_weights_are_used(tmp_path):
    file = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"w": torch.arange(1000.0)}, "epoch": 4}, file)
    assert torch.equal(load_checkpoint(file, intact=True)["state_dict"]["w"], torch.arange(1000.0))
    name = flip_weights(file)
    assert not torch.equal(torch.load(file)["state_dict"]["w"], torch.arange(1000.0))  # torch does not look
    assert completed_epochs(load_checkpoint(file)) == 5
    with pytest.raises(ValueError, match=rf"a\.ckpt is damaged, .*Bad CRC-32 for file '{name}'") as caught:
        load_checkpoint(file, intact=True)
    assert len(str(caught.value).splitlines()) == 1


def test_files_without_checksums_pass(tmp_path):
    plain, old = tmp_path / "plain.ckpt", tmp_path / "old.ckpt"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(1000.0)}, plain)
    finally:
        torch.serialization.set_crc32_options(True)
    torch.save({"w": torch.arange(1000.0)}, old, _use_new_zipfile_serialization=False)
    for file in (plain, old):
        check_intact(file)
        assert torch.equal(read_torch_file(file)["w"], torch.arange(1000.0))
