"""Every YAML that ships parses, as its first line says it is used."""

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from lightning.pytorch import LightningDataModule, LightningModule

from dejavu_lightning import memorization
from dejavu_lightning.cli.configs import find_config, shipped_configs
from dejavu_lightning.cli.fit import DejavuCLI
from dejavu_lightning.cli.memorization_options import read_references
from dejavu_lightning.models.backbones import build_backbone
from dejavu_lightning.pretrained import LoadedModel, WeightsFile
from dejavu_lightning.studies import plan_runs, read_study

ALL = sorted(shipped_configs().rglob("*.yaml"))
STUDIES = [path for path in ALL if "studies" in path.parts]
SWEEPS = [path for path in ALL if "sweeps" in path.parts]
REFERENCES = [path for path in ALL if "extra_references" in path.parts]
CONFIGS = [path for path in ALL if path not in STUDIES + SWEEPS + REFERENCES]


def parse(*arguments):
    class ParseOnly(DejavuCLI):
        def instantiate_classes(self):
            pass

        def _run_subcommand(self, subcommand):
            pass

    return ParseOnly(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        trainer_defaults={"default_root_dir": "nowhere"},
        seed_everything_default=0,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        args=["fit", *arguments],
    ).config.fit


def command_of(path):
    """The arguments of the command that the file opens with."""
    lines = path.read_text().splitlines()
    last = next(number for number, line in enumerate(lines) if not line.endswith("\\"))
    words = shlex.split(" ".join(line.removeprefix("#").rstrip("\\") for line in lines[: last + 1]))
    return [find_config(word) if word.startswith("configs/") else word for word in words]


def test_all_are_found():
    assert (len(CONFIGS), len(STUDIES), len(SWEEPS), len(REFERENCES)) == (59, 38, 2, 5)


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_references_are_those_that_the_command_they_open_with_takes(path, monkeypatch, tmp_path):
    published = LoadedModel("published", build_backbone("small_resnet"))
    monkeypatch.setattr(WeightsFile, "load", lambda _: published)
    monkeypatch.chdir(tmp_path)  # where no folder configs is
    program, script, command, *arguments = command_of(path)
    assert (program, script, command) == ("python", "evaluate.py", "memorization")
    assert arguments[arguments.index("--extra_references") + 1] == str(path)
    given = read_references(f"configs/extra_references/{path.name}")
    assert given.keys() == yaml.safe_load(path.read_text()).keys()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(shipped_configs())))
def test_parses_in_the_command_it_opens_with(path):
    program, script, command, *arguments = command_of(path)
    assert (program, script) == ("python", "train.py")
    assert command in ("fit", "pair")
    assert path in [Path(word).resolve() for word in arguments]
    if "--output" in arguments:  # an option of pair alone
        position = arguments.index("--output")
        del arguments[position : position + 2]
    config = parse(*[word.replace("--target_config", "--config") for word in arguments])
    if path.parent.name == "reconstruction":  # a model that encodes nothing: it is not measured
        assert config.data.class_path.endswith("PublicPictures")
        return
    clip = config.model.class_path.endswith("CLIP")
    test = {"tests": path.stem.title().replace("_", "")}.get(
        path.parent.name, "ObjectRetrieval" if clip else "LabelInference"
    )
    assert config.memorization.test.class_path.endswith(test)


def runs_of(path):
    study = read_study(path)
    return plan_runs(study, Path("nowhere"), find_config)[: len(study.variants)]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: str(path.relative_to(shipped_configs())))
def test_every_variant_of_a_study_parses(path):
    program, script, command, *arguments = command_of(path)
    assert (program, script, command) == ("python", "train.py", "study")
    assert arguments[0] == "--config"
    assert Path(arguments[1]).resolve() == path
    measured = set()
    for run in runs_of(path):
        arguments = list(run.arguments)
        if "--leave_out" in arguments:  # an option of pair alone
            position = arguments.index("--leave_out")
            del arguments[position : position + 2]
        config = parse(*[word.replace("--target_config", "--config") for word in arguments])
        assert config.seed_everything == config.data.init_args.split_seed == run.seed, run.variant
        assert any("UtilityMonitor" in callback.class_path for callback in config.trainer.callbacks), run.variant
        measured.add(config.memorization.test.class_path.rpartition(".")[2])
    (name,) = measured
    assert read_study(path).headline in (None, getattr(memorization, name).headline)
    settings = [str(run.arguments) for run in runs_of(path)]
    assert len(set(settings)) == len(settings) > 2


def test_the_papers_studies_have_the_variants_of_the_small_ones():
    small, papers = ({path.name for path in STUDIES if ("papers" in path.parts) == large} for large in (False, True))
    names = ["mitigations_clip", "mitigations_ssl", "dataset_size", "epochs", "methods"]
    names += ["caption_sampling", "text_noise", "duplicate_captions", "caption_data_size"]
    names += ["crop_scale", "jitter", "stochastic_depth", "dropout"]
    names += ["architectures", "loss_coefficients", "guillotine", "ranking_clip", "ranking_ssl", "records"]
    assert small == papers == {f"{name}.yaml" for name in names}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_parses_with_values_of_its_parameters(path):
    lines = path.read_text()
    assert lines.startswith(f"# wandb sweep configs/sweeps/{path.name}\n")
    sweep = yaml.safe_load(lines)
    assert sweep["command"][:2] == ["sh", "-c"]
    assert sweep["command"][3:] == ["fit", "${args}"]
    values = {name: given.get("values", [given.get("min")])[-1] for name, given in sweep["parameters"].items()}
    # The shell of the agent, with an echo for the interpreter.
    script = sweep["command"][2].replace("exec python", "printf '%s\\n'")
    given = [f"--{name}={value}" for name, value in values.items()]
    shell = subprocess.run(
        ["sh", "-c", script, "fit", *given], env={"WANDB_RUN_ID": "abc"}, capture_output=True, text=True, check=True
    )
    program, command, *arguments = shell.stdout.splitlines()
    assert (program, command) == ("train.py", "fit")
    assert "runs/sweeps/abc" in arguments
    arguments = [find_config(word) if word.startswith("configs/") else word for word in arguments]
    config = parse(*[word.replace("--target_config", "--config") for word in arguments])
    for name, value in values.items():
        found = config.model.init_args
        for part in name.split(".")[1:]:
            found = found[part]
        assert found == value


@pytest.mark.parametrize("path", CONFIGS + STUDIES, ids=lambda path: path.name)
def test_opens_with_its_command_hardware_and_expectation(path):
    text = path.read_text()
    assert text.startswith("# python train.py ")
    assert "# Expect:" in text
    assert "# Hardware:" in text or "# Needs:" in text


def test_shipped_configs_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(find_config("configs/loggers/wandb.yaml")).is_file()
    with pytest.raises(SystemExit, match=r"no config 'configs/quikstart.yaml'.*configs/quickstart.yaml"):
        find_config("configs/quikstart.yaml")


def test_a_typo_fails_at_parse_time(capsys):
    with pytest.raises(SystemExit):
        parse("--config", find_config("configs/quickstart.yaml"), "--memorization.every_n_epohcs", "3")
    assert "every_n_epohcs" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse("--config", find_config("configs/quickstart.yaml"), "--model.varience", "3")
    assert "varience" in capsys.readouterr().err
