"""Training begins from every class of published models, programs included."""

import os
import re

import pytest
import torch
import transformers
from torch import nn

from dejavu_lightning.core.distributed import world
from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.methods import BYOL, VICReg
from dejavu_lightning.pretrained import (
    ExportedFile,
    HuggingFaceModel,
    OpenClipModel,
    TimmModel,
    TorchScriptFile,
    TorchvisionModel,
)
from tests.methods.test_initial import SMALL, finished
from tests.models import tiny_data, tiny_trainer
from tests.processes import run_processes


def hugging_face(folder, config, **options):
    transformers.AutoModel.from_config(config).save_pretrained(folder / "model")
    return HuggingFaceModel(str(folder / "model"), **options)


def exported(folder):
    images = torch.zeros(2, 3, 32, 32)
    program = torch.export.export(finished(), (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, folder / "model.pt2")
    return ExportedFile(str(folder / "model.pt2"))


VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "patch_size": 8}
SHOWN = Preprocessing(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
# A class of dejavu_lightning.pretrained, and which of its weights and statistics no loss reaches.
SOURCES = {
    "timm": (lambda _: TimmModel("test_resnet", preprocessing=SHOWN), ""),
    "timm, ViT": (lambda _: TimmModel("test_vit", options={"img_size": 32}, preprocessing=SHOWN), ""),
    "torchvision": (lambda _: TorchvisionModel("shufflenet_v2_x0_5"), ""),
    "open_clip": (lambda _: OpenClipModel("dejavu-tiny", preprocessing=SHOWN), ""),
    "transformers": (lambda path: hugging_face(path, transformers.ViTConfig(image_size=32, **VIT)), "pooler"),
    "transformers, Dinov2": (
        lambda path: hugging_face(path, transformers.Dinov2Config(image_size=32, mlp_ratio=1, **VIT)),
        "mask_token",
    ),
    "transformers, pooled": (
        lambda path: hugging_face(
            path,
            transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic"),
            embedding="pooler",
        ),
        "",
    ),
    "exported": (exported, r"running_|num_batches"),  # its norms stay in evaluation mode
}


@pytest.mark.parametrize("method", [VICReg, BYOL])
@pytest.mark.parametrize("source", SOURCES)
def test_training_begins_from_every_class_of_models(source, method, tmp_path):
    """All of the network is trained, or nothing of it; a checkpoint holds what was trained."""
    build, untouched = SOURCES[source]
    torch.manual_seed(0)
    init = build(tmp_path)
    settings = {**SMALL, "image_size": 48 if source == "open_clip" else 32}
    for freeze in ((), "backbone"):
        torch.manual_seed(0)
        module = method(init=init, freeze=freeze, **settings)
        before = {key: value.clone() for key, value in module.state_dict().items()}
        trainer = tiny_trainer(tmp_path)
        trainer.fit(module, datamodule=tiny_data())
        changed = {key for key, value in module.state_dict().items() if not torch.equal(before[key], value)}
        expected = {key for key in before if key.startswith("backbone.")}
        expected = set() if freeze else {key for key in expected if not untouched or not re.search(untouched, key)}
        assert {key for key in changed if key.startswith("backbone.")} == expected
        trainer.save_checkpoint(tmp_path / "trained.ckpt")
        again = method.load_from_checkpoint(tmp_path / "trained.ckpt", init=init, freeze=freeze, **settings)
        images = torch.rand(2, 3, 32, 32) if source != "open_clip" else torch.rand(2, 3, 48, 48)
        with torch.no_grad():
            assert torch.equal(again.eval().encode(images), module.eval().encode(images))


@pytest.mark.parametrize("method", [VICReg, BYOL])
@pytest.mark.parametrize("freeze", [(), "backbone"])
def test_a_scripted_network_is_trained_or_frozen(freeze, method, tmp_path):
    """TorchScript refuses ``requires_grad_`` of a module, not of its parameters."""
    torch.manual_seed(0)
    torch.jit.trace(finished(), torch.zeros(2, 3, 32, 32)).save(tmp_path / "traced.pt")
    module = method(init=TorchScriptFile(str(tmp_path / "traced.pt")), freeze=freeze, **SMALL)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    tiny_trainer(tmp_path).fit(module, datamodule=tiny_data())
    changed = {key for key, value in module.state_dict().items() if not torch.equal(before[key], value)}
    assert any(key.startswith("backbone") for key in changed) == (not freeze)
    assert any(key.startswith("projector") for key in changed)


def trained_by_two(folder, init):
    rank, _ = world()
    os.environ["LOCAL_RANK"] = str(rank)
    torch.manual_seed(0)
    module = VICReg(init=init, **SMALL)
    tiny_trainer(folder, devices=2, strategy="ddp").fit(module, datamodule=tiny_data())
    return {name: value.sum().item() for name, value in module.named_parameters()}


@pytest.mark.parametrize("source", ["transformers", "transformers, Dinov2", "exported"])
def test_two_processes_train_it(source, tmp_path):
    """DDP refuses weights that no loss reaches, such as a pooler that is not asked for."""
    first, second = run_processes(2, trained_by_two, str(tmp_path), SOURCES[source][0](tmp_path))
    assert first == second


@pytest.mark.parametrize("decomposed", [False, True])
def test_layers_of_a_decomposed_program_keep_their_mode_likewise(decomposed, tmp_path):
    images = torch.zeros(2, 3, 32, 32)
    program = torch.export.export(finished(), (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program.run_decompositions() if decomposed else program, tmp_path / "program.pt2")
    with pytest.warns(UserWarning, match=r"was written in evaluation mode, so its \w*batch_norm\w* stay in it"):
        VICReg(init=ExportedFile(str(tmp_path / "program.pt2")), **SMALL)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.viewing = Viewing()

    def forward(self, images):
        return self.encode(images)

    @torch.jit.export
    def encode(self, images):
        return self.viewing(images)


class Viewing(nn.Module):
    """Takes a tensor as it lies in memory, which of a program cannot be changed to ``reshape``."""

    def __init__(self):
        super().__init__()
        self.kernel, self.width = nn.Conv2d(3, 5, 3, stride=8), 80

    def forward(self, images):
        maps = self.kernel(images)
        return maps.view(maps.shape[0], -1)


@pytest.mark.parametrize("written", ["traced", "scripted", "scripted with encode", "exported"])
def test_a_program_is_trained_as_it_is_however_it_lies_in_memory_and_uncompiled(written, tmp_path):
    network, images = (Wrapped if written == "scripted with encode" else Viewing)().eval(), torch.zeros(2, 3, 32, 32)
    if written == "exported":
        program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
        torch.export.save(program, tmp_path / "program.pt2")
        init = ExportedFile(str(tmp_path / "program.pt2"))
    else:
        program = torch.jit.trace(network, images) if written == "traced" else torch.jit.script(network)
        program.save(tmp_path / "program.pt")
        init = TorchScriptFile(str(tmp_path / "program.pt"))
    module = VICReg(init=init, channels_last=True, compile=True, **SMALL)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.warns(UserWarning, match="is a program and runs as it is"):
        tiny_trainer(tmp_path).fit(module, datamodule=tiny_data())
    assert not [key for key, value in module.state_dict().items() if torch.equal(before[key], value)]


@pytest.mark.parametrize("method", [VICReg, BYOL])
def test_over_a_frozen_program_only_the_rest_learns(method, tmp_path):
    torch.jit.freeze(torch.jit.trace(finished(), torch.zeros(2, 3, 32, 32))).save(tmp_path / "frozen.pt")
    init = TorchScriptFile(str(tmp_path / "frozen.pt"))
    with pytest.raises(ValueError, match=r"model.init: TorchScript frozen.pt has no weights .*model.freeze=backbone"):
        method(init=init, **SMALL)
    module = method(init=init, freeze="backbone", **SMALL)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    tiny_trainer(tmp_path).fit(module, datamodule=tiny_data())
    assert not torch.equal(module.projector[0].weight, before["projector.0.weight"])


@pytest.mark.parametrize("written", ["traced", "exported", "scripted"])
def test_layers_that_keep_their_mode_in_training_are_named(written, tmp_path, recwarn):
    init = exported(tmp_path)
    if written != "exported":
        network = finished()
        program = (
            torch.jit.script(network) if written == "scripted" else torch.jit.trace(network, torch.zeros(2, 3, 32, 32))
        )
        program.save(tmp_path / "program.pt")
        init = TorchScriptFile(str(tmp_path / "program.pt"))
    VICReg(init=init, **SMALL)
    told = [
        str(one.message) for one in recwarn if "was written in evaluation mode, so its batch_norm" in str(one.message)
    ]
    assert len(told) == (written != "scripted")
    recwarn.clear()
    VICReg(init=init, freeze="backbone", **SMALL)
    assert not [one for one in recwarn if "evaluation mode" in str(one.message)]
