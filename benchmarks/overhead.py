"""What does the monitor cost? Training time with it over training time without, side by side.

python benchmarks/overhead.py

The quickstart's model and data with its cadence (a measurement every 40 of 400 epochs), over 80 epochs, so
that 3 measurements weigh on 80 epochs: an upper bound on the quickstart's own 11 on 400.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMON = ["fit", "--config", "configs/quickstart.yaml", "--trainer.max_epochs", "80"]
COMMON += ["--trainer.enable_progress_bar", "false", "--trainer.callbacks", "null"]


def seconds(folder: Path, *options: str) -> float:
    """Wall time of one run, start-up included."""
    start = time.perf_counter()
    command = [sys.executable, "train.py", *COMMON, "--trainer.default_root_dir", str(folder), *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(3):
            least = ["--memorization.every_n_epochs", "80", "--memorization.figures", "false"]
            fewest = ["--memorization.max_records", "10", "--memorization.max_public", "20", *least]
            without = seconds(Path(scratch) / f"without{repeat}", *fewest)
            with_monitor = seconds(Path(scratch) / f"with{repeat}")
            print(f"with {with_monitor:.1f} s, almost without {without:.1f} s, ratio {with_monitor / without:.3f}")
