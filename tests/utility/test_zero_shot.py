import open_clip
import pytest
import torch
from torch import nn

from dejavu_lightning.memorization import ModuleEncoder
from dejavu_lightning.utility import (
    CaptionRetrieval,
    LinearProbe,
    NamedObjects,
    UtilitySets,
    ZeroShot,
    measure_utility,
    probe_metrics,
)
from dejavu_lightning.utility.zero_shot import class_vectors
from tests.captions import Captioned, caption_data, tiny_clip
from tests.processes import run_processes


def test_class_vectors_are_class_major():
    """Each class averages its own templates: the public code reshapes templates x classes the wrong way round."""
    vectors = {
        text: torch.randn(4, generator=torch.Generator().manual_seed(i))
        for i, text in enumerate([f"{template} {name}" for template in ("a", "the", "one") for name in ("cat", "dog")])
    }
    found = class_vectors(
        lambda texts: torch.stack([vectors[t] for t in texts]), ["cat", "dog"], ["a {}", "the {}", "one {}"]
    )
    for column, name in enumerate(("cat", "dog")):
        mean = sum(nn.functional.normalize(vectors[f"{t} {name}"], dim=0) for t in ("a", "the", "one")) / 3
        assert torch.allclose(found[:, column], nn.functional.normalize(mean, dim=0), atol=1e-6)


def test_class_vectors_are_open_clips(tmp_path):
    model = tiny_clip(tmp_path / "m.json").eval()
    names = [f"thing {number}" for number in range(23)]
    expected = open_clip.build_zero_shot_classifier(
        model.model, model.tokenizer, names, open_clip.SIMPLE_IMAGENET_TEMPLATES
    )
    with torch.no_grad():
        found = class_vectors(model.encode_text, names, open_clip.SIMPLE_IMAGENET_TEMPLATES)
    assert torch.allclose(found, expected, atol=1e-5)


class Looked(nn.Module):
    """Images are their own embeddings, texts are looked up by their last word."""

    def __init__(self, words):
        super().__init__()
        self.words = words

    def encode_image(self, images):
        return images

    def encode_text(self, texts):
        return torch.stack([self.words[text.split()[-1]] for text in texts])


EYE = torch.eye(6)
WORDS = {"ant": EYE[0], "bee": EYE[1], "cow": EYE[2]}


def classified():
    images = [EYE[0] + 0.5 * EYE[1], EYE[1], EYE[2] + 0.9 * EYE[0], EYE[3]]
    return Captioned(
        [[0], [0, 1], [1], []], images, captions=["ant", "ant bee", "bee", "cow"], named=[[0], [0, 1], [1], []]
    )


def test_zero_shot_by_hand():
    sets = UtilitySets(classified(), classified(), 3, class_names=["ant", "bee", "cow"])
    found = measure_utility(ModuleEncoder(Looked(WORDS)), [ZeroShot(templates=["a {}", "the {}"])], sets)
    # Predicted ant, bee, cow; shown {ant}, {ant, bee}, {bee}; the fourth shows nothing and is not asked.
    assert found["zero_shot_top1"] == pytest.approx(2 / 3)
    assert found["zero_shot_top5"] == 1


def test_zero_shot_of_labelled_pictures():
    samples = [(EYE[0], 0), (EYE[1], 2), (EYE[2], 2)]
    sets = UtilitySets(samples, samples, 3, class_names=["ant", "bee", "cow"])
    found = measure_utility(ModuleEncoder(Looked(WORDS)), [ZeroShot(templates=["a {}"])], sets)
    assert found["zero_shot_top1"] == pytest.approx(2 / 3)


def test_retrieval_by_hand():
    words = {"ant": EYE[0], "bee": EYE[1], "cow": EYE[2], "fox": EYE[3]}
    # The pictures of ant and bee are mostly exchanged; that of fox is nearest to cow's text, then to fox's.
    images = [EYE[1] + 0.2 * EYE[0], EYE[0] + 0.2 * EYE[1], EYE[2], EYE[2] + 0.9 * EYE[3]]
    pairs = Captioned([[0]] * 4, images, captions=["ant", "bee", "cow", "fox"])
    found = measure_utility(ModuleEncoder(Looked(words)), [CaptionRetrieval(ks=(1, 2))], UtilitySets(pairs, pairs, 1))
    assert found["image_to_text@1"] == 0.25  # cow
    assert found["text_to_image@1"] == 0.5  # cow and fox
    assert found["image_to_text@2"] == found["text_to_image@2"] == 1


