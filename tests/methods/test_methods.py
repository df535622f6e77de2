"""Every method trains, states survive a resume, and settings reach where they should."""

import math

import pytest
import torch
from dejavu_lightning.callbacks import RandomState
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import BatchSizeFinder

from dejavu_lightning.cli.fit import fit
from dejavu_lightning.data import RandomViews
from dejavu_lightning.methods import BYOL, DINO, BarlowTwins, OptimizerConfig, SimCLR, Supervised, VICReg
from dejavu_lightning.models.heads import projector_layers
from tests.models import PLAIN, TINY_NETWORK, tiny_data, tiny_trainer

COMMON = {**TINY_NETWORK, "projector_widths": (16, 8)}
METHODS = {
    "vicreg": (VICReg, {}),
    "barlow_twins": (BarlowTwins, {}),
    "simclr": (SimCLR, {}),
    "byol": (BYOL, {"predictor_widths": (16,)}),
    "dino": (DINO, {"prototypes": 24, "teacher_warmup_epochs": 2}),
    "supervised": (Supervised, {"num_classes": 10}),
}


def build(name, **options):
    torch.manual_seed(0)
    method, own = METHODS[name]
    return method(**{**COMMON, **own, **options})


def multi_crop():
    plain = {"flip": 0.0, "jitter": 0.0, "grayscale": 0.0, **PLAIN}
    return [
        RandomViews(32, num_views=2, scale=(0.4, 1.0), **plain),
        RandomViews(16, num_views=3, scale=(0.1, 0.4), **plain),
    ]


def data_for(name):
    data = tiny_data()
    if name == "dino":
        data.views = torch.nn.ModuleList(multi_crop())
    return data


@pytest.mark.parametrize("name", METHODS)
def test_training_lowers_the_loss_and_resumes_exactly(name, tmp_path):
    losses = []

    class Watched(METHODS[name][0]):
        def log_loss(self, loss, batch_size):
            losses.append(float(loss.detach()))
            return loss

    def train(epochs, resume=None):
        torch.manual_seed(0)
        module = Watched(**{**COMMON, **METHODS[name][1]})
        trainer = tiny_trainer(tmp_path, max_epochs=8, callbacks=[RandomState()])
        trainer.callbacks.append(StopAfter(epochs))  # the schedules stay those of the whole training
        torch.manual_seed(1)
        trainer.fit(module, datamodule=data_for(name), ckpt_path=resume, weights_only=True if resume else None)
        return trainer, module

    whole = train(8)[1].state_dict()
    if name not in ("dino", "byol"):  # theirs moves with the teacher
        assert sum(losses[-4:]) < sum(losses[:4])
    trainer, stopped = train(3)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    assert any(not torch.equal(value, whole[key]) for key, value in stopped.state_dict().items())
    resumed = train(8, str(tmp_path / "stopped.ckpt"))[1].state_dict()
    # Teachers, centres and predictors are among the weights.
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key


