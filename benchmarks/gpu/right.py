"""Right: what a GPU computes is what a CPU computes, and training on it keeps the package's promises."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from functools import partialmethod
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from dejavu_lightning.callbacks import MemorizationMonitor, UtilityMonitor
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from dejavu_lightning.core.random_stream import random_stream
from dejavu_lightning.data import RandomViews, Scenes
from dejavu_lightning.data.views import crop_and_resize
from dejavu_lightning.embedding.nearest import neighbors as neighbors_module
from dejavu_lightning.memorization import LabelInference, ObjectRetrieval, nearest_neighbors
from gpu.bf16 import CHECKS as BF16
from gpu.bf16 import Losses
from gpu.checks import Failed, Section, Setting, Skip, expect
from gpu.resumed import CHECKS as RESUMED
from gpu.resumed import begin
from gpu.training import PLAIN, differing, small_data, small_method, trainer, weights

__all__ = ["CHECKS", "begin"]

CHECKS = Section()


@CHECKS.check(seconds=30)
def neighbours(setting: Setting, found: dict[str, Any]) -> None:
    """Nearest neighbours on the device are those of the CPU, ties and order included."""
    queries, bank, width, k = setting.pick((1000, 20_000, 256, 100), (60, 1500, 32, 20))
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    def whole(rows: int) -> Tensor:
        return torch.randint(0, 3, (rows, 8), generator=draw).float()

    points = normal(bank, width)
    cases = {
        "random": (normal(queries, width), points),
        "every row twice": (normal(queries, width), points[: bank // 2].repeat(2, 1)),
        "whole numbers, nearly all ties": (whole(queries), whole(bank)),
        "far from the origin": (normal(queries, width) + 1000, points + 1000),
        "float16": (normal(queries, width).half(), points.half()),
    }
    rows = []
    for name, (asked, among) in cases.items():
        expected = nearest_neighbors(asked, among, k)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")  # TF32, as a host's training may have it
        try:
            with torch.autocast(setting.device.type, torch.bfloat16):
                got = nearest_neighbors(asked.to(setting.device), among.to(setting.device), k)
        finally:
            torch.set_float32_matmul_precision(before)
        distance = (got[0].cpu() - expected[0]).abs().max() / expected[0].abs().max()
        wrong = int((got[1].cpu() != expected[1]).sum())
        rows.append({"case": name, "wrong neighbours": wrong, "largest relative difference": float(distance)})
        found["cases"] = rows
    rows += wide_cases(setting, k)
    expect(not any(row["wrong neighbours"] for row in rows), "neighbours differ from the CPU's")
    expect(all(row["largest relative difference"] < 1e-12 for row in rows), "distances differ from the CPU's")


def wide_cases(setting: Setting, k: int) -> list[dict[str, Any]]:
    """Candidates of float16 against those of float32 at a width where sums are long; the CPU would take minutes."""
    queries, bank, width = setting.pick((1000, 20_000, 8192), (60, 1500, 64))
    torch.manual_seed(0)
    asked = torch.randn(queries, width, device=setting.device)
    among = torch.randn(bank, width, device=setting.device)
    among[1::2] = asked[:1] + 0.1 * among[1::2]
    long = among.clone()
    long[7] *= 100
    rows = []
    for name, points in {"wide": among, "wide, all positive": among.abs(), "wide, one long": long}.items():
        chosen = asked.abs() if "positive" in name else asked
        got = nearest_neighbors(chosen, points, k)
        with patch.object(neighbors_module, "has_float16_products", lambda _: False):
            expected = nearest_neighbors(chosen, points, k)
        distance = float((got[0] - expected[0]).abs().max() / expected[0].abs().max())
        wrong = int((got[1] != expected[1]).sum())
        rows.append({"case": name, "wrong neighbours": wrong, "largest relative difference": distance})
    return rows


CHECKS += BF16


@CHECKS.check(seconds=30)
def views(setting: Setting, found: dict[str, Any]) -> None:
    """Views made on the device: the CPU's pixels for the same boxes, its distribution, the same for the same seed."""
    count = setting.pick(2048, 96)
    scenes = Scenes(64, image_size=64)
    images = torch.stack([scenes.image(index % 64) for index in range(count)])
    aspect = torch.linspace(0.6, 1.7, count)
    boxes = torch.rand(count, 4, generator=torch.Generator().manual_seed(0)) * 28 + 4
    on_cpu = crop_and_resize(images.float() / 255, boxes, 48)
    there = crop_and_resize(images.to(setting.device).float() / 255, boxes.to(setting.device), 48).cpu()
    found["largest difference of a crop's pixel"] = float((on_cpu - there).abs().max())
    maker = RandomViews(48, blur=0.5, solarize=0.2, **PLAIN)

    def made(seed: int, device: torch.device) -> list[Tensor]:
        torch.manual_seed(seed)
        return [view.cpu() for view in maker.to(device)(images.to(device), aspect.to(device))]

    first, again, other, reference = (
        made(seed, device)
        for seed, device in ((1, setting.device), (1, setting.device), (2, setting.device), (3, torch.device("cpu")))
    )
    expect([v.shape for v in first] == [v.shape for v in reference], "views have another shape than the CPU's")
    expect(all(torch.equal(a, b) for a, b in zip(first, again, strict=True)), "the same seed makes other views")
    expect(not torch.equal(first[0], other[0]), "another seed makes the same views")
    expect(not torch.equal(first[0], first[1]), "both views are the same")
    rows = []
    for name, of in STATISTICS.items():
        mine, theirs = (of(torch.cat(made_views)).double() for made_views in (first, reference))
        error = (mine.var(dim=0) / len(mine) + theirs.var(dim=0) / len(theirs)).sqrt()
        apart = ((mine.mean(dim=0) - theirs.mean(dim=0)).abs() / error).max()
        rows.append({"statistic of a view": name, "device": float(mine.mean()), "CPU": float(theirs.mean())})
        rows[-1]["standard errors apart"] = float(apart)
    found["distribution"] = rows
    expect(found["largest difference of a crop's pixel"] < 1e-4, "crops of the same boxes differ from the CPU's")
    expect(all(row["standard errors apart"] < 5 for row in rows), "views are distributed otherwise than on the CPU")


STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean of each channel": lambda v: v.mean(dim=(2, 3)),
    "deviation of each channel": lambda v: v.std(dim=(2, 3)),
    "difference of neighbours across": lambda v: v.diff(dim=3).abs().mean(dim=(1, 2, 3))[:, None],
    "difference of neighbours down": lambda v: v.diff(dim=2).abs().mean(dim=(1, 2, 3))[:, None],
    "pixels of zero saturation": lambda v: (v.amax(dim=1) - v.amin(dim=1) < 1e-3).double().mean(dim=(1, 2))[:, None],
}


@CHECKS.check(seconds=30)
def views_of_measurements(setting: Setting, found: dict[str, Any]) -> None:
    """What depends on seed, epoch and id alone does so whatever the device drew before."""
    image, caption = small_data("vicreg"), small_data("clip")
    on_device = {"image": torch.zeros(4, 3, 32, 32, dtype=torch.uint8), "aspect": torch.ones(4)}

    def drawn() -> list[Tensor]:
        attack: Any = image.memorization_sets().attack
        with random_stream(0, zlib.crc32(attack.ids[3].encode())):
            of_tests = attack.views(3, 2)
        pictures = caption.train_dataloader().dataset
        return [of_tests, *(pictures[(5, epoch)]["image"] for epoch in (0, 0, 1))]

    before = drawn()
    moved = {name: value.to(setting.device) for name, value in on_device.items()}
    image.on_after_batch_transfer(moved, 0)
    torch.rand(7, device=setting.device)
    after = drawn()
    expect(all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "views changed with the device's stream")
    orders = [list(image.train_dataloader().batches) for _ in range(2)]
    expect(orders[0] == orders[1], "the order of an epoch is not that of its seed and number")
    found["views"] = len(after)


def trained(setting: Setting, name: str, callbacks: list[Callback], **options: Any) -> LightningModule:
    """A method after three epochs."""
    module, data = small_method(name), small_data(name)
    try:
        trainer(setting, setting.scratch / name, max_epochs=3, callbacks=callbacks, **options).fit(
            module, datamodule=data
        )
    finally:
        torch.use_deterministic_algorithms(False)
    return module


