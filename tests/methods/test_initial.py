"""Training begins from the weights of others, and frozen parts stay as they are."""

import json

import pytest
import torch
from torch import nn

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.data import RandomViews
from dejavu_lightning.methods import BYOL, CLIP, DINO, ClipOptimizerConfig, Supervised, VICReg
from dejavu_lightning.models.backbones import build_backbone
from dejavu_lightning.models.clip_networks import SHIPPED
from dejavu_lightning.models.heads import projector
from dejavu_lightning.pretrained import CallableModel, OpenClipModel, WeightsFile
from tests.captions import caption_data, tiny_clip
from tests.models import TINY_NETWORK, tiny_data, tiny_trainer

OPTIMIZER = ClipOptimizerConfig(lr=0.01, warmup_steps=0)
SHOWN = Preprocessing(48, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
SMALL = {key: value for key, value in TINY_NETWORK.items() if not key.startswith("backbone")}


def published(folder, **more):
    """A checkpoint of others: backbone and projector, each under a prefix of DDP's."""
    torch.manual_seed(5)
    backbone, head = build_backbone("small_resnet", widths=(8, 8)), projector(8, (12, 6))
    backbone[1].running_mean += 1
    state = {f"module.backbone.{key}": value for key, value in backbone.state_dict().items()}
    state |= {f"module.projector.{key}": value for key, value in head.state_dict().items()}
    file = folder / "published.pth"
    torch.save({"teacher": state, "epoch": 7}, file)
    options = {"architecture": "small_resnet", "options": {"widths": (8, 8)}, "entry": "teacher"}
    return backbone, head, WeightsFile(str(file), prefix="module.backbone.", **options, **more)


def test_training_begins_from_the_backbone_of_others(tmp_path):
    backbone, _, init = published(tmp_path)
    module = VICReg(init=init, **SMALL)
    assert all(torch.equal(module.backbone.state_dict()[key], value) for key, value in backbone.state_dict().items())
    assert module.feature_width == 8
    assert [layer.out_features for layer in module.projector if isinstance(layer, nn.Linear)] == [16, 16]


def test_a_projector_that_comes_along_is_taken(tmp_path):
    _, head, init = published(tmp_path, projector_prefix="module.projector.")
    module = VICReg(init=init, **SMALL)
    assert all(torch.equal(module.projector.state_dict()[key], value) for key, value in head.state_dict().items())
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 6)


def test_a_model_that_encodes_by_a_function_is_a_backbone():
    module = VICReg(init=CallableModel("tests.methods.test_initial:Pooled"), **SMALL)
    assert module.feature_width == 5
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 16)


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1))

    def encode(self, images):
        return self.trunk(images)  # B, 5, 1, 1


def test_a_model_that_others_left_frozen_and_in_evaluation_mode_is_trained(tmp_path):
    module = VICReg(init=CallableModel("tests.methods.test_initial:finished"), **SMALL)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    tiny_trainer(tmp_path).fit(module, datamodule=tiny_data())
    changed = {key for key, value in module.state_dict().items() if not torch.equal(before[key], value)}
    assert {"backbone.0.weight", "backbone.1.running_mean"} <= changed


def finished():
    layers = (nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers).eval().requires_grad_(False)


def test_heads_are_as_wide_as_the_projector_that_comes_along(tmp_path):
    _, _, init = published(tmp_path, projector_prefix="module.projector.")
    module = BYOL(init=init, predictor_widths=(9,), **SMALL)
    assert module.predictor(module(torch.zeros(2, 3, 32, 32))).shape == (2, 6)


def test_a_classifier_learns_on_a_frozen_backbone(tmp_path):
    settings = {key: value for key, value in TINY_NETWORK.items() if key != "projector_widths"}
    module = Supervised(num_classes=10, freeze="backbone", **settings)
    before = module.classifier.weight.clone()
    tiny_trainer(tmp_path).fit(module, datamodule=tiny_data())
    assert not torch.equal(before, module.classifier.weight)