class StopAfter(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def test_the_teacher_follows_by_the_momentum():
    module = build("byol", momentum=0.75)
    before = [parameter.clone() for parameter in module.teacher.parameters()]
    student = [*module.backbone.parameters(), *module.projector.parameters()]
    with torch.no_grad():
        for parameter in student:
            parameter.add_(1.0)
    module.update_teacher(0.75)
    for old, new in zip(before, module.teacher.parameters(), strict=True):
        assert torch.allclose(new, old + 0.25)  # a quarter of the way to old + 1
    assert not any(parameter.requires_grad for parameter in module.teacher.parameters())


def test_momentum_rises_along_a_cosine_to_one(tmp_path):
    seen = []

    class Watched(BYOL):
        def update_teacher(self, momentum):
            seen.append(momentum)
            super().update_teacher(momentum)

    trainer = tiny_trainer(tmp_path, max_epochs=2)
    trainer.fit(Watched(**{**COMMON, **METHODS["byol"][1]}), datamodule=tiny_data())
    # 40 pictures in batches of 20: 4 steps. 1 - 0.004 (cos(pi step / 4) + 1) / 2.
    assert seen == pytest.approx([1 - 0.004 * (math.cos(math.pi * step / 4) + 1) / 2 for step in range(4)])


def test_dino_holds_its_prototypes_and_warms_its_teacher(tmp_path):
    weights, temperatures = [], []

    class Watched(DINO):
        def on_train_epoch_end(self):
            weights.append(self.prototypes.weight.detach().clone())
            temperatures.append(self.current_teacher_temperature())

    torch.manual_seed(0)
    module = Watched(
        **COMMON,
        prototypes=24,
        teacher_warmup_epochs=3,
        teacher_temperature=(0.04, 0.07),
        freeze_prototypes_epochs=2,
    )
    start = module.prototypes.weight.detach().clone()
    tiny_trainer(tmp_path, max_epochs=4).fit(module, datamodule=data_for("dino"))
    assert torch.equal(weights[0], start)
    assert torch.equal(weights[1], start)
    assert not torch.equal(weights[2], start)
    assert temperatures == pytest.approx([0.04, 0.055, 0.07, 0.07])
    assert module.loss.center.abs().sum() > 0


def test_dino_shows_the_teacher_only_large_views():
    module = build("dino").train()
    seen = {"student": [], "teacher": []}
    module.backbone.register_forward_hook(lambda _, images, __: seen["student"].append(tuple(images[0].shape)))
    module.teacher["backbone"].register_forward_hook(
        lambda _, images, __: seen["teacher"].append(tuple(images[0].shape))
    )
    views = [torch.randn(4, 3, 32, 32)] * 2 + [torch.randn(4, 3, 16, 16)] * 3
    module.log_loss = lambda loss, batch_size: loss
    module.current_teacher_temperature = lambda: 0.05
    assert torch.isfinite(module.training_step({"views": views}, 0))
    assert seen == {"student": [(8, 3, 32, 32), (12, 3, 16, 16)], "teacher": [(8, 3, 32, 32)]}


def test_dino_trains_a_vision_transformer(tmp_path):
    module = build(
        "dino",
        backbone="vit_tiny_patch16_224",
        backbone_options={
            "img_size": 32,
            "patch_size": 8,
            "embed_dim": 24,
            "depth": 2,
            "num_heads": 2,
            "dynamic_img_size": True,
        },
    )
    before = module.backbone.blocks[0].attn.qkv.weight.detach().clone()
    tiny_trainer(tmp_path).fit(module, datamodule=data_for("dino"))
    assert not torch.equal(before, module.backbone.blocks[0].attn.qkv.weight)
    assert module.encode(torch.zeros(2, 3, 32, 32)).shape == (2, 8)


@pytest.mark.parametrize("name", METHODS)
def test_the_attacked_embedding_is_a_choice(name):
    images = torch.randn(3, 3, 32, 32)
    module = build(name).eval()
    assert module.encode(images).shape == (3, 8)
    layers = module.encode_layers(images)
    assert {key: value.shape[1] for key, value in layers.items()} == {
        "backbone": 8,
        "projector.1": 16,
        "projector.2": 8,
    }
    module.embedding = "backbone"
    assert torch.equal(module.encode(images), layers["backbone"])
    module.embedding = "projector.1"
    assert torch.equal(module.encode(images), layers["projector.1"])
    if name in ("byol", "dino"):
        for module.embedding in ("projector", "projector.1", "backbone"):
            assert torch.equal(module.encode_teacher(images), module.encode(images))  # a copy at the start


def test_a_layer_that_stands_twice_in_a_projector_works_twice():
    torch.manual_seed(0)
    activation = torch.nn.ReLU(inplace=True)
    layers = torch.nn.Sequential(
        torch.nn.Linear(4, 6), activation, torch.nn.Linear(6, 6), activation, torch.nn.Linear(6, 2)
    )
    features = torch.randn(3, 4)
    found = projector_layers(features, layers)
    assert torch.equal(found["projector.3"], layers(features))
    assert list(projector_layers(features, layers, "projector.1")) == ["backbone", "projector.1"]


@pytest.mark.parametrize("optimizer", ["lars", "adamw"])
def test_one_dimensional_tensors_have_no_decay_and_no_adaptation(optimizer, tmp_path):
    module = build("vicreg", optimizer=OptimizerConfig(optimizer, base_lr=0.1, weight_decay=0.01, warmup_epochs=0))
    tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=tiny_data())
    for group in module.optimizers().optimizer.param_groups:
        dimensions = {min(parameter.ndim, 2) for parameter in group["params"]}
        assert dimensions == ({1} if group["weight_decay"] == 0 else {2})


@pytest.mark.parametrize("weight_decay", [0.0, 1e-9])
def test_lars_steps_one_dimensional_tensors_like_plain_momentum(weight_decay):
    """No trust ratio: a bias moves by lr * gradient, a matrix by lr * trust * |w| / |g| * gradient."""
    module = build("vicreg", optimizer=OptimizerConfig("lars", base_lr=0.1, weight_decay=weight_decay))
    norm, kernel = module.backbone[1].weight, module.backbone[0].weight
    optimizer = module.build_optimizer(lr=0.5)
    before = norm.detach().clone(), kernel.detach().clone()
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    norm.grad.fill_(0.3)
    kernel.grad.fill_(0.3)
    ratio = 0.001 * before[1].norm() / kernel.grad.norm()
    optimizer.step()
    assert torch.allclose(before[0] - norm, torch.full_like(norm, 0.5 * 0.3))
    assert torch.allclose(before[1] - kernel, 0.5 * ratio * 0.3 * torch.ones_like(kernel), rtol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build("byol", projector_widths=()), "projector_widths is empty"),
        (lambda: build("byol", momentum=1.5), "momentum must lie in \\[0, 1\\], got 1.5"),
        (lambda: build("vicreg", backbone="resnt50"), "unknown backbone 'resnt50'; did you mean 'resnet50'"),
        (
            lambda: build("vicreg", embedding="head"),
            "embedding must be one of projector, backbone, projector.1, projector.2; got 'head'",
        ),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("supervised", {"num_classes": 4}, r"label \d is beyond model.num_classes=4"),
        ("dino", {"teacher_warmup_epochs": 30}, "teacher_warmup_epochs=30 is longer than the training of 2 epochs"),
        ("vicreg", {"optimizer": OptimizerConfig("adamw", warmup_epochs=10)}, "warmup_epochs=10 takes 20 of the 4"),
    ],
)
def test_bad_training(name, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        tiny_trainer(tmp_path).fit(build(name, **options), datamodule=data_for(name))


def test_two_view_methods_refuse_multi_crop(tmp_path):
    data = data_for("dino")
    with pytest.raises(ValueError, match=r"VICReg compares 2 views of each picture, data\.views makes 5"):
        tiny_trainer(tmp_path).fit(build("vicreg"), datamodule=data)


def test_a_batch_of_one_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="batch_size=1: batch normalisation and the losses' statistics need at least 2"
    ):
        tiny_trainer(tmp_path).fit(build("vicreg"), datamodule=tiny_data(batch_size=1))


