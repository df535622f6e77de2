"""Every YAML that ships parses, as its first line says it is used."""

import shlex
from pathlib import Path

import pytest
from lightning.pytorch import LightningDataModule, LightningModule

from dejavu_lightning.cli.configs import find_config, shipped_configs
from dejavu_lightning.cli.fit import DejavuCLI

CONFIGS = sorted(shipped_configs().rglob("*.yaml"))


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
    assert len(CONFIGS) == 41


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(shipped_configs())))
def test_parses_in_the_command_it_opens_with(path):
    program, script, command, *arguments = command_of(path)
    assert (program, script) == ("python", "train.py")
    assert command in ("fit", "pair")
    assert path in [Path(word).resolve() for word in arguments]
    if "--output" in arguments:  # an option of pair alone
        position = arguments.index("--output")
        del arguments[position : position + 2]
    config = parse(*arguments)
    clip = config.model.class_path.endswith("CLIP")
    assert config.memorization.test.class_path.endswith("ObjectRetrieval" if clip else "LabelInference")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_opens_with_its_command_hardware_and_expectation(path):
    text = path.read_text()
    assert text.startswith("# python train.py ")
    assert "# Expect:" in text
    assert "# Hardware:" in text or "# Needs:" in text


@pytest.mark.parametrize("path", [p for p in CONFIGS if p.stem.startswith("meehan")], ids=lambda path: path.stem)
def test_papers_have_the_setting_of_the_paper(path):
    config = parse(*[word for word in command_of(path)[3:] if "runs/" not in word and word != "--output"])
    assert config.trainer.max_epochs == 1000
    assert config.data.init_args.per_class == 300
    assert config.data.init_args.batch_size == 128
    assert config.memorization.test.init_args.k == 100
    assert config.model.init_args.backbone == "torchvision/resnet101"
    assert config.model.init_args.backbone_options in (None, {})
    assert config.model.init_args.optimizer.name == "lars"


@pytest.mark.parametrize("model", ["ViT-B-32", "RN50"])
def test_jayaraman_has_the_setting_of_the_paper(model):
    path = find_config(f"configs/papers/jayaraman2024_{model.lower().replace('-', '_')}.yaml")
    config = parse(*[word for word in command_of(Path(path))[3:] if "runs/" not in word and word != "--output"])
    assert config.trainer.max_epochs == 200
    assert config.model.init_args.model == model
    assert config.model.init_args.temperature.minimum == 0.01
    settings = config.model.init_args.optimizer
    assert (settings.lr, settings.weight_decay, settings.warmup_steps) == (5e-4, 0.1, 2000)
    assert config.memorization.test.init_args.ks == [1, 10, 100]
    assert config.memorization.test.init_args.top_n == [1, 10]


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
