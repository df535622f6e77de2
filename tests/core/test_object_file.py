"""Tags of background crops: a classifier as tagger, and the crops of a config as pictures."""

import json

import pytest
import torch
from torchvision.models import get_model
from torchvision.transforms.v2.functional import normalize, resize

from dejavu_lightning.annotation import CropBatches, TorchvisionTagger, load_detector
from dejavu_lightning.core.object_file import read_tags
from dejavu_lightning.memorization import LabelInference, NaiveBayes, measure
from tests.commands import run
from tests.models import tiny_data, tiny_vicreg

NET = "shufflenet_v2_x0_5"
LABELS = ["sky", "sea", "sand"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    model = get_model(NET, weights=None, num_classes=3)
    with torch.no_grad():
        model.fc.weight *= 50  # of a random network all classes are about as likely
    torch.save(model.state_dict(), tmp_path_factory.mktemp("net") / "net.pt")
    return str(tmp_path_factory.getbasetemp() / "net0" / "net.pt")


def test_tags_are_the_likeliest_classes_of_the_whole_picture(weights):
    tagger = load_detector(NET, LABELS, weights=weights, threshold=0.2)
    assert isinstance(tagger, TorchvisionTagger)
    images = [torch.randint(0, top, size, dtype=torch.uint8) for top, size in ((255, (3, 40, 30)), (90, (3, 20, 64)))]
    model = get_model(NET, weights=None, num_classes=3)
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()
    for image, found in zip(images, tagger(images), strict=True):
        square = resize(image.float() / 255, [224, 224], antialias=True)
        with torch.no_grad():
            share = model(normalize(square, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])[None])[0].softmax(dim=0)
        likely = [(p, label) for p, label in zip(share.tolist(), LABELS, strict=True) if p > 0.2]
        expected = sorted(likely, reverse=True)
        assert [(detection.label, detection.box) for detection in found] == [
            (label, (0.0, 0.0, image.shape[2], image.shape[1])) for _, label in expected
        ]
        assert [detection.score for detection in found] == pytest.approx([p for p, _ in expected], abs=1e-5)


def test_crops_are_what_the_test_attacks():
    sets = tiny_data().memorization_sets()
    batches = CropBatches([sets.attack, sets.neither_split], batch_size=16)
    pictures = [picture for number in range(len(batches)) for picture in batches[number]]
    assert [picture.id for picture in pictures] == [*sets.attack.ids, *sets.neither_split.ids]
    for picture, position in zip(pictures, range(len(sets.attack)), strict=False):
        x0, y0, x1, y1 = sets.attack.crops[position]
        whole = sets.attack.source.image(sets.attack.indices[position])
        assert torch.equal(picture.image, whole[:, y0:y1, x0:x1])
    batches.done = set(sets.attack.ids)
    assert all(picture.image is None for picture in batches[0])
    assert all(picture.image is not None for picture in batches[3])


@pytest.mark.slow
def test_the_command_tags_crops_for_naive_bayes(config, tmp_path, weights):
    out = tmp_path / "tags.jsonl"
    given = ["--crops", config, "--output", out, "--detector", NET, "--weights", weights, "--labels", *LABELS]
    told = run("dejavu_lightning", "annotate", *given, "--threshold", "0.1").stdout
    assert "110 pictures with" in told
    data = tiny_data()
    sets = data.memorization_sets()
    tags = read_tags(str(out))
    assert set(tags) == {*sets.attack.ids, *sets.other_split.ids, *sets.neither_split.ids}
    assert {tag for found in tags.values() for tag in found} <= set(LABELS)
    found = measure(tiny_vicreg(), LabelInference(k=5), NaiveBayes(str(out), k=1), sets)
    assert {"score", "control_score"} <= set(found.metrics)
    line = json.loads(out.read_text().splitlines()[0])
    assert line["objects"][0]["box"][:2] == [0, 0]

    refused = run("dejavu_lightning", "annotate", *given, "--images", tmp_path, code=1).stderr
    assert "give one of --images, --shards and --crops" in refused


def test_bad_taggers(weights):
    with pytest.raises(ValueError, match=f"'{NET}' has published weights for ImageNet's classes"):
        load_detector(NET, LABELS)
    with pytest.raises(ValueError, match=r"net.pt' are not those of .* with 2 classes: of another shape"):
        load_detector(NET, LABELS[:2], weights=weights)
    with pytest.raises(ValueError, match=r"prompt='a \{\}' is for zero-shot detectors"):
        load_detector(NET, LABELS, weights=weights, prompt="a {}")
    with pytest.raises(ValueError, match=r"did you mean .*resnet50"):
        load_detector("resnett50", LABELS, weights=weights)