@pytest.mark.parametrize("method", [VICReg, BYOL])
def test_a_frozen_backbone_stays_bitwise_and_the_rest_learns(method, tmp_path):
    _, _, init = published(tmp_path)
    module = method(init=init, freeze="backbone", **SMALL)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    tiny_trainer(tmp_path).fit(module, datamodule=tiny_data())
    changed = {key for key, value in module.state_dict().items() if not torch.equal(before[key], value)}
    assert not [key for key in changed if "backbone" in key]
    assert any(key.startswith("projector") and key.endswith("weight") for key in changed)


def test_layers_of_a_backbone_are_frozen_by_their_paths(tmp_path):
    module = VICReg(freeze=["backbone.0", "backbone.1"], **TINY_NETWORK)
    before = {key: value.clone() for key, value in module.backbone.state_dict().items()}
    tiny_trainer(tmp_path).fit(module, datamodule=tiny_data())
    changed = {
        key.split(".")[0] for key, value in module.backbone.state_dict().items() if not torch.equal(before[key], value)
    }
    assert changed == {"3", "4"}  # the residual blocks; 0 and 1 are the stem's kernel and norm


@pytest.mark.parametrize("name", ["backbone.0.weight", "projector.0.weight"])
def test_a_single_weight_is_frozen_by_its_path(name, tmp_path):
    module = VICReg(freeze=[name], **TINY_NETWORK)
    before = {key: value.clone() for key, value in module.named_parameters()}
    tiny_trainer(tmp_path).fit(module, datamodule=tiny_data())
    assert {key for key, value in module.named_parameters() if torch.equal(before[key], value)} == {name}


def test_a_text_tower_is_frozen_whole(tmp_path):
    """open_clip's CLIP keeps it in parts and single weights of the model itself."""
    text = ["transformer", "token_embedding", "ln_final", "positional_embedding", "text_projection", "logit_scale"]
    module = tiny_clip(tmp_path / "tiny.json", freeze=[f"model.{part}" for part in text])
    before = {key: value.clone() for key, value in module.named_parameters()}
    tiny_trainer(tmp_path).fit(module, datamodule=caption_data())
    changed = {key for key, value in module.named_parameters() if not torch.equal(before[key], value)}
    assert changed == {key for key in before if key.startswith("model.visual.")}


def test_a_clip_model_begins_from_one_of_open_clip(tmp_path):
    torch.manual_seed(3)
    other = CLIP(model="dejavu-tiny").model
    torch.save({"state_dict": {f"module.{key}": value for key, value in other.state_dict().items()}}, tmp_path / "e.pt")
    init = OpenClipModel("dejavu-tiny", str(tmp_path / "e.pt"), prefix="module.")
    module = CLIP(init=init, freeze=["model.transformer"])
    module.configure_model()
    assert all(torch.equal(module.model.state_dict()[key], value) for key, value in other.state_dict().items())
    assert not any(parameter.requires_grad for parameter in module.model.transformer.parameters())
    assert all(parameter.requires_grad for parameter in module.model.visual.parameters())


def test_training_of_a_published_clip_goes_on(tmp_path):
    """From the weights of open_clip's checkpoint, with pairs of one's own: all of them are trained."""
    torch.manual_seed(3)
    other = CLIP(model="dejavu-tiny").model
    torch.save({"state_dict": {f"module.{key}": value for key, value in other.state_dict().items()}}, tmp_path / "e.pt")
    init = OpenClipModel("dejavu-tiny", str(tmp_path / "e.pt"), prefix="module.", preprocessing=SHOWN)
    module = CLIP(init=init, optimizer=OPTIMIZER)
    data = caption_data(image_size=48, views=RandomViews(48, num_views=1, mean=SHOWN.mean, std=SHOWN.std))
    tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=data)
    trained, begun = module.model.state_dict(), other.state_dict()
    assert trained.keys() == begun.keys()
    still = {key for key in begun if torch.equal(trained[key], begun[key])}
    assert not {key for key in still if key.endswith(("weight", "proj", "projection"))}


