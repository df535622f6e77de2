"""Models of others, from files that their libraries write, embed as the models that were saved."""

import json
import logging
import shutil
from argparse import Namespace

import pytest
import timm
import torch
import torchvision.models
from lightly.models.modules.heads import BarlowTwinsProjectionHead, VICRegProjectionHead
from safetensors.torch import save_file
from timm.utils import CheckpointSaver, ModelEmaV3, NativeScaler
from torch import nn
from torchvision.ops import StochasticDepth

from dejavu_lightning.core.torch_file import read_torch_file
from dejavu_lightning.memorization import Preprocessing
from dejavu_lightning.models.backbones import build_backbone
from dejavu_lightning.models.clip_networks import build_clip
from dejavu_lightning.models.heads import Normalize
from dejavu_lightning.pretrained import (
    CallableModel,
    ExportedFile,
    HuggingFaceModel,
    OpenClipModel,
    TimmModel,
    TorchScriptFile,
    TorchvisionModel,
    WeightsFile,
)
from dejavu_lightning.pretrained.projector import rebuild_projector
from tests.models import tiny_trainer
from tests.published import (
    IMAGES,
    DinoHead,
    DinoNetwork,
    DistributedDataParallel,
    JointEmbedding,
    agree,
    build_network,
    embedded,
    headless_resnet,
    mlp,
    save_dino,
    save_joint_embedding,
    scrambled,
)

RESNET = {"architecture": "torchvision/resnet18"}
VIT = {"architecture": "vit_tiny_patch16_224", "options": {"img_size": 32, "depth": 2}}


@pytest.mark.parametrize("vicreg", [True, False], ids=["vicreg", "barlowtwins"])
def test_joint_embedding_checkpoints_of_their_authors(tmp_path, vicreg):
    model = scrambled(JointEmbedding(vicreg))
    full, alone = str(tmp_path / "checkpoint.pth"), str(tmp_path / "resnet50.pth")
    save_joint_embedding(model, full)
    torch.save(model.backbone.state_dict(), alone)
    agree(WeightsFile(alone, **RESNET), model.backbone)
    agree(WeightsFile(full, **RESNET, prefix="module.backbone."), model.backbone)
    agree(WeightsFile(full, **RESNET, prefix="module.backbone", projector_prefix="module.projector"), model)


def test_dino_checkpoints_of_their_authors(tmp_path):
    student, teacher = scrambled(DinoNetwork(), 1), scrambled(DinoNetwork(), 2)
    full, alone = str(tmp_path / "full_checkpoint.pth"), str(tmp_path / "pretrain.pth")
    save_dino(student, teacher, full)
    torch.save(teacher.backbone.state_dict(), alone)
    agree(WeightsFile(alone, **VIT), teacher.backbone)
    agree(WeightsFile(full, **VIT, entry="teacher", prefix="backbone."), teacher.backbone)
    agree(WeightsFile(full, **VIT, entry="student", prefix="module.backbone."), student.backbone)
    head = {"projector_prefix": "head.mlp.", "activation": "gelu", "normalize": True}
    agree(WeightsFile(full, **VIT, entry="teacher", prefix="backbone.", **head), teacher)
    with pytest.raises(ValueError, match=r"several state dicts, 'student' .*name one as entry") as caught:
        WeightsFile(full, **VIT).load()
    for place in ("entry='student' prefix='module.backbone.'", "entry='teacher' prefix='backbone.'"):
        assert place in str(caught.value)


@pytest.mark.parametrize(
    ("head", "children"),
    [(VICRegProjectionHead, True), (BarlowTwinsProjectionHead, True), (VICRegProjectionHead, False)],
)
def test_lightly_checkpoints(tmp_path, head, children):
    """Its examples' module, saved by the Trainer they use, and one whose backbone keeps its names."""
    import pytorch_lightning as pl

    class Example(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.backbone = headless_resnet()
            if children:
                self.backbone = nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])
            self.projection_head = head(512, 32, 24)

        def forward(self, images):
            return self.projection_head(self.backbone(images).flatten(start_dim=1))

        def training_step(self, batch, batch_index):
            return self(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.06)

    model = Example()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGES), batch_size=3)
    trainer = tiny_trainer(tmp_path, pl.Trainer, max_epochs=1)
    trainer.fit(model, data)
    file = str(tmp_path / "last.ckpt")
    trainer.save_checkpoint(file)
    given = {**RESNET, "prefix": "backbone.", **({"layout": "children"} if children else {})}
    agree(WeightsFile(file, **given), nn.Sequential(model.backbone, nn.Flatten()))
    agree(WeightsFile(file, **given, entry="state_dict"), nn.Sequential(model.backbone, nn.Flatten()))
    agree(WeightsFile(file, **given, projector_prefix="projection_head.layers."), model)
    with pytest.raises(ValueError, match=r"layout='children' is for ResNets.* is a VisionTransformer"):
        WeightsFile(file, **VIT, layout="children").load()


