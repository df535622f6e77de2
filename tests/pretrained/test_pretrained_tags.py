"""Published weights, without a network: random ones, where the libraries keep what they have downloaded."""

import sys
from unittest.mock import Mock
from urllib.error import URLError

import open_clip
import pytest
import timm
import torch
import torchvision.models
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file
from torch import nn

from dejavu_lightning.memorization import Preprocessing
from dejavu_lightning.pretrained import HuggingFaceModel, OpenClipModel, TimmModel, TorchvisionModel
from tests.commands import run
from tests.published import agree, scrambled

TIMM_TAG, CLIP_TAG, ENCODER = "test_resnet.r160_in1k", "datacompdr", "someone/tiny-vit"
HALF = (0.5, 0.5, 0.5)
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "layers": 1, "width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder where the Hugging Face hub keeps a model, by the model's name; no connection is tried."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))  # of the processes that a test starts
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def kept(name):
        model, commit = tmp_path / f"models--{name.replace('/', '--')}", "0" * 40
        (model / "refs").mkdir(parents=True)
        (model / "refs" / "main").write_text(commit)
        (model / "snapshots" / commit).mkdir(parents=True)
        return model / "snapshots" / commit

    return kept


def keep_timm(hub):
    original = scrambled(timm.create_model("test_resnet"))
    save_file(original.state_dict(), hub(f"timm/{TIMM_TAG}") / "model.safetensors")
    original.reset_classifier(0)
    return original


def keep_encoder(hub):
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    original, folder = scrambled(ViTModel(ViTConfig(**sizes, image_size=32, patch_size=16))), hub(ENCODER)
    original.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}, resample=3).save_pretrained(folder)
    return original


class FirstToken(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(pixel_values=images).last_hidden_state[:, 0]


class UnitImages(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return nn.functional.normalize(self.model.encode_image(images), dim=1)


def test_timm_tags(hub):
    model = TimmModel(TIMM_TAG, pretrained=True)
    with pytest.raises(ValueError, match=f"timm cannot give '{TIMM_TAG}'"):
        model.load()
    original = keep_timm(hub)
    agree(model, original)
    assert model.load().preprocessing == Preprocessing(160, HALF, HALF, "bilinear")


def test_hugging_face_names(hub):
    original, model = keep_encoder(hub), HuggingFaceModel(ENCODER)
    agree(model, FirstToken(original))
    assert model.load().preprocessing == Preprocessing(32, HALF, HALF, "bicubic")
    with pytest.raises(ValueError, match="'someone/absent' cannot be loaded by transformers"):
        HuggingFaceModel("someone/absent").load()


def test_open_clip_tags(hub):
    """A real tag of a model made small; what the tag says of preprocessing is not open_clip's default."""
    original = scrambled(open_clip.create_model("MobileCLIP-S1", **CLIP))
    model = OpenClipModel("MobileCLIP-S1", CLIP_TAG, options=CLIP)
    with pytest.raises(ValueError, match="open_clip cannot give MobileCLIP-S1 datacompdr: Failed to download"):
        model.load()
    save_file(original.state_dict(), hub("apple/MobileCLIP-S1-OpenCLIP") / "open_clip_model.safetensors")
    agree(model, UnitImages(original))
    assert model.load().preprocessing == Preprocessing(32, (0.0,) * 3, (1.0,) * 3, "bilinear", "shortest")


def test_open_clip_models_of_the_hub(hub):
    folder, name = hub("someone/tiny-clip"), "hf-hub:someone/tiny-clip"
    original = scrambled(open_clip.create_model("ViT-B-32", **CLIP, force_preprocess_cfg={"mean": HALF}))
    save_config_for_hf(original, folder / "open_clip_config.json", CLIP)
    with pytest.raises(ValueError, match="open_clip cannot give hf-hub:someone/tiny-clip: Required pretrained weights"):
        OpenClipModel(name).load()
    save_file(original.state_dict(), folder / "open_clip_model.safetensors")
    agree(OpenClipModel(name), UnitImages(original))
    assert OpenClipModel(name).load().preprocessing.mean == HALF


def test_torchvision_weights_with_a_preprocessing_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    original, weights = scrambled(torchvision.models.efficientnet_b1()), torchvision.models.EfficientNet_B1_Weights
    for layer in original.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # statistics of the next batch, lest so deep a network lose sight of its images
    original.train()(torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    kept = tmp_path / "hub" / "checkpoints" / weights.IMAGENET1K_V1.url.rpartition("/")[2]
    kept.parent.mkdir(parents=True)
    model = TorchvisionModel("efficientnet_b1", "IMAGENET1K_V1")
    monkeypatch.setattr("torch.hub.urlopen", Mock(side_effect=URLError("no network")))
    with pytest.raises(ValueError, match=r"torchvision cannot give efficientnet_b1 IMAGENET1K_V1: .*no network"):
        model.load()
    torch.save(original.state_dict(), kept)
    original.classifier = nn.Identity()
    agree(model, original)
    assert model.load().preprocessing == Preprocessing(240, interpolation="bicubic")


@pytest.mark.slow
def test_tags_are_measured_in_their_own_preprocessing(hub, config):
    keep_timm(hub), keep_encoder(hub)
    given = ["--target", "TimmModel", "--target.name", TIMM_TAG, "--target.pretrained", "true"]
    given += ["--reference", "HuggingFaceModel", "--reference.name", ENCODER, "--allow_unverified_split", "true"]
    given += ["--config", config, "--device", "cpu"]
    # The hub's library takes its cache from the environment as it is imported.
    printed = " ".join(run("evaluate.py", "memorization", *given, program=sys.executable).stdout.split())
    assert f"timm {TIMM_TAG}: pictures of 160 pixels, bilinear, mean 0.5, 0.5, 0.5" in printed
    assert f"Hugging Face {ENCODER}: pictures of 32 pixels, bicubic, mean 0.5, 0.5, 0.5" in printed
