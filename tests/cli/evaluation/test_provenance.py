"""What the evaluator says that kept embeddings depend on."""

import json
from copy import deepcopy

import pytest
import timm
import torch
import yaml
from torch import nn

from dejavu_lightning.cli.evaluation.provenance import keep_embeddings, settings_hash
from dejavu_lightning.cli.evaluation.trained import MeasuredModel
from dejavu_lightning.cli.memorization import memorization
from dejavu_lightning.embedding.kept import KeptEmbeddings
from dejavu_lightning.memorization import MemorizationSets, ModuleEncoder, Preprocessing, SplitRecord
from tests.commands import TINY, run
from tests.published import scrambled


def test_settings_that_name_other_files_differ(tmp_path):
    file = tmp_path / "boxes.jsonl"
    settings = {"source": {"class_path": "Some", "init_args": {"objects": [str(file)], "side": 3}}}
    found = [settings_hash(settings)]
    for content in ("one", "two"):
        file.write_text(content)
        found.append(settings_hash(settings))
    settings["source"]["init_args"]["side"] = 4
    found.append(settings_hash(settings))
    assert len(set(found)) == 4
    assert settings_hash(json.loads(json.dumps(settings))) == found[-1]


CHANGES = {
    "weights": {"module": nn.Linear(2, 2)},
    "model": {"model_settings": {"class_path": "Model", "init_args": {"pool": "max"}}},
    "data": {"data_settings": {"class_path": "Data", "init_args": {"min_crop_side": 7}}},
    "preprocessing": {"preprocessing": Preprocessing(32, mean=(0.485, 0.456, 0.40601))},
    "split": {"trained_on": SplitRecord("B", "f00d")},
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_shows_where_it_belongs(tmp_path, name):
    def provenance(module=None, trained_on=None, **changes):
        parts = {"model_settings": {}, "data_settings": {}, "preprocessing": Preprocessing(32), **changes}
        encoder = ModuleEncoder(module or nn.Identity())
        model = MeasuredModel("a model", encoder, data=None, settings=None, **parts)
        sets = MemorizationSets(attack=[0], public=[0], num_classes=1, trained_on=trained_on)
        keep_embeddings(KeptEmbeddings(tmp_path), [model], model, sets)
        return model.encoder.kept.provenance

    plain, changed = provenance(), provenance(**CHANGES[name])
    assert {key for key in plain if plain[key] != changed[key]} == {name}
    assert set(plain) == {*CHANGES, "device"}


@pytest.fixture
def evaluated(tmp_path, config, capsys):
    """Measures what a file of weights holds; how many sets came from the folder, and what else was printed."""

    def evaluate(*more, settings=None, seed=0, folder="kept"):
        settings = deepcopy(settings or TINY)
        settings["memorization"]["test"]["init_args"]["batch_size"] = 40
        config.write_text(yaml.safe_dump(settings))
        weights = tmp_path / "weights.pth"
        torch.save(scrambled(timm.create_model("resnet10t", num_classes=0), seed).state_dict(), weights)
        given = ["--target", "WeightsFile", "--target.file", weights, "--target.architecture", "resnet10t"]
        given += ["--config", config, "--device", "cpu", *(["--embeddings", tmp_path / folder] if folder else [])]
        memorization(["memorization", *map(str, given), *(more or ("--reference", "HeldOut"))])
        lines = capsys.readouterr().out.partition("\nnext:")[0].splitlines()
        told = [line for line in lines if line.startswith("embeddings: ")]
        return [line.split(" sets")[0] for line in told], [line for line in lines if line not in told]

    return evaluate


def changed(section, **settings):
    part = TINY[section]
    inner = {"init_args": {**part["init_args"], **settings}} if section == "data" else settings
    return {**TINY, section: {**part, **inner}}


def test_what_differs_is_embedded_anew(evaluated):
    """Of the three sets, public, attacked and those of the other split, so many come from the folder."""

    def found(*more, **options):
        return evaluated(*more, **options)[0]

    k = ("--reference", "HeldOut", "--k", "7")
    first, again, plain = evaluated(), evaluated(*k), evaluated(*k, folder=None)
    assert (first[0], again[0], plain[0]) == (["embeddings: 0 of 3"], ["embeddings: 3 of 3"], [])
    assert again[1] == plain[1] != first[1]
    assert found(seed=1) == ["embeddings: 0 of 3"], "other weights in a file of one name"
    assert found(settings=changed("data", min_crop_side=7)) == ["embeddings: 0 of 3"]
    pooled = ("--reference", "HeldOut", "--target.options", '{"global_pool": "max"}')
    assert found(*pooled) == ["embeddings: 0 of 3"], "the same weights in another model"
    assert found(settings=changed("memorization", max_records=30)) == ["embeddings: 1 of 3"]
    second = ("--reference", "TimmModel", "--reference.name", "resnet10t", "--allow_unverified_split", "true")
    assert found(*second) == ["embeddings: 2 of 6"], "of both models also the held-out ones"
    assert found() == ["embeddings: 3 of 3"]


@pytest.mark.slow
def test_evaluate_of_two_runs_takes_another_k_from_the_folder(config, tmp_path):
    pair, kept = tmp_path / "pair", tmp_path / "kept"
    run("train.py", "pair", "--config", config, "--output", pair)
    target, reference = (pair / role / "checkpoints" / "last.ckpt" for role in ("target", "reference"))
    extra = tmp_path / "extra.yaml"
    extra.write_text(yaml.safe_dump({"again": str(reference)}))
    given = ["--target", target, "--reference", reference, "--symmetric", "true", "--extra_references", extra]

    def evaluated(name, k, *more):
        printed = run("evaluate.py", "memorization", *given, "--k", k, "--output", tmp_path / name, *more).stdout
        return printed, {file.name: file.read_bytes() for file in (tmp_path / name).rglob("*.parquet")}

    assert f"embeddings: 3 of 15 sets from {kept}" in evaluated("first", 5, "--embeddings", kept)[0]
    printed, records = evaluated("second", 7, "--embeddings", kept)
    assert f"embeddings: 15 of 15 sets from {kept}" in printed
    plain, expected = evaluated("plain", 7)
    assert records == expected
    assert len(records) > 1
    printed, plain = (text.partition("\nnext:")[0] for text in (printed, plain))
    assert printed.replace(f"embeddings: 15 of 15 sets from {kept}\n", "").replace("second", "plain") == plain
    refused = run("evaluate.py", "memorization", *given, "--embeddings", config / "in_a_file", code=1).stderr
    assert "is no folder in which embeddings can be kept" in refused
    assert "Traceback" not in refused
