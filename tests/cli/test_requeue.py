"""A run that a cluster stops and starts again ends like one that was left alone."""

import os
import signal
import stat
import subprocess
import time

import pytest
import torch
import yaml
from dejavu_lightning.callbacks import EpochCheckpoint, MemorizationMonitor, RandomState, RequeueBetweenBatches
from lightning.pytorch import Callback

from dejavu_lightning.core.distributed import world
from dejavu_lightning.memorization import LabelInference
from dejavu_lightning.runs.checkpoints import requeue_checkpoints
from tests.commands import ROOT, TINY, command, history, run
from tests.models import tiny_data, tiny_trainer, tiny_vicreg
from tests.processes import run_processes

SLURM = {
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "dejavu",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_JOB_NODELIST": "localhost",
}


@pytest.mark.slow
def test_a_requeued_run_ends_like_one_that_was_left_alone(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))
    fake = tmp_path / "bin" / "scontrol"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    environment = {**os.environ, **SLURM, "PATH": f"{fake.parent}:{os.environ['PATH']}"}

    def given(folder):
        options = ["--trainer.default_root_dir", folder, "--trainer.max_epochs", "12", "--data.batch_size", "4"]
        options += ["--memorization.every_n_epochs", "4", "--data.num_workers", "1"]
        return "train.py", "fit", "--config", config, *options

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(*given(whole))
    process = subprocess.Popen(
        command(*given(broken)), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 600
    while not (broken / "checkpoints" / "epoch=0004.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)
    told = process.communicate(timeout=600)[1]
    assert process.returncode == 1, told
    assert "requeued after SIGUSR1" in told
    assert (tmp_path / "asked").read_text() == "requeue 77\n"
    saved = torch.load(broken / "hpc_ckpt_1.ckpt", weights_only=True)
    batches = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"]
    assert 0 <= batches < 10  # within an epoch, or behind the measurement of the last
    assert not (broken / "checkpoints" / "epoch=0012.ckpt").exists()
    # The same command again, as SLURM would.
    run(*given(broken), environment=environment)
    states = [
        torch.load(folder / "checkpoints" / "epoch=0012.ckpt", weights_only=True)["state_dict"]
        for folder in (whole, broken)
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), (name, batches)
    assert history(whole) == history(broken)


@pytest.mark.slow
def test_outside_slurm_a_requeue_checkpoint_does_not_open_a_run_folder(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "hpc_ckpt_1.ckpt").touch()
    arguments = ("--config", config, "--trainer.default_root_dir", tmp_path / "run")
    assert "exists and holds a run. Name another with" in run("train.py", "fit", *arguments, code=1).stderr


class Asked(RequeueBetweenBatches):
    """Asked to stop at one batch; notes where it answers."""

    def __init__(self, at, answers):
        super().__init__()
        self.at, self.answers = at, answers

    def on_train_start(self, trainer, module):
        self._answer = lambda signum, frame: self.answers.append((trainer.current_epoch, trainer.global_step))

    def on_train_batch_start(self, trainer, module, batch, index):
        self._asked |= (trainer.current_epoch, index) == self.at


@pytest.mark.parametrize(
    ("at", "accumulate", "answer"),
    [
        ((0, 1), 1, (0, 2)),
        ((0, 3), 1, (1, 4)),  # the last batch of an epoch: its measurements come first
        ((0, 0), 2, (0, 1)),  # the gradients of two batches are one step
        ((0, 2), 4, (1, 1)),  # and here those of a whole epoch
    ],
)
def test_it_is_answered_between_steps_and_behind_the_measurements_of_an_epoch(at, accumulate, answer, tmp_path):
    answers = []
    trainer = tiny_trainer(tmp_path, callbacks=[Asked(at, answers)], accumulate_grad_batches=accumulate)
    with pytest.raises(SystemExit, match="requeued after SIGUSR1"):
        trainer.fit(tiny_vicreg(), datamodule=tiny_data(batch_size=10))
    assert answers == [answer]


class Requeued(RequeueBetweenBatches):
    """Asked at one batch, on one rank; saves as Lightning's answer does."""

    def __init__(self, at, rank, file, every_n_batches=10):
        super().__init__(every_n_batches=every_n_batches)
        self.at, self.rank, self.file = at, rank, file

    def on_train_start(self, trainer, module):
        self._answer = lambda signum, frame: trainer.save_checkpoint(self.file)

    def on_train_batch_start(self, trainer, module, batch, index):
        self._asked |= ((trainer.current_epoch, index), trainer.global_rank) == (self.at, self.rank)


@pytest.mark.parametrize(
    ("batches", "options"),
    [
        (1, {"max_epochs": 4}),
        (4, {"max_epochs": 4, "accumulate_grad_batches": 4}),
        (1, {"max_epochs": 9, "max_steps": 3}),
        (4, {"max_epochs": -1, "max_steps": 14}),
    ],
    ids=["one batch", "accumulated", "steps", "steps within an epoch"],
)
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_run_that_is_requeued_behind_an_epoch_ends_bitwise_as_if_left_alone(epoch, batches, options, tmp_path):
    def trained(folder, *callbacks, resume=None):
        torch.manual_seed(0)
        module, monitor = tiny_vicreg(), MemorizationMonitor(test=LabelInference(k=5), every_n_epochs=1, figures=False)
        trainer = tiny_trainer(folder, callbacks=[RandomState(), monitor, *callbacks], **options)
        data = tiny_data(batch_size=40 // batches)
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
        return trainer.global_step, module.state_dict(), monitor.history

    file = tmp_path / "requeued.ckpt"
    with pytest.raises(SystemExit, match="requeued after SIGUSR1"):
        trained(tmp_path / "run", Requeued((epoch, batches - 1), 0, file))
    steps, resumed, curve = trained(tmp_path / "run", resume=file)
    expected_steps, whole, expected = trained(tmp_path / "whole")
    assert (steps, curve) == (expected_steps, expected)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def stopped(folder, batch_size, at):
    """Epoch and step at which a rank of two was requeued, where only the second was asked."""
    rank, _ = world()
    os.environ["LOCAL_RANK"] = str(rank)
    callbacks = [Requeued(at, 1, f"{folder}/requeued.ckpt", every_n_batches=3)]
    trainer = tiny_trainer(folder, callbacks=callbacks, devices=2, strategy="ddp")
    with pytest.raises(SystemExit, match="requeued after SIGUSR1"):
        trainer.fit(tiny_vicreg(), datamodule=tiny_data(batch_size=batch_size))
    return trainer.current_epoch, trainer.global_step


@pytest.mark.parametrize(
    ("batch_size", "at", "expected"),
    [
        (4, (0, 1), (0, 4)),  # five steps of 2 x 4 an epoch; they ask one another behind the first and the fourth
        (4, (0, 4), (1, 5)),
        (20, (0, 0), (1, 1)),  # one step
    ],
)
def test_two_processes_stop_at_the_same_step_where_one_was_asked(batch_size, at, expected, tmp_path):
    assert run_processes(2, stopped, str(tmp_path), batch_size, at) == [expected] * 2


def resumed_on_two(folder, at):
    """Weights and curves of a run of two processes, requeued within an epoch and left alone."""
    rank, _ = world()
    os.environ["LOCAL_RANK"] = str(rank)
    file = f"{folder}/requeued.ckpt"

    def trained(name, *callbacks, resume=None):
        torch.manual_seed(rank)
        module, monitor = tiny_vicreg(), MemorizationMonitor(test=LabelInference(k=5), every_n_epochs=1, figures=False)
        callbacks = [RandomState(), monitor, *callbacks]
        trainer = tiny_trainer(f"{folder}/{name}", callbacks=callbacks, max_epochs=3, devices=2, strategy="ddp")
        trainer.fit(module, datamodule=tiny_data(batch_size=4), ckpt_path=resume, weights_only=True if resume else None)
        weights = {name: value.numpy().tobytes() for name, value in module.state_dict().items()}
        return trainer.global_step, weights, monitor.history

    with pytest.raises(SystemExit, match="requeued after SIGUSR1"):
        trained("run", Requeued(at, 1, file, every_n_batches=3))
    loops = torch.load(file, weights_only=True)["loops"]["fit_loop"]
    batches = loops["epoch_loop.batch_progress"]["current"]["processed"]
    return batches, trained("run", resume=file), trained("whole")


def test_two_processes_that_are_requeued_within_an_epoch_end_bitwise_as_if_left_alone(tmp_path):
    # Of five steps an epoch; they ask one another behind the first and the fourth.
    found = run_processes(2, resumed_on_two, str(tmp_path), (1, 1))
    for batches, resumed, whole in found:
        assert batches == 4
        assert resumed == whole


def test_within_an_epoch_the_global_batch_must_stay(tmp_path):
    class Stop(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 2:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")
                trainer.should_stop = True

    tiny_trainer(tmp_path, callbacks=[Stop()]).fit(tiny_vicreg(), datamodule=tiny_data(batch_size=10))
    with pytest.raises(ValueError, match="within an epoch with a global batch of 10, now it is 8"):
        tiny_trainer(tmp_path).fit(
            tiny_vicreg(), datamodule=tiny_data(batch_size=8), ckpt_path=tmp_path / "middle.ckpt", weights_only=True
        )


def test_the_template_is_valid_and_submits_both_splits():
    script = ROOT / "examples" / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    found = []
    for task in ("0", "1"):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": task, "SLURM_JOB_NUM_NODES": "1"}
        done = subprocess.run(
            ["bash", "-c", f'srun() {{ echo "$@"; }}; export -f srun; bash {script} --seed_everything 3'],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout)
    assert "--data.train_on A --trainer.default_root_dir runs/slurm/A --seed_everything 3" in found[0]
    assert "--data.train_on B" in found[1]


def test_a_signal_behind_the_end_of_training_fails_nothing_and_superseded_checkpoints_go(tmp_path):
    for name in ("hpc_ckpt_9.ckpt", "hpc_ckpt_10.ckpt", "hpc_ckpt_1_backup.ckpt"):
        (tmp_path / name).touch()
    assert [file.name for file in requeue_checkpoints(tmp_path)] == ["hpc_ckpt_9.ckpt", "hpc_ckpt_10.ckpt"]
    before = signal.signal(signal.SIGUSR1, lambda *_: None)  # as Lightning's, where it listens
    try:
        trainer = tiny_trainer(tmp_path, max_epochs=1, callbacks=[RequeueBetweenBatches()])
        trainer.fit(tiny_vicreg(), datamodule=tiny_data(), ckpt_path=None)
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        signal.signal(signal.SIGUSR1, before)
    assert [file.name for file in tmp_path.glob("hpc_ckpt_*")] == ["hpc_ckpt_1_backup.ckpt"]


@pytest.mark.parametrize("complete", [True, False])
def test_a_requeue_checkpoint_goes_once_its_successor_is_complete(tmp_path, complete):
    (tmp_path / "hpc_ckpt_1.ckpt").touch()

    class Successor(Requeued):
        def on_train_start(self, trainer, module):
            super().on_train_start(trainer, module)
            if not complete:
                self._answer = self.fail

        def fail(self, signum, frame):
            raise OSError("no space left")

    callback = Successor((0, 0), 0, tmp_path / "hpc_ckpt_2.ckpt")
    with pytest.raises(SystemExit if complete else OSError):
        tiny_trainer(tmp_path, callbacks=[callback]).fit(tiny_vicreg(), datamodule=tiny_data(batch_size=10))
    left = [file.name for file in requeue_checkpoints(tmp_path)]
    assert left == (["hpc_ckpt_2.ckpt"] if complete else ["hpc_ckpt_1.ckpt"])


def test_a_run_that_is_requeued_behind_its_first_batch_keeps_the_untrained_weights(tmp_path):
    callbacks = [Asked((0, 0), []), EpochCheckpoint(every_n_epochs=1, dirpath=str(tmp_path))]
    trainer = tiny_trainer(tmp_path, callbacks=callbacks, enable_checkpointing=True)
    with pytest.raises(SystemExit, match="requeued after SIGUSR1"):
        trainer.fit(tiny_vicreg(), datamodule=tiny_data(batch_size=10))
    assert trainer.global_step == 1
    assert [file.name for file in tmp_path.glob("*.ckpt")] == ["epoch=0000.ckpt"]
    assert not (tmp_path / "untrained.part").exists()
