"""What a check is, and how those of one section are run, one after another, in a process of their own."""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import platform
import signal
import statistics
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

SECTIONS = ("right", "fast", "measuring", "true")
LIBRARIES = ("torch", "torchvision", "lightning", "kornia", "timm", "open_clip_torch", "lightly", "numpy")
SHORTEST = 3  # seconds below which a check is not begun


class Skip(Exception):  # noqa: N818
    """A check cannot be made here; the message says why."""


class Failed(Exception):  # noqa: N818
    """A check was made and what it promises does not hold; the message says what was found."""


class OutOfTimeError(BaseException):
    """A check ran past its limit. No ``Exception``, so that what it interrupts does not take it for an error."""


@dataclass
class Setting:
    """Where the checks run.

    Args:
        device: a ``torch.device``.
        tiny: everything at sizes for two CPU cores.
        scratch: a folder for files that nobody keeps.
        photos: a folder of photographs in ImageNet's form, None if there is none; captioned ones may lie in
            ``coco`` beside it.
        kept: what a check leaves for later ones of its section.
    """

    device: Any
    tiny: bool
    scratch: Path
    photos: Path | None = None
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        return bool(self.device.type == "cuda")

    @property
    def accelerator(self) -> str:
        """What Lightning calls the device."""
        return "gpu" if self.on_gpu else "cpu"

    def pick(self, full: Any, tiny: Any) -> Any:
        """Choose a size."""
        return tiny if self.tiny else full

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            import torch

            torch.cuda.synchronize()


class Check(NamedTuple):
    """One check: ``run(setting, found)`` fills ``found`` with what JSON can hold, and raises where it does not hold."""

    name: str
    seconds: float
    run: Callable[[Setting, dict[str, Any]], None]

    @property
    def told(self) -> str:
        return (self.run.__doc__ or self.name).strip().splitlines()[0]


class Section(list[Check]):
    """The checks of a section in their order."""

    def check(self, seconds: float) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Add a function as a check that may take so many seconds."""

        def add(run: Callable[..., None]) -> Callable[..., None]:
            self.append(Check(run.__name__, seconds, run))
            return run

        return add


def expect(holds: bool, message: str) -> None:
    """Raise :class:`Failed` with the message unless it holds."""
    if not holds:
        raise Failed(message)


def in_turns(sides: dict[str, Callable[[], float]], turns: int) -> dict[str, float]:
    """Measure several sides in turns, so that the machine's drift meets all of them: the median of each."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            measured[name].append(side())
    return {name: statistics.median(values) for name, values in measured.items()}


def machine(device: Any) -> dict[str, Any]:
    """The card, the processor and the versions."""
    import torch

    versions = {"python": platform.python_version(), "cuda": torch.version.cuda}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    card = "no GPU"
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        card = f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
    return {
        "card": card,
        "processor": processor(),
        "cpu_cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions,
    }


def processor() -> str:
    """The CPU's model, as Linux tells it: a name alone may hide which it is."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    told = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    family, model = (told.get(name, "unknown") for name in ("cpu family", "model"))
    return f"{told.get('model name', platform.machine())}, family {family}, model {model}"


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Interrupt what runs past the limit."""

    def stop(_signum: int, _frame: FrameType | None) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_check(check: Check, setting: Setting, seconds: float) -> dict[str, Any]:
    """Run one check and tell how it ended, whatever it raises."""
    found: dict[str, Any] = {}
    status, message, trace = "passed", "", ""
    start = time.perf_counter()
    try:
        with limited(seconds):
            check.run(setting, found)
    except Skip as reason:
        status, message = "skipped", str(reason)
    except Failed as reason:
        status, message = "failed", str(reason)
    except OutOfTimeError:
        status, message = "out of time", f"stopped after {seconds:.0f} s; values found until then are kept"
    except BaseException as error:
        status, message = "error", f"{type(error).__name__}: {error}"[:600]
        trace = "".join(traceback.format_exception(error)[-4:])[-2000:]
    spent = time.perf_counter() - start
    told = {"name": check.name, "told": check.told, "status": status, "seconds": round(spent, 1), "found": found}
    return told | ({"message": message} if message else {}) | ({"traceback": trace} if trace else {})


def run_section(name: str, setting: Setting, deadline: float, done: set[str], lines: Path) -> None:
    """Run a section's checks that are not done, and append each one's result to a file of JSON lines.

    Before a check begins its name and limit are written too, so that who waits can tell what hangs.

    Args:
        deadline: by ``time.time()``, when the section's time is up.
    """
    import torch

    parent = os.getppid()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = importlib.import_module(f"gpu.{name}")
    with lines.open("a") as file:

        def write(row: dict[str, Any]) -> None:
            file.write(json.dumps(row, default=float) + "\n")
            file.flush()

        write({"machine": machine(setting.device)})
        if not done and hasattr(module, "begin"):
            module.begin(setting)
        for check in module.CHECKS:
            if os.getppid() != parent:  # killed: nobody waits for the rest
                return
            if check.name in done:
                continue
            left = deadline - time.time()
            if left < SHORTEST:
                told = {"name": check.name, "told": check.told, "seconds": 0.0, "found": {}}
                write({"result": {**told, "status": "not begun", "message": "the section's time was used up"}})
                continue
            seconds = min(check.seconds * (3 if setting.tiny else 1), left)
            write({"begun": check.name, "told": check.told, "limit": seconds})
            write({"result": run_check(check, setting, seconds)})
            gc.collect()  # trainers and modules refer to each other
            if setting.on_gpu:
                torch.cuda.empty_cache()
