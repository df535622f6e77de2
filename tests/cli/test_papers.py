"""The configs of papers hold the papers' values, and each says where it is from."""

from pathlib import Path

import pytest
import yaml

from dejavu_lightning.cli.configs import shipped_configs
from dejavu_lightning.studies import read_study
from tests.cli.test_configs import command_of, parse

FOLDER = shipped_configs() / "papers"

# Setting -> (published value, source), as the comment behind it begins. "authors' code": facebookresearch/DejaVu,
# configs and train_SSL.py; of the crop classifier facebookresearch/DejaVuOSS, configs/supervised_cfg.yaml; of CLIP
# facebookresearch/VLMDejaVu, src/dejavu_attack.py. "open_clip": open_clip_train/params.py, train.py and scheduler.py.
MEEHAN = {
    "trainer.max_epochs": (1000, "paper"),
    "model.backbone": ("torchvision/resnet101", "paper"),
    "model.optimizer.name": ("lars", "paper"),
    "model.optimizer.base_lr": (0.2, "paper"),
    "model.optimizer.weight_decay": (1e-6, "paper"),
    "model.optimizer.warmup_epochs": (10, "paper"),
    "model.optimizer.final_lr_fraction": (0.001, "paper"),
    "data.per_class": (300, "paper"),
    "data.held_out_per_class": (0, "paper"),
    "data.batch_size": (128, "paper"),
    "data.resolutions": ({0: 160, 78: 192}, "authors' code"),
    "memorization.test.k": (100, "paper"),
    "memorization.test.num_workers": (12, "our choice"),
    "memorization.every_n_epochs": (50, "our choice"),
}
JAYARAMAN = {
    "trainer.max_epochs": (200, "paper"),
    "model.temperature.minimum": (0.01, "open_clip"),
    "model.temperature.maximum": (1.0, "open_clip"),
    "model.optimizer.lr": (5e-4, "paper"),
    "model.optimizer.beta1": (0.9, "open_clip"),
    "model.optimizer.weight_decay": (0.1, "paper"),
    "model.optimizer.warmup_steps": (2000, "paper"),
    "model.optimizer.final_lr_fraction": (0.0, "open_clip"),
    "data.batch_size": (512, "our choice"),
    "memorization.test.k": (10, "our choice"),
    "memorization.test.ks": ([1, 10, 100], "paper"),
    "memorization.test.top_n": ([1, 10], "paper"),
    "memorization.test.top": ([1, 5, 10, 0.001, 0.01, 0.1], "paper"),
    "memorization.test.num_workers": (12, "our choice"),
    "memorization.every_n_epochs": (10, "our choice"),
}
PROJECTOR = {"model.projector_widths": ([8192, 8192, 8192], "paper")}
TABLE = {
    "meehan2023_vicreg": {
        **MEEHAN,
        **PROJECTOR,
        "model.invariance": (25.0, "Bardes et al."),
        "model.variance": (25.0, "Bardes et al."),
        "model.covariance": (1.0, "Bardes et al."),
    },
    "meehan2023_barlow_twins": {**MEEHAN, **PROJECTOR, "model.redundancy": (0.0051, "authors' code")},
    "meehan2023_simclr": {
        **MEEHAN,
        "model.optimizer.base_lr": (0.3, "authors' code"),
        "model.projector_widths": ([2048, 256], "authors' code"),
        "model.temperature": (0.15, "authors' code"),
    },
    "meehan2023_byol": {**MEEHAN, "model.momentum": (0.996, "Grill et al.")},
    "meehan2023_supervised": {**MEEHAN, "model.num_classes": (1000, "paper")},
    "meehan2023_dino": {
        **MEEHAN,
        "trainer.gradient_clip_val": (None, "our choice"),
        "model.backbone_options": ({}, "paper"),
        "model.projector_norm": (True, "our choice"),
        "model.momentum": (0.996, "Caron et al."),
        "model.student_temperature": (0.1, "Caron et al."),
        "model.teacher_temperature": ([0.04, 0.07], "Caron et al."),
        "model.teacher_warmup_epochs": (50, "authors' code"),
        "model.center_momentum": (0.9, "Caron et al."),
        "model.freeze_prototypes_epochs": (1, "Caron et al."),
        "data.views.0": ({"image_size": 224, "num_views": 1, "scale": [0.14, 1.0], "blur": 1.0}, "Caron et al."),
        "data.views.1": (
            {"image_size": 224, "num_views": 1, "scale": [0.14, 1.0], "blur": 0.1, "solarize": 0.2},
            "Caron et al.",
        ),
        "data.views.2": ({"image_size": 96, "num_views": 6, "scale": [0.05, 0.14], "blur": 0.5}, "Caron et al."),
    },
    "kokhlikyan2024_crop_classifier": {
        "trainer.max_epochs": (1000, "authors' code"),
        "model.backbone": ("torchvision/resnet50", "paper"),
        "model.num_classes": (1000, "paper"),
        "model.optimizer.name": ("lars", "paper"),
        "model.optimizer.base_lr": (0.2, "paper"),
        "model.optimizer.weight_decay": (0.1, "paper"),
        "model.optimizer.warmup_epochs": (10, "our choice"),
        "data.train_on": ("B", "paper"),
        "data.train_pictures": ("background", "paper"),
        "data.per_class": (300, "Meehan et al."),
        "data.held_out_per_class": (0, "Meehan et al."),
        "data.batch_size": (128, "authors' code"),
        "data.resolutions": ({0: 160, 78: 192}, "authors' code"),
        "memorization.every_n_epochs": (25, "authors' code"),
    },
    "jayaraman2024_rn50": {
        **JAYARAMAN,
        "model.model": ("RN50", "paper"),
        "model.optimizer.beta2": (0.999, "open_clip"),
        "model.optimizer.eps": (1e-8, "open_clip"),
    },
    "jayaraman2024_vit_b_32": {
        **JAYARAMAN,
        "model.model": ("ViT-B-32", "paper"),
        "model.optimizer.beta2": (0.98, "open_clip"),
        "model.optimizer.eps": (1e-6, "open_clip"),
    },
}


