"""Settle on one GPU what two CPU cores cannot: is it right, fast, cheap to measure, and true?

python benchmarks/gpu.py --out FOLDER                     # at most 8 minutes, no network
python benchmarks/gpu.py --out FOLDER --sections fast     # one part of it
python benchmarks/gpu.py --out FOLDER --tiny              # the same code on CPU, small

right      CUDA gives the CPU's answers; monitored, resumed, compiled, in bf16 and under NCCL, training is training
fast       images per second and share of the card's peak, against lightly's and open_clip's code, and the input
measuring  neighbours among up to 1,000,000 embeddings, and what the callback costs
true       pairs trained from scratch, with controls

Each section is a process of its own, which is started again behind a check that crashed or hung. FOLDER/results.json
and FOLDER/results.md are written after every check, so that a run that is cut keeps what it found; FOLDER/<section>.log
holds what the section printed. docs/guides/gpu.md says what was seen.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpu.checks import SECTIONS, Setting, run_section
from gpu.results import Results

ROOT = Path(__file__).resolve().parent.parent
SHARE = {"right": 95, "fast": 165, "measuring": 65, "true": 125}  # seconds; what one leaves the next may use
# Seconds behind its limit after which a check that cannot be interrupted is killed; a section is after twice as many.
GRACE = 15


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--tiny", action="store_true", help="small, and on the CPU")
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"some of {','.join(SECTIONS)}")
    parser.add_argument(
        "--photos",
        type=Path,
        help="photographs: train/<class>/, Annotation/<class>/; captioned ones in coco/ beside it",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=8.0,
        help="of all sections, what is killed behind its limit included; they share it in proportion",
    )
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--lines", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--done", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.section:
        run_here(options)
        return
    if options.minutes * 60 <= 4 * GRACE:
        raise SystemExit(f"error: --minutes must be more than {4 * GRACE / 60:g}, got {options.minutes:g}")
    chosen = options.sections.split(",")
    unknown = sorted(set(chosen) - set(SECTIONS))
    if unknown:
        raise SystemExit(f"error: --sections has no {unknown}; choose from {list(SECTIONS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # sections end with the one that started them
    about = {"tiny": options.tiny, "sections": chosen, "minutes": options.minutes}
    results = Results(options.out, about)
    results.write()
    end, whole = time.time(), sum(SHARE[name] for name in chosen)
    with tempfile.TemporaryDirectory() as scratch:
        for name in chosen:
            end += SHARE[name] / whole * (options.minutes * 60 - 2 * GRACE)
            run_apart(name, options, results, Path(scratch), end)
    print(results.page())


def run_here(options):
    """Run a section in this process."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() and not options.tiny else "cpu")
    if device.type == "cpu" and not options.tiny:
        raise SystemExit("error: there is no GPU; --tiny runs the same code on the CPU")
    scratch = options.lines.parent / f"{options.section}-{os.getpid()}"
    scratch.mkdir()
    setting = Setting(device, options.tiny, scratch, options.photos)
    run_section(options.section, setting, options.deadline, set(filter(None, options.done.split(","))), options.lines)


def run_apart(name, options, results, scratch, deadline):
    """Run a section in processes of its own, a new one behind each check that ends its process."""
    lines = scratch / f"{name}.jsonl"
    log = options.out / f"{name}.log"
    lines.touch()
    command = [sys.executable, __file__, "--out", options.out, "--section", name, "--lines", lines]
    command += ["--deadline", str(deadline)] + ["--tiny"] * options.tiny
    command += ["--photos", options.photos] if options.photos else []
    environment = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # Several processes share the few cores of a machine that has no GPU.
    environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} if options.tiny else {}
    read = 0
    while True:
        done = [result["name"] for result in results.checks(name)]
        with log.open("a") as printed:
            process = subprocess.Popen(
                [*map(str, command), "--done", ",".join(done)],
                env=environment,
                stdout=printed,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            try:
                read, begun = follow(process, name, results, lines, read, deadline)
            finally:
                with contextlib.suppress(ProcessLookupError):  # with what it started and left behind
                    os.killpg(process.pid, signal.SIGKILL)
        tail = log.read_text(errors="replace")[-600:]
        if begun is None:  # all checks are done, or none could be begun
            if process.returncode:
                lost = {"name": "section", "told": "the section's process", "seconds": 0.0, "found": {}}
                message = f"the process ended with {process.returncode}: {tail}"
                results.add(name, {**lost, "status": "error", "message": message})
            return
        lost = {
            "name": begun["begun"],
            "told": begun["told"],
            "seconds": round(time.time() - begun["at"], 1),
            "found": {},
        }
        message = f"the process ended with {process.returncode} during this check: {tail}"
        results.add(name, {**lost, "status": "crashed", "message": message})


def follow(process, name, results, lines, read, deadline):
    """Take over results as they come, kill the process when a check overstays; tell the check it ended in, if any."""
    begun, over = None, False
    while not over:
        over = process.poll() is not None
        content = lines.read_text()[read:]
        whole = content[: content.rfind("\n") + 1]
        read += len(whole)
        for row in map(json.loads, whole.splitlines()):
            if "machine" in row:
                results.content["machine"] = row["machine"]
            elif "begun" in row:
                begun = {**row, "at": time.time()}
            else:
                begun = None
                results.add(name, row["result"])
                told = row["result"]
                print(f"{name:10} {told['name']:24} {told['status']:12} {told['seconds']:6.1f} s", flush=True)
        late = begun is not None and time.time() > begun["at"] + begun["limit"] + GRACE
        if not over and (late or time.time() > deadline + 2 * GRACE):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        time.sleep(0.1)
    return read, begun


if __name__ == "__main__":
    main()
