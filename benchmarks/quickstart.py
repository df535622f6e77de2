"""Minutes of the quickstarts, from the command to its comparison.

python benchmarks/quickstart.py                              # both
python benchmarks/quickstart.py --configs quickstart_clip --threads 1

A pair is two trainings with their measurements. Run it on a machine without other jobs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=["quickstart", "quickstart_clip"], help="of the folder configs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--options", nargs=argparse.REMAINDER, default=[], help="further options of pair, the last here"
    )
    given = parser.parse_args()
    print(f"{given.threads} CPU threads, torch {torch.__version__}")
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads)}
    for name in given.configs:
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, "-m", "dejavu_lightning", "pair", "--config", f"configs/{name}.yaml"]
            command += ["--output", str(Path(scratch) / "run"), *given.options]
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
            if done.returncode:
                raise SystemExit(done.stderr[-1000:])
            print(f"pair --config configs/{name}.yaml: {(time.perf_counter() - start) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
