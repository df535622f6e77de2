"""Fast: images per second of training steps, against others' code and the bare network in the same run."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import time
from collections.abc import Callable
from typing import Any

import open_clip
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from dejavu_lightning.methods import CLIP, DINO, ClipOptimizerConfig, OptimizerConfig, VICReg
from gpu.checks import Section, Setting, Skip, in_turns
from gpu.disk import CHECKS as DISK
from gpu.steps import Profile, bare_rate, encode_rate, fit_rate, flops

CHECKS = Section()
STEP_GOAL = 1.1  # of our step over the bare network's
WARMUP, STEPS, TURNS = 4, 8, 2
VIT = {"backbone": "vit_small_patch16_224", "backbone_options": {"dynamic_img_size": True}}
RESNET = {"backbone": "torchvision/resnet50"}


@CHECKS.check(seconds=20)
def peak(setting: Setting, found: dict[str, Any]) -> None:
    """What the card can do: a large bf16 product, a large float32 product, a large copy."""
    side, again = setting.pick((8192, 20), (256, 2))

    def seconds(run: Callable[[], Any]) -> float:
        for _ in range(3):
            run()
        setting.synchronize()
        start = time.perf_counter()
        for _ in range(again):
            run()
        setting.synchronize()
        return (time.perf_counter() - start) / again

    for name, kind in (("bf16", torch.bfloat16), ("float32", torch.float32)):
        a, b = (torch.randn(side, side, device=setting.device).to(kind) for _ in range(2))
        found[f"{name} TFLOP/s"] = 2 * side**3 / seconds(lambda a=a, b=b: a @ b) / 1e12  # type: ignore[misc]
    source = torch.randn(side * side * 8, device=setting.device)
    target = torch.empty_like(source)
    found["copy TB/s, read and written"] = 2 * source.nbytes / seconds(lambda: target.copy_(source)) / 1e12
    setting.kept["peak"] = found["bf16 TFLOP/s"]


def tiny_network(setting: Setting, network: dict[str, Any]) -> dict[str, Any]:
    return setting.pick(network, {"backbone": "small_resnet"})


def vicreg(setting: Setting, network: dict[str, Any], **options: Any) -> VICReg:
    torch.manual_seed(0)
    widths = setting.pick((8192, 8192, 8192), (64, 64))
    return VICReg(**common(setting, network), projector_widths=widths, **options)


def dino(setting: Setting, network: dict[str, Any], **options: Any) -> DINO:
    torch.manual_seed(0)
    widths, prototypes = setting.pick(((2048, 2048, 256), 65536), ((64, 32), 64))
    settings = {**common(setting, network), "projector_widths": widths, "prototypes": prototypes}
    return DINO(**settings, teacher_warmup_epochs=0, freeze_prototypes_epochs=0, **options)


def common(setting: Setting, network: dict[str, Any]) -> dict[str, Any]:
    optimizer = OptimizerConfig("adamw", base_lr=1e-5, warmup_epochs=0)
    return {**tiny_network(setting, network), "image_size": setting.pick(224, 32), "optimizer": optimizer}


def random_views(setting: Setting, size: int, sides: list[int]) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(size, 3, side, side, generator=draw).to(setting.device) for side in sides]


def ssl_step(setting: Setting, found: dict[str, Any], name: str, network: dict[str, Any]) -> None:
    """Steps of VICReg or DINO: this package's, lightly's, the bare network's."""
    large, small, size = setting.pick((224, 96, 128 if name == "vicreg" else 64), (32, 16, 8))
    sides = [large, large] + ([small] * 6 if name == "dino" else [])
    views = random_views(setting, size, sides)
    build = {"vicreg": vicreg, "dino": dino}[name]
    module: Any = build(setting, network)
    found |= {"batch": size, "views": "2 of 224 px" + (" and 6 of 96 px" if name == "dino" else "")}

    def outputs(count: int | None = None) -> list[Tensor]:
        part = [view[:count] for view in views]
        if name == "vicreg":
            return [module(view) for view in part]
        with torch.no_grad():
            module.teacher["prototypes"](module.project_teacher(torch.cat(part[:2])))
        groups = [torch.cat(part[:2]), torch.cat(part[2:])]
        return [module.prototypes(module.projector(torch.cat([module.features(group) for group in groups])))]

    batch = {"views": views, "label": torch.zeros(size, dtype=torch.int64), "id": [str(row) for row in range(size)]}
    sides_of: dict[str, Callable[[], float]] = {
        "ours": lambda: fit_rate(setting, module, batch, size, WARMUP, STEPS),
        "bare": lambda: bare_rate(setting, module, outputs, size, WARMUP, STEPS),
    }
    if importlib.util.find_spec("lightly") is None:
        found["lightly"] = "not installed: not compared"
    else:
        from training import Plain

        plain = Plain(name, build(setting, network))
        sides_of["lightly"] = lambda: fit_rate(setting, plain, (views,), size, WARMUP, STEPS)
    compare(setting, found, sides_of, flops(setting, module, lambda: outputs(4)) / 4)
    profiled(setting, found, lambda *more: fit_rate(setting, module, batch, size, 2, 3, *more))


def compare(setting: Setting, found: dict[str, Any], sides: dict[str, Callable[[], float]], per_picture: float) -> None:
    """Pictures per second of each side, their ratios, and the share of the card's peak."""
    rates = in_turns(sides, setting.pick(TURNS, 1))
    found |= {f"{name}, pictures/s": rate for name, rate in rates.items()}
    found |= {f"ours / {name}": rates["ours"] / rate for name, rate in rates.items() if name not in ("ours", "bare")}
    found["step over bare forward and backward"] = rates["bare"] / rates["ours"]
    found["goal"] = (
        f"at most {STEP_GOAL}: {'met' if found['step over bare forward and backward'] <= STEP_GOAL else 'missed'}"
    )
    found["GFLOP a picture"] = per_picture / 1e9
    if "peak" in setting.kept:
        found["share of bf16 peak"] = rates["ours"] * per_picture / 1e12 / setting.kept["peak"]
        found["bare: share of bf16 peak"] = rates["bare"] * per_picture / 1e12 / setting.kept["peak"]


