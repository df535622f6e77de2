"""Start-up of the commands over that of ``import lightning``, in one run.

python benchmarks/startup.py

Every process is a fresh interpreter; the first of each, which compiles and reads files into memory, is left out. The
commands and the import take turns, and a ratio is the median over turns. Processor time is compared, since the time on
the clock depends on what else the machine does; both are printed. Run it where the package can be imported.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASE = "import lightning"
COMMANDS = {
    "--help": ["--help"],
    "fit --help": ["fit", "--help"],
    "fit --help.all": ["fit", "--help.all"],
    "fit --print_config": ["fit", "--config", "configs/quickstart.yaml", "--print_config"],
    "memorization --help.all": ["memorization", "--help.all"],
}


def seconds(arguments: list[str]) -> tuple[float, float]:
    """Of the processor and of the clock, of one interpreter."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    after, end = os.times(), time.perf_counter()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, end - start


def measured(commands: list[str], turns: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each turn, by what is started."""
    runs = {BASE: ["-c", BASE]} | {name: ["-m", "dejavu_lightning", *COMMANDS[name]] for name in commands}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, arguments in runs.items():
            found = seconds(arguments)
            if turn:
                taken[name].append(found)
    return taken


def ratios(taken: dict[str, list[tuple[float, float]]]) -> dict[str, list[float]]:
    """Processor time over that of the import, turn by turn."""
    return {
        name: [own[0] / base[0] for own, base in zip(found, taken[BASE], strict=True)] for name, found in taken.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    taken = measured(list(COMMANDS), options.turns)
    for name, each in ratios(taken).items():
        processor, clock = (statistics.median(values) for values in zip(*taken[name], strict=True))
        print(
            f"{name:24} {processor:6.2f} s processor {clock:6.2f} s clock   "
            f"ratio {statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f} over turns)"
        )


if __name__ == "__main__":
    main()
