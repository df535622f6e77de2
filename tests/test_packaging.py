"""Every way to install gives the same package, in a fresh environment that borrows only the dependencies."""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"dejavu_lightning.configs"}
    for home in (ROOT / "dejavu_lightning", ROOT / "callbacks"):
        for init in home.rglob("__init__.py"):
            name = ".".join(init.parent.relative_to(ROOT).parts)
            found.add(name if home.name == "dejavu_lightning" else f"dejavu_lightning.{name}")
    assert set(listed) == found


def test_a_bare_import_says_what_to_import():
    done = subprocess.run(
        [sys.executable, "-c", "import callbacks"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "this folder is the package dejavu_lightning.callbacks; import that" in done.stderr


@pytest.fixture
def checkout(tmp_path):
    made = shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", "wandb", ".*_cache")

    def skip(folder, names):
        return made(folder, names) | ({"runs"} if Path(folder) == ROOT else set())

    return Path(shutil.copytree(ROOT, tmp_path / "checkout", ignore=skip))


def run(*command, cwd):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


INSTALLS = {
    "plain": ["."],  # pip makes a wheel and installs that
    "editable": ["-e", "."],
    "strict-editable": ["-e", ".", "--config-settings", "editable_mode=strict"],
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", INSTALLS)
def test_install(mode, checkout, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    # All that is installed beside the tests but this package, which may be installed there too.
    dependencies = tmp_path / "dependencies"
    dependencies.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "dejavu" not in entry.name:
            (dependencies / entry.name).symlink_to(entry)
    (site / "dependencies.pth").write_text(str(dependencies))
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--no-deps", "--no-build-isolation", *INSTALLS[mode], cwd=checkout)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    name = "dejavu_lightning.callbacks.memorization_monitor"
    code = "import dejavu_lightning.callbacks as c; print(c.MemorizationMonitor.__module__, c.__file__)\n"
    assert run(python, "-c", code, cwd=checkout).startswith(name)
    fit = ["fit", "--config", "configs/quickstart.yaml", "--print_config"]
    assert "every_n_epochs: 40" in run(python, checkout / "train.py", *fit, cwd=checkout)
    if mode == "plain":
        shutil.rmtree(checkout)
    assert "every_n_epochs: 40" in run(python, "-m", "dejavu_lightning", *fit, cwd=elsewhere)
    listed = run(tmp_path / "venv" / "bin" / "dejavu-lightning", "--help", cwd=elsewhere)
    assert listed.startswith("usage: dejavu-lightning COMMAND ...")
    code += "from dejavu_lightning.models.clip_networks import build_clip as build\n"
    code += "print(build('dejavu-tiny')[0].visual.image_size)"
    found, file, *size = run(python, "-c", code, cwd=elsewhere).split()
    assert (found, size) == (name, ["(48,", "48)"])
    assert tmp_path in Path(file).parents