def test_views_that_are_not_smaller_after_the_large_ones_are_refused():
    views = [torch.randn(4, 3, side, side) for side in (32, 16, 32)]
    with pytest.raises(ValueError, match=r"large views first, then smaller ones; .* sides \[32, 16, 32\]"):
        build("dino").training_step({"views": views}, 0)


def test_16_bit_weights_are_refused_where_a_teacher_follows(tmp_path):
    with pytest.raises(ValueError, match=r"precision='bf16-true' rounds the teacher's .* use 'bf16-mixed'"):
        tiny_trainer(tmp_path, precision="bf16-true").fit(build("byol"), datamodule=tiny_data())


def test_warm_up_is_in_epochs_also_where_steps_are_limited(tmp_path):
    """2 steps an epoch, 3 epochs of warm-up: the rate is highest after 6 steps."""
    rates = []

    class Watched(VICReg):
        def on_train_batch_start(self, batch, index):
            rates.append(self.optimizers().param_groups[0]["lr"])

    settings = {**COMMON, "optimizer": OptimizerConfig("adamw", base_lr=0.05, warmup_epochs=3)}
    tiny_trainer(tmp_path, max_epochs=-1, max_steps=10).fit(Watched(**settings), datamodule=tiny_data())
    assert len(rates) == 10
    assert rates.index(max(rates)) == 6
    with pytest.raises(ValueError, match=r"set trainer\.max_epochs or trainer\.max_steps"):
        tiny_trainer(tmp_path, max_epochs=-1).fit(build("vicreg"), datamodule=tiny_data())


def test_compile_layout_and_precision_reach_the_network(tmp_path):
    seen = []
    module = VICReg(**COMMON, compile=True)
    module.configure_model()
    assert module.backbone._compiled_call_impl is not None
    assert module.backbone[0].weight.is_contiguous(memory_format=torch.channels_last)
    plain = VICReg(**COMMON, channels_last=False)
    plain.backbone.register_forward_hook(lambda _, __, features: seen.append(features.dtype))
    assert plain.backbone._compiled_call_impl is None
    assert plain.backbone[0].weight.is_contiguous()
    tiny_trainer(tmp_path, precision="bf16-mixed", max_epochs=1).fit(plain, datamodule=tiny_data())
    assert set(seen) == {torch.bfloat16}


def test_an_unknown_method_is_told_what_there_is():
    from dejavu_lightning import methods

    with pytest.raises(AttributeError, match="no method 'VICRge'; did you mean VICReg"):
        _ = methods.VICRge


@pytest.mark.parametrize("form", ["--model VICRge", "--model=VICRge", "--model.class_path VICRge", "file"])
def test_a_misspelt_method_is_told_what_there_is_on_the_command_line(form, tmp_path):
    if form == "file":
        path = tmp_path / "model.yaml"
        path.write_text("model: {class_path: dejavu_lightning.methods.VICRge}")
        form = f"--config {path}"
    with pytest.raises(SystemExit, match="error: there is no method 'VICRge'; did you mean VICReg"):
        fit(["fit", *form.split()])


def test_a_batch_that_is_changed_after_the_learning_rate_was_scaled_is_refused(tmp_path):
    finder = BatchSizeFinder(max_trials=1, steps_per_trial=1, init_val=4)
    with pytest.raises(ValueError, match=r"was scaled for a global batch of \d+, but that of the training is \d+"):
        tiny_trainer(tmp_path, callbacks=[finder]).fit(build("vicreg"), datamodule=tiny_data())


def test_a_trial_run_has_no_warm_up(tmp_path):
    module = build("vicreg", optimizer=OptimizerConfig("adamw", base_lr=0.256, warmup_epochs=20))
    trainer = tiny_trainer(tmp_path, fast_dev_run=True)
    trainer.fit(module, datamodule=tiny_data())
    assert trainer.global_step == 1
    assert trainer.optimizers[0].param_groups[0]["initial_lr"] == module.scaled_lr == 0.02  # 0.256 * 20 / 256