def profiled(setting: Setting, found: dict[str, Any], fit: Callable[..., float]) -> None:
    """Add what the device was busy with; a profiler that does not work here is no fault of ours."""
    try:
        profile = Profile(setting, 2)
        fit(profile)
        found["what the steps spend"], found["device busy"] = profile.rows(3)
    except Exception as error:
        found["profile"] = f"{type(error).__name__}: {error}"[:200]


@CHECKS.check(seconds=45)
def vicreg_resnet50(setting: Setting, found: dict[str, Any]) -> None:
    """A VICReg step with ResNet-50 against lightly's loss and the bare network."""
    ssl_step(setting, found, "vicreg", RESNET)


@CHECKS.check(seconds=40)
def dino_vit(setting: Setting, found: dict[str, Any]) -> None:
    """A DINO step with ViT-S/16 against lightly's loss and the bare network."""
    ssl_step(setting, found, "dino", setting.pick(VIT, RESNET))


class OpenClipModule(LightningModule):
    """What a user of open_clip writes: its model, its loss, AdamW."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.criterion = model, open_clip.ClipLoss()

    def training_step(self, batch: Any, _: int) -> Tensor:
        loss: Tensor = self.criterion(*self.model(batch["image"], batch["tokens"]))
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 1e-5)


def clip_step(setting: Setting, found: dict[str, Any], name: str, size: int) -> None:
    """Steps of CLIP: this package's, open_clip's, the bare network's."""
    name, side, size = setting.pick((name, 224, size), ("dejavu-tiny", 48, 8))

    def build(**options: Any) -> CLIP:
        torch.manual_seed(0)
        return CLIP(model=name, optimizer=ClipOptimizerConfig(lr=1e-5, warmup_steps=2), **options)

    module, other = build(), OpenClipModule(build().model)
    words = [f"a picture of number {row}" for row in range(size)]
    batch = {"image": random_views(setting, size, [side])[0], "caption": words}
    batch["tokens"] = module.tokenizer(words).to(setting.device)
    found["batch"] = size

    def outputs(count: int | None = None) -> list[Tensor]:
        return [module.encode_image(batch["image"][:count]), module.encode_tokens(batch["tokens"][:count])]

    sides: dict[str, Callable[[], float]] = {
        "ours": lambda: fit_rate(setting, module, batch, size, WARMUP, STEPS),
        "open_clip": lambda: fit_rate(setting, other, batch, size, WARMUP, STEPS),
        "bare": lambda: bare_rate(setting, module, outputs, size, WARMUP, STEPS),
    }
    compare(setting, found, sides, flops(setting, module, lambda: outputs(4)) / 4)
    found["encoded in float32, pictures/s"] = encode_rate(
        setting, module, module.encode_image, batch["image"], WARMUP, STEPS
    )
    profiled(setting, found, lambda *more: fit_rate(setting, module, batch, size, 2, 3, *more))


@CHECKS.check(seconds=40)
def clip_vit(setting: Setting, found: dict[str, Any]) -> None:
    """A CLIP step with ViT-S/16 against open_clip's own and the bare network."""
    clip_step(setting, found, "ViT-S-16", 256)


CHECKS += DISK


@CHECKS.check(seconds=30)
def vicreg_vit(setting: Setting, found: dict[str, Any]) -> None:
    """A VICReg step with ViT-S/16 against lightly's loss and the bare network."""
    if setting.tiny:
        raise Skip("the same code as vicreg_resnet50 where both are small")
    ssl_step(setting, found, "vicreg", VIT)


@CHECKS.check(seconds=40)
def clip_resnet50(setting: Setting, found: dict[str, Any]) -> None:
    """A CLIP step with ResNet-50 against open_clip's own and the bare network."""
    if setting.tiny:
        raise Skip("the same code as clip_vit where both are small")
    clip_step(setting, found, "RN50", 192)


@CHECKS.check(seconds=40)
def dino_resnet50(setting: Setting, found: dict[str, Any]) -> None:
    """A DINO step with ResNet-50 against lightly's loss and the bare network."""
    if setting.tiny:
        raise Skip("the same code as dino_vit where both are small")
    ssl_step(setting, found, "dino", RESNET)


@CHECKS.check(seconds=90)
def compiled_step(setting: Setting, found: dict[str, Any]) -> None:
    """A VICReg step with ViT-S/16, then ResNet-50, compiled over uncompiled."""
    if not (shutil.which("cc") or shutil.which("gcc")):
        raise Skip("torch.compile needs a C compiler, there is none")
    if setting.tiny:
        raise Skip("the section right compiles; without a GPU there is no speed to compare")
    size, rows = 128, []
    views = random_views(setting, size, [224, 224])
    for name, network in (("ViT-S/16", VIT), ("ResNet-50", RESNET)):
        row: dict[str, Any] = {"network": name}
        for compiling in (False, True):
            module = vicreg(setting, network, compile=compiling)
            start = time.perf_counter()
            rate = fit_rate(setting, module, {"views": views}, size, WARMUP, STEPS)
            row["compiled, pictures/s" if compiling else "pictures/s"] = rate
            if compiling:
                row["seconds with compiling"] = time.perf_counter() - start
            del module
            gc.collect()
        rows.append(row | {"ratio": row["compiled, pictures/s"] / row["pictures/s"]})
        found["networks"] = rows
