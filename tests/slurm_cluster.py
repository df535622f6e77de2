"""A SLURM cluster of two nodes on this machine, with all of its files in one folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Callback

DAEMONS = ("munged", "slurmctld", "slurmd")
LACKING = [name for name in DAEMONS if shutil.which(name) is None and not Path(f"/usr/sbin/{name}").exists()]
ENDED = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE"}
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=30
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmUser=root
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2
KillWait=5
SlurmctldTimeout=10
SlurmdTimeout=30
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}] CPUs=4 State=UNKNOWN
MinJobAge=7200
FirstJobId={first_job}
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""


class Slow(Callback):
    """Makes a training long enough for a time limit: waits at each batch."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, *_: object) -> None:
        time.sleep(self.seconds)


class Cluster:
    """Commands of a running cluster.

    Attributes:
        environment: of a process that talks to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        loopback = {"GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        sbin = f"{os.environ['PATH']}:/usr/sbin"
        self.environment = {**os.environ, **loopback, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": sbin}
        self.environment.pop("MASTER_PORT", None)  # Lightning takes one from each job's number

    def run(self, *command: object, cwd: Path | None = None, seconds: float = 120) -> str:
        """What a command prints."""
        done = subprocess.run(
            list(map(str, command)),
            env=self.environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        return done.stdout.strip()

    def start_node(self, name: str) -> None:
        """Bring a node up."""
        self.run("slurmd", "-N", name)

    def stop(self, daemon: str) -> None:
        """Kill a daemon, by the name of its pid file."""
        file = self.folder / f"{daemon}.pid"
        if file.exists():
            subprocess.run(["kill", "-9", file.read_text().strip()], check=False)

    def wait(self, job: str, states: set[str], seconds: float) -> None:
        """Wait until all tasks of a job are in one of the states; none may end in another."""
        deadline = time.monotonic() + seconds
        while not (found := self.states(job)) or not found <= states:
            assert not found & ENDED - states, found
            assert time.monotonic() < deadline, (found, (self.folder / "slurmctld.log").read_text()[-2000:])
            time.sleep(0.5)

    def states(self, job: str) -> set[str]:
        """Of a job's tasks, those that have ended among them."""
        return set(self.run("squeue", "-a", "-r", "-h", "-t", "all", "-j", job, "-o", "%T").split())


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Cluster]:
    """Start munge, a controller and two nodes; stop them at the end."""
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir(parents=True)
    ports = {}
    for name in ("controller", "first"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports[name] = free.getsockname()[1]
    # Lightning takes the port of a job from its number: those of two clusters on one machine must differ.
    ports["first_job"] = int.from_bytes(os.urandom(2), "big") + 1000
    text = CONFIG.format(folder=folder, host=socket.gethostname(), second=ports["first"] + 1, **ports)
    (folder / "slurm.conf").write_text(text)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    cluster = Cluster(folder)
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid", "log-file": "munged.log"}
    options = [f"--{name}={folder / file}" for name, file in {**files, "seed-file": "munge.seed"}.items()]
    try:
        cluster.run("munged", "--force", *options)
        cluster.run("slurmctld")
        for name in ("n1", "n2"):
            cluster.start_node(name)
        deadline = time.monotonic() + 300
        while cluster.run("sinfo", "-h", "-o", "%T %D") != "idle 2":
            assert time.monotonic() < deadline, cluster.run("sinfo", "-R")
            time.sleep(0.5)
        yield cluster
    finally:
        # Jobs of a test that failed live on without their daemons.
        options = {"env": cluster.environment, "check": False, "capture_output": True, "text": True, "timeout": 30}
        subprocess.run(["scancel", "--user=root"], **options)
        deadline = time.monotonic() + 20
        while subprocess.run(["squeue", "-h"], **options).stdout and time.monotonic() < deadline:
            time.sleep(0.5)
        for daemon in ("slurmd-n1", "slurmd-n2", "slurmctld", "munged"):
            cluster.stop(daemon)
