"""Reports tell references apart by their kind, which every reference has and its records carry."""

import torch

from dejavu_lightning.memorization import (
    Checkpoint,
    CropClassifier,
    HeldOut,
    LabelInference,
    MemorizationSets,
    ModuleEncoder,
    NaiveBayes,
    SecondModel,
    TextEmbedder,
    measure,
)


def samples(count, prefix):
    generator = torch.Generator().manual_seed(len(prefix))
    return [
        {"image": torch.rand(3, 4, 4, generator=generator), "label": row % 2, "id": f"{prefix}{row}"}
        for row in range(count)
    ]


def test_kinds():
    references = (HeldOut, SecondModel, Checkpoint, CropClassifier, NaiveBayes, TextEmbedder)
    assert all(isinstance(reference.kind, str) for reference in references)
    assert Checkpoint.kind == SecondModel.kind == "second model"
    assert len({reference.kind for reference in references}) == 5


def test_only_the_reference_s_records_name_it():
    sets = MemorizationSets(samples(6, "a"), samples(8, "pp"), 2, other_split=samples(6, "bbb"))
    encoder = ModuleEncoder(torch.nn.Flatten())
    second = SecondModel(ModuleEncoder(torch.nn.Flatten()), allow_unverified_split=True)
    found = measure(encoder, LabelInference(k=3), second, sets, extra_references={"others": HeldOut()})
    assert found.reference.settings == {**found.target.settings, "reference": "second model"}
    assert found.extra_references["others"].reference.settings["reference"] == "held-out records"
    assert "reference" not in found.comparison.settings
