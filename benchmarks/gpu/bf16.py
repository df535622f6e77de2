"""Losses and whole methods in bf16 against float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from dejavu_lightning import losses
from gpu.checks import Section, Setting, expect
from gpu.training import METHODS, small_data, small_method, trainer

CHECKS = Section()
VALUE, DIRECTION = 0.02, 0.99  # of a loss in bf16: largest relative difference, smallest cosine of the gradients


def objectives(device: torch.device) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Every loss of the package as a function of two heads' outputs (B, D)."""
    labels = torch.arange(256, device=device) % 32

    def unit(z: Tensor) -> Tensor:
        return nn.functional.normalize(z, dim=1)

    def dino(a: Tensor, b: Tensor) -> Tensor:
        views = torch.stack([unit(a), unit(b)])
        return losses.dino_loss(views, views.detach(), student_temperature=0.1, teacher_temperature=0.07)

    return {
        "vicreg": losses.vicreg_loss,
        "barlow_twins": losses.barlow_twins_loss,
        "nt_xent": losses.nt_xent_loss,
        "byol": losses.byol_loss,
        "dino": dino,
        "supervised": lambda a, b: losses.supervised_loss(a, labels) + losses.supervised_loss(b, labels),
        "clip": lambda a, b: losses.clip_loss(unit(a), unit(b), temperature=torch.tensor(0.1, device=device)),
        "siglip": lambda a, b: losses.siglip_loss(
            unit(a), unit(b), temperature=torch.tensor(0.1, device=device), bias=torch.tensor(-10.0, device=device)
        ),
    }


@CHECKS.check(seconds=30)
def losses_in_bf16(setting: Setting, found: dict[str, Any]) -> None:
    """Losses and their gradients under bf16 autocast agree with float32, at the start and after 20 steps."""
    draw = torch.Generator().manual_seed(0)
    one = torch.randn(256, 64, generator=draw)
    views = [(one + 0.3 * torch.randn(256, 64, generator=draw)).to(setting.device) for _ in range(2)]
    found["tolerances"] = f"value {VALUE}, cosine of gradients {DIRECTION}"
    rows: list[dict[str, Any]] = []
    for name, objective in objectives(setting.device).items():
        torch.manual_seed(0)
        head = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32)).to(setting.device)
        optimizer = torch.optim.Adam(head.parameters(), 1e-3)

        def graded(bf16: bool, head: nn.Module = head, objective: Any = objective) -> tuple[Tensor, Tensor]:
            head.zero_grad()
            with torch.autocast(setting.device.type, torch.bfloat16, enabled=bf16):
                loss = objective(head(views[0]), head(views[1]))
            loss.backward()
            return loss.detach(), torch.cat([p.grad.flatten() for p in head.parameters() if p.grad is not None])

        for when, steps in (("start", 0), ("after 20 steps", 20)):
            for _ in range(steps):
                graded(False)
                optimizer.step()
            (wide, direction), (narrow, other) = graded(False), graded(True)
            cosine = nn.functional.cosine_similarity(direction.double(), other.double(), dim=0)
            difference = float((narrow - wide).abs() / wide.abs())
            rows.append({"loss": name, "when": when, "float32": float(wide), "difference": difference})
            rows[-1] |= {"cosine": float(cosine), "type": str(narrow.dtype).removeprefix("torch.")}
            found["losses"] = rows
    bad = [row for row in rows if not (row["difference"] <= VALUE and row["cosine"] >= DIRECTION)]
    expect(not bad, f"beyond the tolerances: {[(row['loss'], row['when']) for row in bad]}")
    expect(all(row["type"] == "float32" for row in rows), "a loss is not computed in float32")


class Losses(Callback):
    """The loss of every step."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        self.values.append(outputs["loss"].detach())


@CHECKS.check(seconds=40)
def methods_in_bf16(setting: Setting, found: dict[str, Any]) -> None:
    """Every method trains in bf16-mixed: the first loss is float32's, the last ones are near it."""
    rows = []
    for name in (*METHODS, "clip"):
        curves = {}
        for precision in ("32-true", "bf16-mixed"):
            kept = Losses()
            module, data = small_method(name), small_data(name)
            trainer(setting, setting.scratch, max_steps=setting.pick(8, 3), precision=precision, callbacks=[kept]).fit(
                module, data
            )
            curves[precision] = torch.stack(kept.values).float().cpu()
        wide, narrow = curves.values()
        first = float((narrow[0] - wide[0]).abs() / wide[0].abs())
        last = float((narrow[-2:].mean() - wide[-2:].mean()).abs() / wide[-2:].mean().abs())
        rows.append({"method": name, "float32": float(wide[0]), "first": first, "last two steps": last})
        found["relative differences"] = rows
        expect(bool(torch.isfinite(narrow).all()), f"{name}: a loss is not finite")
    expect(all(row["first"] < 0.03 for row in rows), "a first loss differs by more than 3 %")
    expect(all(row["last two steps"] < 0.15 for row in rows), "a later loss differs by more than 15 %")