@CHECKS.check(seconds=60)
def monitored(setting: Setting, found: dict[str, Any]) -> None:
    """Training with both monitors is bitwise training without them, in deterministic mode."""
    rows = []

    def monitors(name: str) -> list[Callback]:
        if name == "clip":
            return [MemorizationMonitor(test=ObjectRetrieval(k=10, ks=(1, 10)), every_n_epochs=1, figures=False)]
        return [
            MemorizationMonitor(test=LabelInference(k=5), every_n_epochs=1, figures=False),
            UtilityMonitor(every_n_epochs=1),
        ]

    few = (("vicreg", "32-true"), ("clip", setting.pick("bf16-mixed", "32-true")))
    for name, precision in setting.pick((*few, ("vicreg", "bf16-mixed"), ("dino", "32-true")), few):
        row: dict[str, Any] = {"method": name, "precision": precision}
        mode: bool | str = True
        try:
            watching = monitors(name)
            watched = weights(trained(setting, name, watching, deterministic=mode, precision=precision))
        except RuntimeError as error:
            if "deterministic" not in str(error):
                raise
            row["without a deterministic form"] = str(error).split(".")[0][:120]
            mode, watching = "warn", monitors(name)
            watched = weights(trained(setting, name, watching, deterministic=mode, precision=precision))
        alone, again = (weights(trained(setting, name, [], deterministic=mode, precision=precision)) for _ in range(2))
        row |= {"measurements": len(watching[0].history), "differs": len(differing(watched, alone))}  # type: ignore[attr-defined]
        rows.append(row | {"differs between two without": len(differing(alone, again))})
        found["trainings"] = rows
    expect(all(row["measurements"] == 4 for row in rows), "a monitor did not measure at the start and every epoch")
    expect(not any(row["differs"] for row in rows), "weights differ from those without monitors")


CHECKS += RESUMED


@CHECKS.check(seconds=30)
def ddp(setting: Setting, found: dict[str, Any]) -> None:
    """DistributedDataParallel with NCCL on one device trains and measures, to the weights of plain training."""
    if not setting.on_gpu:
        raise Skip("NCCL needs a GPU")
    monitor = MemorizationMonitor(test=LabelInference(k=5), every_n_epochs=1, figures=False)

    class Backend(Callback):
        def on_train_start(self, *_: Any) -> None:
            found["backend"] = dist.get_backend()

    strategy = DDPStrategy(process_group_backend="nccl")
    try:
        module = trained(setting, "vicreg", [monitor, Backend()], strategy=strategy, deterministic="warn")
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    ours, others = weights(module), weights(trained(setting, "vicreg", [], deterministic="warn"))
    found |= {"measurements": len(monitor.history), "tensors that differ": len(differing(ours, others))}
    apart = max(float((ours[name].double() - others[name].double()).abs().max()) for name in ours)
    found["largest difference"] = apart
    expect(found["backend"] == "nccl", "the process group is not NCCL's")
    expect(apart < 1e-5, "weights are not those of plain training")


@CHECKS.check(seconds=80)
def compiled(setting: Setting, found: dict[str, Any]) -> None:
    """Compiled, channels last, bf16 and resolutions that change: training stays finite and lowers the loss."""
    if setting.on_gpu and not (shutil.which("cc") or shutil.which("gcc")):
        raise Skip("torch.compile needs a C compiler, there is none")
    # Tiny: traced, differentiated and guarded all the same, but no minutes of generated C++.
    found["backend"] = backend = setting.pick("inductor", "aot_eager")
    kept, sides = Losses(), []

    class Sides(Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            sides.append(batch["views"][0].shape[-1])

    monitor = MemorizationMonitor(test=LabelInference(k=5), every_n_epochs=2, figures=False)
    module = small_method("vicreg", compile=True, channels_last=True)
    data = small_data("vicreg", resolutions={0: 32, 2: 48}, storage_size=48)
    settings = {"max_epochs": 4, "precision": "bf16-mixed", "callbacks": [kept, Sides(), monitor]}
    with patch.object(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend)):
        trainer(setting, setting.scratch, **settings).fit(module, datamodule=data)
    losses_of_steps = torch.stack(kept.values).float().cpu()
    found |= {
        "sides": sorted(set(sides)),
        "first loss": float(losses_of_steps[0]),
        "last loss": float(losses_of_steps[-1]),
    }
    found["names of weights are plain"] = not any("_orig_mod" in name for name in module.state_dict())
    expect(bool(torch.isfinite(losses_of_steps).all()), "a loss is not finite")
    if found["sides"] != [32, 48]:
        raise Failed(f"views were of {found['sides']} pixels, not of 32, then 48")
    expect(bool(losses_of_steps[-4:].mean() < losses_of_steps[:4].mean()), "the loss did not fall")
    expect(found["names of weights are plain"], "compiling renamed weights")