def test_named_objects_by_hand():
    bank = Captioned([[0], [1], [0, 2]], [EYE[0], EYE[1], EYE[0] + 0.1 * EYE[2]], prefix="p")
    asked = Captioned([[0], [1]], captions=["ant", "bee"], named=[[0], [1]])
    found = measure_utility(ModuleEncoder(Looked(WORDS)), [NamedObjects(k=2)], UtilitySets(bank, asked, 3))
    # ant finds p0 and p2, both with 0; bee finds p1 with 1 and one of the others without.
    assert found["named_objects@2"] == pytest.approx(3 / 4)


def measured():
    model = Looked({"ant": EYE[0], "bee": EYE[1], "cow": EYE[2] + EYE[1]})
    sets = UtilitySets(classified(), classified(), 3, class_names=["ant", "bee", "cow"])
    measures = [ZeroShot(templates=["a {}"]), CaptionRetrieval(ks=(1, 2)), NamedObjects(k=2)]
    sets = UtilitySets(
        Captioned([[0], [1], [0, 2]], [EYE[0], EYE[1], EYE[2]], prefix="p"), classified(), 3, ["ant", "bee", "cow"]
    )
    return measure_utility(ModuleEncoder(model), measures, sets, batch_size=2)


@pytest.mark.slow
def test_three_processes_give_the_numbers_of_one():
    expected = measured()
    assert len(expected) == 7 * 3
    for found in run_processes(3, measured):
        assert found == expected


def test_all_measures_of_a_clip_model(tmp_path):
    model = tiny_clip(tmp_path / "m.json")
    sets = caption_data().utility_sets()
    measures = [ZeroShot("simple"), CaptionRetrieval(), NamedObjects(), LinearProbe(epochs=5)]
    found = measure_utility(ModuleEncoder(model), measures, sets)
    assert {"zero_shot_top1", "image_to_text@10", "named_objects@10", "linear_top1"} <= set(found)
    assert all(0 <= value <= 1 for value in found.values())
    assert probe_metrics(measures) == [name for name in found if not name.endswith(("_low", "_high"))]
    assert all(found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] for name in probe_metrics(measures))
    assert model.training


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ZeroShot("imagenet"),
            r"templates must be one of \['openai', 'simple'\] or a list of texts, got 'imagenet'",
        ),
        (lambda: ZeroShot(["a photo"]), r"every template must hold \{\} in the place of the name"),
        (lambda: CaptionRetrieval(ks=()), r"ks must be at least 1, got \[\]"),
        (lambda: NamedObjects(k=0), "k must be at least 1, got 0"),
        (lambda: run(ZeroShot()), "a name for each of 3 classes, got no class names"),
        (lambda: run(ZeroShot(class_names=["ant"])), "a name for each of 3 classes, got 1 class names"),
        (lambda: run(CaptionRetrieval(ks=(5,))), "k=5 exceeds the validation set of 4 pairs"),
        (lambda: run(NamedObjects(k=9)), "k=9 exceeds the 4 pictures to search"),
        (
            lambda: measure_utility(lambda x: x, [NamedObjects()], UtilitySets(classified(), classified(), 3)),
            "named_objects encodes pictures and texts: pass a ModuleEncoder",
        ),
        (lambda: run(LinearProbe()), "is a mapping with .*; expected a mapping with 'image', 'label' and 'id'"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def run(measure):
    return measure_utility(
        ModuleEncoder(Looked(WORDS), "encode_image"), [measure], UtilitySets(classified(), classified(), 3)
    )


def test_nothing_to_average_is_named():
    nothing = Captioned([[0]], [EYE[0]], captions=["ant"], named=[[]])
    with pytest.raises(ValueError, match="named_objects@1 cannot be measured: no sample has what it needs"):
        measure_utility(ModuleEncoder(Looked(WORDS)), [NamedObjects(k=1)], UtilitySets(nothing, nothing, 3))