def test_the_image_tower_of_a_clip_model_begins_from_a_vision_model(tmp_path):
    torch.manual_seed(3)
    network = build_backbone("test_resnet")
    torch.save(network.state_dict(), tmp_path / "trunk.pth")
    with_head = json.loads((SHIPPED / "dejavu-tiny.json").read_text())
    with_head["vision_cfg"] = {"timm_model_name": "test_resnet", "timm_proj": "linear", "image_size": 32}
    (tmp_path / "with-head.json").write_text(json.dumps(with_head))
    init = WeightsFile(str(tmp_path / "trunk.pth"), "test_resnet")
    module = CLIP(model=str(tmp_path / "with-head.json"), init=init, freeze="backbone", optimizer=OPTIMIZER)
    trunk = module.model.visual.trunk
    assert all(torch.equal(trunk.state_dict()[key], value) for key, value in network.state_dict().items())
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    tiny_trainer(tmp_path).fit(module, datamodule=caption_data())
    assert all(torch.equal(before[key], value) for key, value in trunk.state_dict().items())


def test_a_frozen_temperature_stays_where_it_is_beyond_its_bounds(tmp_path):
    module = tiny_clip(tmp_path / "tiny.json", freeze=["model.logit_scale"])
    with torch.no_grad():
        module.logit_scale.fill_(7.0)  # a temperature of .001; .01 is the least
    tiny_trainer(tmp_path).fit(module, datamodule=caption_data())
    assert module.logit_scale.item() == 7


@pytest.mark.parametrize(
    ("features", "told"), [(torch.zeros(2, 3, 4), r"got \(2, 3, 4\)"), ((torch.zeros(2, 3),) * 2, "got a tuple")]
)
def test_features_that_are_not_pooled_are_not_cached(features, told, tmp_path):
    module = tiny_clip(tmp_path / "tiny.json", freeze="backbone")
    module._image_backbone = lambda: lambda images: features
    with pytest.raises(ValueError, match=f"needs pooled features .* of the image tower, {told}"):
        module.frozen_features(torch.zeros(2, 3, 32, 32))


def wrong_preprocessing(folder):
    _, _, init = published(folder, preprocessing=Preprocessing(32))
    tiny_trainer(folder).fit(VICReg(init=init, **SMALL), datamodule=tiny_data())


def lost_file(folder):
    _, _, init = published(folder)
    (folder / "published.pth").unlink()
    VICReg(init=init, **SMALL)


def dino_on_relu(folder):
    _, _, init = published(folder, projector_prefix="module.projector.")
    DINO(init=init, prototypes=8, teacher_warmup_epochs=1, **SMALL)


def both_clips(_):
    CLIP(init=OpenClipModel("dejavu-tiny"), pretrained="openai")


def other_architecture(folder):
    torch.save(build_backbone("small_resnet", widths=(8, 8)).state_dict(), folder / "w.pth")
    CLIP(model="dejavu-tiny", init=WeightsFile(str(folder / "w.pth"), "small_resnet", {"widths": (8, 8)}))


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (
            lambda _: VICReg(freeze="backbon", **TINY_NETWORK).configure_model(),
            "freeze='backbon' is no part of VICReg, which has backbone, pro",
        ),
        (
            lambda _: VICReg(freeze=["backbone", "projector"], **TINY_NETWORK).configure_model(),
            "leaves nothing to train",
        ),
        (wrong_preprocessing, r"data.mean: \(0.5, 0.5, 0.5\) instead of \(0.485, 0.456, 0.406\)"),
        (dino_on_relu, "ends in directions of length 1"),
        (both_clips, "model.init is a whole CLIP model and takes the place of model.pretrained='openai'"),
        (lost_file, "model.init: there is no .*also to measure a checkpoint"),
        (other_architecture, "do not fit the image tower of dejavu-tiny"),
        (
            lambda path: tiny_clip(path / "tiny.json").frozen_features(torch.zeros(1, 3, 32, 32)),
            "set model.freeze=backbone",
        ),
    ],
)
def test_what_cannot_be_begun_from_is_named(attempt, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        attempt(tmp_path)
