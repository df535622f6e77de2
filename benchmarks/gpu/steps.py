"""Speed of training steps on one batch that stays on the device: ours, others' and the bare network's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from shared import Clock
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gpu.checks import Setting
from gpu.training import trainer

Batch = dict[str, Any]


class Repeated:
    """A loader that gives one batch again and again."""

    def __init__(self, batch: Any, batch_size: int, steps: int) -> None:
        self.batch, self.batch_size, self.steps = batch, batch_size, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.steps):
            yield self.batch


class Profile(Callback):
    """What the device was busy with between the end of a warm-up and the last step."""

    def __init__(self, setting: Setting, warmup: int) -> None:
        self.setting, self.warmup = setting, warmup
        activities = [torch.profiler.ProfilerActivity.CPU]
        activities += [torch.profiler.ProfilerActivity.CUDA] if setting.on_gpu else []
        self.profiler = torch.profiler.profile(activities=activities)
        self.begun = self.seconds = 0.0

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.warmup:
            self.setting.synchronize()
            self.profiler.start()
            self.begun = time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        self.setting.synchronize()
        self.seconds = time.perf_counter() - self.begun
        self.profiler.stop()

    def rows(self, steps: int, most: int = 8) -> tuple[list[dict[str, Any]], float]:
        """The operations that took longest, with their shares, and the share of the time the device was busy."""
        on_gpu = self.setting.on_gpu

        def spent(event: Any) -> float:
            return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)

        def kernel(event: Any) -> bool:
            if getattr(event, "is_user_annotation", False):
                return False
            return not on_gpu or event.device_type == torch.autograd.DeviceType.CUDA

        events = sorted(filter(kernel, self.profiler.key_averages()), key=spent, reverse=True)
        whole = sum(map(spent, events)) or 1.0
        rows = [
            {
                "operation": event.key[:90],
                "share": spent(event) / whole,
                "ms a step": spent(event) / steps / 1000,
                "calls a step": event.count / steps,
            }
            for event in events[:most]
        ]
        return rows, whole / 1e6 / self.seconds


def fit_rate(
    setting: Setting, module: LightningModule, batch: Any, size: int, warmup: int, steps: int, *more: Callback
) -> float:
    """Pictures per second of a module in Lightning's own loop, in bf16."""
    clock = Clock(warmup, warmup + steps)
    run = trainer(
        setting,
        setting.scratch,
        max_steps=clock.steps,
        max_epochs=1000,
        precision="bf16-mixed",
        benchmark=setting.on_gpu,
        callbacks=[clock, *more],
    )
    run.fit(module, train_dataloaders=Repeated(batch, size, clock.steps))
    return clock.per_second(size)


def bare_rate(
    setting: Setting, module: nn.Module, outputs: Callable[[], Sequence[Tensor]], size: int, warmup: int, steps: int
) -> float:
    """Pictures per second of a network's forward and backward pass alone, in bf16."""
    start = 0.0
    module.to(setting.device).train()
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = setting.on_gpu
    for step in range(warmup + steps):
        if step == warmup:
            setting.synchronize()
            start = time.perf_counter()
        module.zero_grad()
        backward(setting, outputs)
    setting.synchronize()
    torch.backends.cudnn.benchmark = before
    return steps * size / (time.perf_counter() - start)


@torch.inference_mode()
def encode_rate(
    setting: Setting, module: nn.Module, encode: Callable[[Tensor], Tensor], pictures: Tensor, warmup: int, steps: int
) -> float:
    """Pictures per second that a network encodes in float32, in evaluation mode, as a measurement does."""
    start = 0.0
    module.to(setting.device).eval()
    for step in range(warmup + steps):
        if step == warmup:
            setting.synchronize()
            start = time.perf_counter()
        encode(pictures)
    setting.synchronize()
    module.train()
    return steps * len(pictures) / (time.perf_counter() - start)


def backward(setting: Setting, outputs: Callable[[], Sequence[Tensor]]) -> None:
    """One forward pass in bf16, and the backward pass of a sum."""
    with torch.autocast(setting.device.type, torch.bfloat16):
        value = torch.stack([output.float().square().mean() for output in outputs()]).sum()
    value.backward()


def flops(setting: Setting, module: nn.Module, outputs: Callable[[], Sequence[Tensor]]) -> float:
    """Floating-point operations of a network's forward and backward pass."""
    module.to(setting.device).train()
    with FlopCounterMode(display=False) as counter:
        backward(setting, outputs)
    module.zero_grad()
    return float(counter.get_total_flops())