def values_of(path):
    """Each value of a YAML by its setting, and the comment that stands behind it."""
    text = path.read_text()
    lines, found = text.splitlines(), {}

    def walk(node, setting):
        block = isinstance(node, yaml.CollectionNode) and not node.flow_style
        if block and isinstance(node, yaml.SequenceNode):
            for position, one in enumerate(node.value):
                walk(one, [*setting, str(position)])
        elif block:
            for key, value in node.value:
                if key.value != "class_path":
                    walk(value, [*setting, *([] if key.value == "init_args" else [key.value])])
        else:
            value = yaml.safe_load(yaml.serialize(node))
            found[".".join(setting)] = (value, lines[node.end_mark.line].partition(" # ")[2])

    walk(yaml.compose(text), [])
    return found


def plain(value):
    """Namespaces, tuples and numbers of configs in one form."""
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if one is not None}
    return [plain(one) for one in value] if isinstance(value, tuple | list) else value


def test_every_paper_is_in_the_table():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_paper_s_file_has_the_published_values_and_their_sources(name):
    found = values_of(FOLDER / f"{name}.yaml")
    assert {setting: value for setting, (value, _) in found.items()} == {
        setting: value for setting, (value, _) in TABLE[name].items()
    }
    for setting, (_, source) in TABLE[name].items():
        assert found[setting][1].startswith(source), f"{setting}: {found[setting][1]!r}"
    text = " ".join((FOLDER / f"{name}.yaml").read_text().replace("\n#", "").split())
    for source in {source for _, source in TABLE[name].values()}:
        assert source.removesuffix(" et al.") in text.partition("trainer:")[0], f"the head must say what {source!r} is"


@pytest.mark.parametrize("name", TABLE)
def test_the_command_of_a_paper_trains_with_its_values(name):
    """Whatever the configs before it say: method, data and trainer."""
    arguments = command_of(FOLDER / f"{name}.yaml")[3:]
    config = parse(*arguments[: arguments.index("--output")] if "--output" in arguments else arguments)
    for setting, (expected, _) in TABLE[name].items():
        section, *parts = setting.split(".")
        value = getattr(config, section)
        for part in parts:
            value = getattr(value, "init_args", value)
            value = value[int(part)] if isinstance(value, list) else value[part]
        value = plain(getattr(value, "init_args", value))
        if isinstance(expected, dict) and "image_size" in expected:  # views, with defaults beside what the file says
            value = {key: value[key] for key in expected}
        assert value == expected, setting


def test_the_papers_studies_have_three_seeds():
    studies = sorted((shipped_configs() / "studies" / "papers").glob("*.yaml"))
    assert len(studies) == 19
    for path in studies:
        assert len(set(read_study(Path(path)).seeds)) >= 3, path.name