@pytest.mark.parametrize("backbone", ["backbone", "encoder"])
def test_solo_learn_checkpoints(tmp_path, backbone):
    """Lightning's, with an online classifier and DINO's teacher; earlier versions call the backbone an encoder."""

    class Method(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module(backbone, headless_resnet())
            self.classifier = nn.Linear(512, 10)
            self.projector = mlp(512, 32, 32, 24, last_bias=True)
            self.add_module(f"momentum_{backbone}", headless_resnet())
            self.momentum_head = DinoHead(512)

    model, file = scrambled(Method()), str(tmp_path / "vicreg-ep=3.ckpt")
    torch.save({"epoch": 3, "global_step": 9, "state_dict": model.state_dict(), "optimizer_states": [{}]}, file)
    student, teacher = model.get_submodule(backbone), model.get_submodule(f"momentum_{backbone}")
    student_file = {"file": file, **RESNET, "prefix": f"{backbone}."}
    agree(WeightsFile(**student_file), student)
    agree(WeightsFile(**student_file, projector_prefix="projector."), nn.Sequential(student, model.projector))
    head = {"projector_prefix": "momentum_head.mlp.", "activation": "gelu", "normalize": True}
    expected = nn.Sequential(teacher, model.momentum_head.mlp, Normalize())
    agree(WeightsFile(file, **RESNET, prefix=f"momentum_{backbone}.", **head), expected)


@pytest.mark.parametrize("averaged", [False, True])
def test_checkpoints_of_timm_training(tmp_path, averaged):
    """Written by the class that its training script saves with; model_best.pth.tar is last.pth.tar at its best."""
    model = timm.create_model("resnet10t", num_classes=5)
    average = ModelEmaV3(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(IMAGES).square().mean().backward()
    optimizer.step()
    scrambled(model), scrambled(average.module, 1)
    saver = CheckpointSaver(
        model,
        optimizer,
        Namespace(model="resnet10t", lr=0.1, mean=None, workers=4),
        average if averaged else None,
        NativeScaler(device="cpu"),
        checkpoint_dir=str(tmp_path),
    )
    saver.save_checkpoint(0, metric=12.5)
    model.reset_classifier(0)
    average.module.reset_classifier(0)
    given = {"architecture": "resnet10t", "leave_out": ["fc"]}
    for name in ("model_best.pth.tar", "last.pth.tar"):
        file = str(tmp_path / name)
        agree(WeightsFile(file, **given, entry="state_dict"), model)
        if averaged:
            agree(WeightsFile(file, **given, entry="state_dict_ema"), average.module)
            with pytest.raises(ValueError, match=r"'state_dict' .*'state_dict_ema' .*name one as entry\. They match"):
                WeightsFile(file, "resnet10t").load()
        else:
            agree(WeightsFile(file, **given), model)


def test_timm_models_and_their_checkpoints(tmp_path):
    original = scrambled(timm.create_model("resnet10t", num_classes=5))
    file = str(tmp_path / "model.safetensors")
    save_file(original.state_dict(), file)
    with pytest.raises(ValueError, match=r"2 unexpected: fc.bias, fc.weight.* match with .*leave_out=\['fc'\]"):
        WeightsFile(file, "resnet10t").load()
    original.reset_classifier(0)
    agree(WeightsFile(file, "resnet10t", leave_out=["fc"]), original)
    with pytest.raises(ValueError, match=r"leave_out=\['head'\] names no keys"):
        WeightsFile(file, "resnet10t", leave_out=["head"]).load()

    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, depth=2)
    torch.manual_seed(0)
    agree(TimmModel("vit_tiny_patch16_224", options={"img_size": 32, "depth": 2}), network)
    half = (0.5, 0.5, 0.5)
    shown = TimmModel("vit_tiny_patch16_224", options={"img_size": 32, "depth": 2}).load().preprocessing
    assert shown == Preprocessing(32, half, half, "bicubic")
    assert TimmModel("resnet10t.c3_in1k").load().preprocessing == Preprocessing(176, interpolation="bicubic")
    assert TimmModel("resnet10t", preprocessing=Preprocessing(40)).load().preprocessing == Preprocessing(40)
    with pytest.raises(ValueError, match=r"timm's 'resnet10t' does not take the options \{'img_size': 64\}"):
        TimmModel("resnet10t", options={"img_size": 64}).load()
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet10'; did you mean .*'resnet10t'"):
        TimmModel("resnet10").load()
    with pytest.raises(ValueError, match=r"timm cannot give 'resnet10t.foo': .* weights: resnet10t.c3_in1k"):
        TimmModel("resnet10t.foo", pretrained=True).load()


def test_torchvision_models(tmp_path, monkeypatch):
    """Published weights lie where torch.hub keeps what it has downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    original = scrambled(torchvision.models.resnet18())
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    kept = tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[2]
    kept.parent.mkdir(parents=True)
    torch.save(original.state_dict(), kept)
    original.fc = nn.Identity()
    agree(TorchvisionModel("resnet18", "DEFAULT"), original)
    assert TorchvisionModel("resnet18", "DEFAULT").load().preprocessing == Preprocessing(224)
    assert TorchvisionModel("resnet18").load().preprocessing is None
    with pytest.raises(ValueError, match=r"no weights='IMAGENET1K_V9'; it has IMAGENET1K_V1, DEFAULT"):
        TorchvisionModel("resnet18", "IMAGENET1K_V9").load()
    with pytest.raises(ValueError, match=r"unknown backbone 'torchvision/resnet19'; did you mean .*'resnet1"):
        TorchvisionModel("resnet19", "DEFAULT").load()

    torch.save(Evil(tmp_path / "owned"), kept)
    with pytest.raises(ValueError, match=r"torchvision resnet18: .* which is refused: \S*open"):
        TorchvisionModel("resnet18", "DEFAULT").load()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("distributed", [False, True])
@pytest.mark.parametrize("checkpoint", [False, True], ids=["weights", "checkpoint"])
def test_open_clip_checkpoints(tmp_path, caplog, distributed, checkpoint):
    model, tokenizer = build_clip("dejavu-tiny")
    scrambled(model)
    state = (DistributedDataParallel(model) if distributed else model).state_dict()
    file = str(tmp_path / "epoch_3.pt")
    optimizer = torch.optim.AdamW(model.parameters()).state_dict()
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": optimizer} if checkpoint else state, file)
    caplog.clear()
    loaded = OpenClipModel("dejavu-tiny", file).load()
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not warnings, "open_clip would tell of random weights"
    images, captions = torch.randn(2, 3, 48, 48), ["a cat", "two dogs and a red car"]
    with torch.no_grad():
        texts = nn.functional.normalize(model.encode_text(tokenizer(captions)), dim=1)
        pictures = nn.functional.normalize(model.encode_image(images), dim=1)
    loaded.module.eval()
    assert texts.std() > 1e-3
    with torch.no_grad():
        assert torch.equal(loaded.module.encode_text(captions), texts)
        assert torch.equal(loaded.module.encode_image(images), pictures)
    assert torch.equal(embedded(OpenClipModel("dejavu-tiny", file), images), pictures)
    assert loaded.preprocessing.image_size == 48
    assert loaded.preprocessing.mean[0] == 0.48145466
    assert (loaded.preprocessing.interpolation, loaded.preprocessing.resize_mode) == ("bicubic", "shortest")


def test_open_clip_errors(tmp_path, caplog):
    OpenClipModel("dejavu-tiny").load()
    assert "Model initialized randomly" in caplog.text
    with pytest.raises(ValueError, match=r"unknown CLIP model 'ViT-B-31'; did you mean"):
        OpenClipModel("ViT-B-31", "laion2b_s34b_b79k").load()
    with pytest.raises(ValueError, match=r"ViT-B-32 has no pretrained='laion3b'.*its tags: .*laion2b_s34b_b79k"):
        OpenClipModel("ViT-B-32", "laion3b").load()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent.pt"):
        OpenClipModel("dejavu-tiny", str(tmp_path / "absent.pt")).load()
    torch.save(headless_resnet().state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"do not match CLIP .*missing: .*is it this architecture\?"):
        OpenClipModel("dejavu-tiny", str(tmp_path / "other.pt")).load()


@pytest.fixture(scope="module")
def vision_folder(tmp_path_factory):
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=16
    )
    model = scrambled(ViTModel(config))
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    ViTImageProcessor(size=size, image_mean=[0.4] * 3, image_std=[0.3] * 3, resample=3).save_pretrained(folder)
    return folder, model


def test_hugging_face_models(vision_folder, tmp_path):
    folder, model = vision_folder
    with torch.no_grad():
        output = model(pixel_values=IMAGES)
    tokens = output.last_hidden_state
    assert tokens.std() > 1e-3
    expected = {"first_token": tokens[:, 0], "mean_token": tokens.mean(dim=1), "pooler": output.pooler_output}
    for embedding, value in expected.items():
        assert torch.equal(embedded(HuggingFaceModel(str(folder), embedding)), value)
    shown = HuggingFaceModel(str(folder)).load().preprocessing
    assert shown == Preprocessing(32, (0.4, 0.4, 0.4), (0.3, 0.3, 0.3), "bicubic")

    bare = type(model)(model.config, add_pooling_layer=False)
    bare.save_pretrained(tmp_path)
    assert HuggingFaceModel(str(tmp_path)).load().preprocessing is None
    with pytest.raises(ValueError, match=r"lacks weights of its ViTModel: pooler.*choose embedding='first_token'"):
        HuggingFaceModel(str(tmp_path), "pooler").load()
    with pytest.raises(ValueError, match="cannot be loaded by transformers"):
        HuggingFaceModel(str(tmp_path / "absent")).load()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # x of [0, 255] becomes (x / 127.5 - 0.4) / 0.3: of x / 255, half the mean and half the std.
        ({"rescale_factor": 1 / 127.5}, Preprocessing(32, (0.2, 0.2, 0.2), (0.15, 0.15, 0.15), "bicubic")),
        ({"do_rescale": False}, Preprocessing(32, (0.4 / 255,) * 3, (0.3 / 255,) * 3, "bicubic")),
        ({"do_normalize": False}, Preprocessing(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic")),
        ({"resample": 2}, Preprocessing(32, (0.4, 0.4, 0.4), (0.3, 0.3, 0.3), "bilinear")),
        ({"resample": 0}, "resample=0"),
        ({"size": {"height": 32, "width": 64}}, "'width': 64"),
    ],
)
def test_processors_of_hugging_face(vision_folder, tmp_path, settings, expected):
    shutil.copytree(vision_folder[0], tmp_path / "vit")
    file = tmp_path / "vit" / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    model = HuggingFaceModel(str(tmp_path / "vit"))
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=f"{expected}.*of its processor are not understood; give preprocessing"):
            model.load()
        return
    shown = model.load().preprocessing
    assert shown.mean == pytest.approx(expected.mean)
    assert shown.std == pytest.approx(expected.std)
    assert (shown.image_size, shown.interpolation) == (expected.image_size, expected.interpolation)


def test_hugging_face_models_of_other_kinds(tmp_path):
    from transformers import CLIPConfig, CLIPModel, ResNetConfig, ResNetModel

    network = scrambled(ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])))
    network.save_pretrained(tmp_path / "resnet")
    with torch.no_grad():
        expected = network(pixel_values=IMAGES).pooler_output[:, :, 0, 0]
    assert torch.equal(embedded(HuggingFaceModel(str(tmp_path / "resnet"), "pooler")), expected)
    with pytest.raises(ValueError, match=r"ResNetModel gives \(3, 16, .* no tokens .* choose embedding='pooler'"):
        embedded(HuggingFaceModel(str(tmp_path / "resnet")))
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = CLIPConfig(text_config={**small, "vocab_size": 99}, vision_config={**small, "image_size": 32})
    CLIPModel(config).save_pretrained(tmp_path / "clip")
    with pytest.raises(ValueError, match="is a model of pictures and texts; open_clip loads such"):
        HuggingFaceModel(str(tmp_path / "clip")).load()


def test_projectors_are_rebuilt_from_their_weights():
    layers = [nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6, affine=False), nn.GELU(), nn.Linear(6, 4)]
    original = scrambled(nn.Sequential(*layers, nn.BatchNorm1d(4)))
    rebuilt = rebuild_projector(original.state_dict(), "gelu", "file").eval()
    rebuilt.load_state_dict(original.state_dict())
    assert str(rebuilt) == str(original)
    features = torch.randn(5, 8)
    assert torch.equal(rebuilt(features), original(features))
    with_dropout = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 4))
    with pytest.raises(ValueError, match=r"at position 2 is neither .* \(it has no tensors\)"):
        rebuild_projector(with_dropout.state_dict(), "relu", "file")
    with pytest.raises(ValueError, match=r"at position 0 is neither .* \(it has \['bias', 'weight'\]\)"):
        rebuild_projector(nn.Sequential(nn.LayerNorm(8)).state_dict(), "relu", "file")


def test_torch_script_files(tmp_path):
    network = scrambled(build_network())
    for name, program in (
        ("traced", torch.jit.trace(network, IMAGES)),
        ("scripted", torch.jit.script(network)),
        ("frozen", torch.jit.freeze(torch.jit.script(network))),
    ):
        program.save(str(tmp_path / name))
        agree(TorchScriptFile(str(tmp_path / name)), network)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"weights.pt is no TorchScript file"):
        TorchScriptFile(str(tmp_path / "weights.pt")).load()
    with pytest.raises(ValueError, match=r"traced: a TorchScript file, not weights; name it as TorchScriptFile"):
        WeightsFile(str(tmp_path / "traced"), **RESNET).load()
    with pytest.raises(FileNotFoundError, match="there is no file"):
        TorchScriptFile(str(tmp_path / "absent")).load()


def test_exported_files(tmp_path):
    network = scrambled(build_network())
    free, fixed = str(tmp_path / "free.pt2"), str(tmp_path / "fixed.pt2")
    torch.export.save(torch.export.export(network, (IMAGES,), dynamic_shapes=({0: torch.export.Dim("batch")},)), free)
    torch.export.save(torch.export.export(network, (IMAGES,)), fixed)
    agree(ExportedFile(free), network, torch.cat([IMAGES, IMAGES]))
    agree(ExportedFile(fixed), network)
    with pytest.raises(ValueError, match=r"for images of shape \(3, 3, 32, 32\), got \(6, 3, 32, 32\)"):
        embedded(ExportedFile(fixed), torch.cat([IMAGES, IMAGES]))
    with pytest.raises(ValueError, match=r"shape \('any', 3, 32, 32\), got \(3, 3, 16, 16\)"):
        embedded(ExportedFile(free), IMAGES[..., :16, :16])
    torch.save(network.state_dict(), tmp_path / "weights.pt2")
    with pytest.raises(ValueError, match="is no exported program"):
        ExportedFile(str(tmp_path / "weights.pt2")).load()


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ([nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)], "batch_norm"),
        ([nn.Conv2d(3, 4, 3), nn.Dropout(0.5)], "dropout"),
        ([nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.BatchNorm2d(4), nn.Dropout(1.0)], "batch_norm, dropout"),
        ([nn.Conv2d(3, 4, 3), nn.Dropout2d(0.5)], "feature_dropout|dropout|bernoulli"),
        ([nn.Conv2d(3, 4, 3), nn.Dropout(0.5, inplace=True)], "dropout_?"),
        ([nn.Conv2d(3, 4, 3), nn.AlphaDropout(0.5)], "alpha_dropout"),
        ([nn.Conv2d(3, 4, 3), nn.RReLU()], "rrelu"),
        ([StochasticDepth(0.5, "row")], "bernoulli_?"),
        # The same in both modes:
        ([nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.Dropout(0.0)], ""),
        ([nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)], ""),
    ],
)
def test_programs_of_training_mode_are_refused(tmp_path, layers, named):
    """Put into evaluation mode they stay in training mode: embeddings would depend on their batch, or on chance."""
    network = nn.Sequential(*layers, nn.Flatten())
    traced, exported = str(tmp_path / "traced.pt"), str(tmp_path / "exported.pt2")
    for mode in (False, True):
        network.train(mode)
        torch.jit.trace(network, IMAGES, check_trace=False).save(traced)
        torch.export.save(torch.export.export(network, (IMAGES,)), exported)
        torch.jit.script(network).save(str(tmp_path / "scripted.pt"))
        agree(TorchScriptFile(str(tmp_path / "scripted.pt")), network)  # which has both modes
        for model, verb in ((TorchScriptFile(traced), "traced"), (ExportedFile(exported), "exported")):
            if not (mode and named):
                agree(model, network)
                continue
            with pytest.raises(ValueError, match=f"was {verb} in training mode, which its ({named}).* cannot leave"):
                model.load()


class DropsInTraining(nn.Module):
    def forward(self, images):
        if self.training:
            images = nn.functional.dropout(images, 0.5)
        return images.flatten(1)


def test_what_a_scripted_program_does_in_training_alone_is_no_training_mode(tmp_path):
    torch.jit.script(DropsInTraining()).save(str(tmp_path / "scripted.pt"))
    agree(TorchScriptFile(str(tmp_path / "scripted.pt")), DropsInTraining())


def test_callables(tmp_path):
    network, file = scrambled(build_network(4)), str(tmp_path / "weights.pt")
    torch.save({"net": DistributedDataParallel(network).state_dict()}, file)
    build = {"build": "tests.published:build_network", "options": {"width": 4}}
    agree(CallableModel(**build, file=file, prefix="module."), network)
    assert embedded(CallableModel(**build, encode="0")).shape == (3, 4, 15, 15)
    for name, message in (
        ("tests.published", "must be 'module:callable', got 'tests.published'"),
        ("tests.published:absent", "tests.published has no callable 'absent'"),
        ("no_such_module:build", "No module named 'no_such_module'; .* in PYTHONPATH"),
        ("tests.published:build_nothing", "returned a list, expected an nn.Module"),
    ):
        with pytest.raises(ValueError, match=message):
            CallableModel(name).load()
    with pytest.raises(ValueError, match="of a file of weights, and file is not given"):
        CallableModel(**build, prefix="module.")


def test_keys_that_do_not_match_are_listed_with_what_would(tmp_path):
    file = str(tmp_path / "checkpoint.pth")
    save_joint_embedding(scrambled(JointEmbedding(True)), file)
    with pytest.raises(ValueError, match=r"do not match ResNet") as caught:
        WeightsFile(file, **RESNET).load()
    for part in ("120 missing: bn1.bias", "unexpected: module.backbone.bn1.bias", "prefix='module.backbone.'"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match=r"missing: layer1.0.bn3.*is it this architecture\?"):
        WeightsFile(file, "torchvision/resnet50", prefix="module.backbone").load()
    with pytest.raises(ValueError, match=r"has no state dict entry='teacher'; it has 'model' \(\d+ tensors\)"):
        WeightsFile(file, **RESNET, entry="teacher").load()
    with pytest.raises(ValueError, match=r"'conv1.weight' is not of a Sequential"):
        WeightsFile(file, **RESNET, prefix="module.backbone", projector_prefix="module.backbone").load()
    told = r"projector_prefix='module.head'.*there are no weights; prefixes .* projector: 'module.projector\.'$"
    with pytest.raises(ValueError, match=told):
        WeightsFile(file, **RESNET, prefix="module.backbone", projector_prefix="module.head").load()
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        WeightsFile(str(tmp_path / "empty.pth"), **RESNET).load()


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("before", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model."])
def test_open_clip_files_of_wrapped_models(tmp_path, before):
    file = str(tmp_path / "epoch_1.pt")
    model, _ = build_clip("dejavu-tiny")
    scrambled(model)
    state = {f"{before}{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state, "ema": {"other": torch.ones(1)}}, file)
    with pytest.raises(ValueError, match=r"several state dicts.*name one as entry"):
        OpenClipModel("dejavu-tiny", file).load()
    given = {"entry": "state_dict"}
    if before == "model.":
        with pytest.raises(ValueError, match=r"They match with entry='state_dict' prefix='model\.'"):
            OpenClipModel("dejavu-tiny", file, **given).load()
        given["prefix"] = "model."
    found = OpenClipModel("dejavu-tiny", file, **given).load().module.model.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_is_unpickled(tmp_path, legacy):
    file, marker = str(tmp_path / "evil.pth"), tmp_path / "owned"
    content = {"model": headless_resnet().state_dict(), "args": Evil(marker)}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    for model in (WeightsFile(file, **RESNET), OpenClipModel("dejavu-tiny", file)):
        with pytest.raises(ValueError, match=r"evil.pth: .* which is refused: \S*open\."):
            model.load()
    assert not marker.exists()
    torch.load(file, weights_only=False)
    assert marker.exists(), "the file does what it is made to do"


class Settings:
    pass


@pytest.mark.parametrize("legacy", [False, True])
def test_what_a_file_names_is_neither_imported_nor_made(tmp_path, legacy):
    file, options = str(tmp_path / "settings.pth"), {"_use_new_zipfile_serialization": not legacy}
    content = {"model": headless_resnet().state_dict(), "kinds": [Settings, build_network]}
    torch.save(content, file, **options)
    assert [kind.__name__ for kind in read_torch_file(file)["kinds"]] == [
        "tests.pretrained.test_pretrained.Settings",
        "tests.published.build_network",
    ]
    assert Settings not in read_torch_file(file)["kinds"]
    WeightsFile(file, **RESNET).load()
    torch.save({**content, "made": Settings()}, file, **options)
    made = read_torch_file(file)["made"]
    assert type(made).__name__ == "tests.pretrained.test_pretrained.Settings"
    assert not isinstance(made, Settings)
    WeightsFile(file, **RESNET).load()
    torch.save({**content, "module": nn.Linear(2, 2)}, file, **options)
    if legacy:
        with pytest.raises(ValueError, match=r"settings\.pth: .* which is refused: a whole module"):
            read_torch_file(file)
    else:
        assert not vars(read_torch_file(file)["module"])


def test_nothing_in_an_exported_file_is_unpickled(tmp_path):
    """torch falls back to unpickling where it cannot read an archive's example inputs."""
    import io
    import zipfile

    good, bad, marker = tmp_path / "good.pt2", tmp_path / "bad.pt2", tmp_path / "owned"
    torch.export.save(torch.export.export(build_network().eval(), (IMAGES,)), good)
    pickled = io.BytesIO()
    torch.save((Evil(marker),), pickled)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            inputs = "sample_inputs" in name or "example_inputs" in name  # as torch 2.11 and 2.6 call them
            target.writestr(name, pickled.getvalue() if inputs else source.read(name))
    with pytest.raises(ValueError, match=r"bad.pt2: .* refused: \S*open\."):
        ExportedFile(str(bad)).load()
    assert not marker.exists()


def test_a_file_whose_code_names_the_same_layers_otherwise_is_read_in_order(tmp_path):
    torch.manual_seed(2)
    network = build_backbone("small_resnet", widths=(8, 8))
    renamed = {
        f"_layer{row}.{key.rpartition('.')[2]}": value for row, (key, value) in enumerate(network.state_dict().items())
    }
    torch.save({**renamed, "_fc.weight": torch.zeros(4, 8)}, tmp_path / "other.pth")
    given = {"architecture": "small_resnet", "options": {"widths": (8, 8)}, "layout": "order"}
    agree(WeightsFile(str(tmp_path / "other.pth"), **given, leave_out=["_fc"]), network)
    with pytest.raises(ValueError, match=r"has 31 tensors, the module 30: name others by leave_out"):
        WeightsFile(str(tmp_path / "other.pth"), **given).load()
    swapped = dict(sorted(renamed.items(), key=lambda item: item[0].rpartition(".")[2]))
    torch.save(swapped, tmp_path / "swapped.pth")
    with pytest.raises(ValueError, match=r"in order, _layer2.bias \(8,\) would become 0.weight \(8, 3, 3, 3\)"):
        WeightsFile(str(tmp_path / "swapped.pth"), **given).load()
