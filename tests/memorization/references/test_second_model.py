import pytest
import torch
from torch import nn

from dejavu_lightning.embedding.kept import KeptEmbeddings
from dejavu_lightning.memorization import (
    Checkpoint,
    HeldOut,
    LabelInference,
    MemorizationSets,
    ModuleEncoder,
    Preprocessing,
    SecondModel,
    SplitRecord,
    measure,
)
from tests.captions import caption_data
from tests.models import HostModule, Pairs, tiny_data, tiny_trainer, tiny_vicreg


def sets(split="A", fingerprint="f00d"):
    return MemorizationSets(
        attack=Pairs(30, 1),
        public=Pairs(60, 2),
        num_classes=10,
        other_split=Pairs(40, 3),
        neither_split=Pairs(20, 4),
        trained_on=SplitRecord(split, fingerprint),
    )


def save(path, module, record=None, **more):
    checkpoint = {"state_dict": module.state_dict(), **more}
    if record:
        checkpoint["AnyDataModule"] = record.state()
    torch.save(checkpoint, path)
    return path


def run(target, reference):
    return measure(ModuleEncoder(target, "backbone"), LabelInference(k=5, batch_size=16), reference, sets())


def host(seed):
    torch.manual_seed(seed)
    return HostModule()


def test_a_checkpoint_answers_as_the_model_it_was_saved_from(tmp_path):
    """Independent path: encode with the second model itself, search and vote by hand."""
    target, other = host(0), host(1)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    target.train()
    found = run(target, Checkpoint(save(tmp_path / "b.ckpt", other, SplitRecord("B", "f00d"))))
    assert target.training
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in before.items())

    other.eval()
    attack, public = Pairs(30, 1), Pairs(60, 2)
    with torch.no_grad():
        queries, bank = other.backbone(attack.images).double(), other.backbone(public.images).double()
    for row in found.reference.table.to_pylist():
        index = int(row["id"].split("/")[1])
        nearest = (bank - queries[index]).square().sum(dim=1).argsort()[:5].tolist()
        labels = [int(public.labels[n]) for n in nearest]
        best = max(labels, key=lambda label: (labels.count(label), -labels.index(label)))
        assert row["predicted"] == best
        assert row["neighbors"] == [f"public/{n}" for n in nearest]
        assert row["correct"] == (best == int(attack.labels[index]))
        assert row["correct_top5"] == (int(attack.labels[index]) in labels)


def test_the_same_weights_leave_nothing(tmp_path):
    target = host(0)
    found = run(target, Checkpoint(save(tmp_path / "b.ckpt", target, SplitRecord("B", "f00d")))).metrics
    assert (
        found["score"]
        == found["memorized"]
        == found["misrepresented"]
        == found["control_score"]
        == found["net_score"]
        == 0
    )


def test_a_file_of_another_epoch_is_refused_unless_overridden_by_name(tmp_path):
    file, given, encoder = tmp_path / "b.ckpt", sets(), ModuleEncoder(host(0), "backbone")
    test, record = LabelInference(k=5, batch_size=16), SplitRecord("B", "f00d")
    checkpoint = torch.load(save(file, host(1), record), weights_only=True)
    torch.save(checkpoint | {"epoch": 3}, file)
    reference = Checkpoint(file)
    reference.check(test, given, [4])
    four = measure(encoder, test, reference, given, epoch=4)
    told = r"b\.ckpt was saved after 4 epochs, the target is compared after 5 epochs. .* allow_unequal_epochs=True"
    with pytest.raises(ValueError, match=told):
        reference.check(test, given, [4, 5])
    with pytest.raises(ValueError, match=told):  # though its records of the same file are at hand
        measure(encoder, test, reference, given, epoch=5)
    allowed = Checkpoint(file, allow_unequal_epochs=True)
    allowed.check(test, given, [4, 5])
    assert measure(encoder, test, allowed, given, epoch=5).metrics == four.metrics
    measure(encoder, test, reference, given)  # of a model whose epoch nobody knows


def test_a_checkpoint_that_is_rewritten_is_read_again(tmp_path):
    file, same = tmp_path / "b.ckpt", sets()
    reference = Checkpoint(save(file, host(0), SplitRecord("B", "f00d")))
    encoder, test = ModuleEncoder(host(0), "backbone"), LabelInference(k=5, batch_size=16)
    assert measure(encoder, test, reference, same).metrics["memorized"] == 0
    save(file, host(1), SplitRecord("B", "f00d"))
    changed = measure(encoder, test, reference, same)
    assert changed.reference.table["neighbors"] != changed.target.table["neighbors"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (SplitRecord("A", "f00d"), "trained on split 'A', like the target"),
        (SplitRecord("B", "beef"), r"another partition \(fingerprint beef, the target's is f00d\)"),
        (None, "does not say which split is trained on"),
    ],
)
def test_overlap_is_refused_unless_overridden_by_name(tmp_path, record, message):
    file = save(tmp_path / "b.ckpt", host(1), record)
    with pytest.raises(ValueError, match=message):
        run(host(0), Checkpoint(file))
    assert run(host(0), Checkpoint(file, allow_unverified_split=True)).metrics["records"] == 30


def test_weights_that_do_not_fit_are_listed(tmp_path):
    other = host(1)
    other.head = nn.Sequential(nn.Dropout(), nn.Linear(32, 7), nn.Linear(7, 2))
    file = save(tmp_path / "b.ckpt", other, SplitRecord("B", "f00d"))
    with pytest.raises(ValueError, match=r"b.ckpt: its weights do not fit HostModule") as caught:
        run(host(0), Checkpoint(file))
    for part in ("2 unexpected: head.2.bias, head.2.weight", "of another shape: head.1.bias (7,) for (10,)"):
        assert part in str(caught.value)


def test_nothing_is_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"state_dict": {}, "evil": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match=r"would run code when loaded, which is refused: \S*open"):
        run(host(0), Checkpoint(tmp_path / "evil.ckpt"))
    assert not (tmp_path / "owned").exists()
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ValueError, match="not a Lightning checkpoint"):
        run(host(0), Checkpoint(tmp_path / "list.ckpt"))


def test_a_directory_needs_an_epoch(tmp_path):
    with pytest.raises(ValueError, match="the target's epoch is unknown; name one file"):
        run(host(0), Checkpoint(tmp_path))


def test_held_out_attacks_the_same_model_on_other_records():
    found = run(host(0), HeldOut())
    assert len(found.reference) == 40
    assert not {"control_score", "net_score"} & set(found.metrics)
    assert found.headline == "score"
    assert len(run(host(0), HeldOut(split="neither_split")).reference) == 20
    with pytest.raises(ValueError, match="split must be 'other_split' or 'neither_split', got 'train'"):
        HeldOut(split="train")


def test_a_record_in_the_public_set_is_refused():
    class Named(Pairs):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return {"image": image, "label": label, "id": f"picture{index}"}

    overlapping = MemorizationSets(attack=Named(5, 1), public=Named(20, 1), num_classes=10, other_split=Named(5, 2))
    with pytest.raises(ValueError, match="5 ids are both in the attack set and in the public set, such as 'picture0'"):
        measure(ModuleEncoder(host(0), "backbone"), LabelInference(k=3), HeldOut(), overlapping)


def test_a_datamodule_refuses_to_resume_on_other_data():
    data = tiny_data()
    data.load_state_dict(tiny_data().state_dict())
    with pytest.raises(ValueError, match=r"the checkpoint was trained on .*'B'.* this run trains on .*'A'"):
        data.load_state_dict(tiny_data("B").state_dict())


def test_attack_sets_are_disjoint_from_training_and_public():
    data = tiny_data()
    found = data.memorization_sets()
    groups = [set(group.ids) for group in (found.attack, found.other_split, found.neither_split, found.public)]
    assert len(set.union(*groups)) == sum(map(len, groups))
    dataset = data.train_dataloader().dataset
    assert {dataset[position, 0]["id"] for position in range(len(dataset))} == groups[0]


def test_a_bare_module_is_measured_as_it_stands():
    """Its forward gives the embeddings, in evaluation mode; of a LightningModule what encodes is found by its name."""
    whole = host(0)
    whole.train()
    test = LabelInference(k=5, batch_size=16)
    expected = measure(ModuleEncoder(whole, "backbone"), test, HeldOut(), sets())
    found = measure(whole.backbone, test, HeldOut(), sets())
    assert found.metrics == expected.metrics
    assert whole.backbone.training
    assert measure(whole, test, HeldOut(), sets()).metrics == expected.metrics
    whole.trunk = whole.backbone
    del whole.backbone
    with pytest.raises(ValueError, match="HostModule has no 'encode' to encode with"):
        measure(whole, test, HeldOut(), sets())


def test_a_checkpoint_is_shown_its_own_preprocessing(tmp_path):
    """A reference that was trained on smaller pictures than the target is; as a second model with such sets."""
    data, shown = tiny_data("B"), Preprocessing(24, (0.4, 0.4, 0.4), (0.3, 0.3, 0.3))
    file = save(tmp_path / "b.ckpt", tiny_vicreg(1), data=data.record.state() | shown.state())
    target, test, sets = tiny_vicreg(0), LabelInference(k=5, batch_size=16), tiny_data().memorization_sets()
    small = tiny_data().memorization_sets(shown)
    second = SecondModel(ModuleEncoder(tiny_vicreg(1)), data.record, small)
    expected = measure(target, test, second, sets).reference.table.to_pylist()
    own = Checkpoint(file)
    own.check(test, sets, [0])
    assert measure(target, test, own, sets).reference.table.to_pylist() == expected
    like_the_target = Checkpoint(file, preprocessing=sets.preprocessing)
    assert measure(target, test, like_the_target, sets).reference.table.to_pylist() != expected

    silent = save(tmp_path / "silent.ckpt", tiny_vicreg(1), data.record)
    Checkpoint(silent).check(test, sets, [0])  # the target's own architecture
    with pytest.raises(ValueError, match=r"Checkpoint: .*silent.ckpt does not say which pictures it takes"):
        Checkpoint(silent, encoder=ModuleEncoder(tiny_vicreg(1))).check(test, sets, [0])


def test_kept_embeddings_of_a_checkpoint_are_those_of_its_own_pictures(tmp_path):
    data, shown = tiny_data("B"), Preprocessing(24, (0.4, 0.4, 0.4), (0.3, 0.3, 0.3))
    file = save(tmp_path / "b.ckpt", tiny_vicreg(1), data=data.record.state() | shown.state())
    test, sets = LabelInference(k=5, batch_size=16), tiny_data().memorization_sets()
    found = []
    for reference in (Checkpoint(file), Checkpoint(file, preprocessing=sets.preprocessing), Checkpoint(file)):
        encoder = ModuleEncoder(tiny_vicreg(0), kept=KeptEmbeddings(tmp_path / "kept"))
        found.append(measure(encoder, test, reference, sets).reference.table.to_pylist())
    assert found[0] == found[2] != found[1]


def test_a_run_s_checkpoint_says_which_pictures_it_takes(tmp_path):
    data = tiny_data(image_size=32)
    trainer = tiny_trainer(tmp_path, max_epochs=1)
    trainer.fit(tiny_vicreg(), datamodule=data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    found = Preprocessing.find(torch.load(tmp_path / "last.ckpt", weights_only=True))
    assert found == data.preprocessing == data.memorization_sets().preprocessing
    assert Preprocessing.find({"ImageDataModule": {"split": "A"}}) is None


def test_captions_are_offered_in_another_preprocessing():
    """The same records, also of a part of the sets."""
    sets = caption_data().memorization_sets().subsample(7, 11, seed=3)
    shown = Preprocessing(40, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), "bilinear", "squash")
    other = sets.shown_to("the reference", shown)
    assert other.preprocessing == shown
    for role in ("attack", "other_split", "neither_split", "public"):
        assert getattr(other, role).ids == getattr(sets, role).ids
    sample = caption_data().memorization_sets(shown).attack
    assert torch.equal(other.attack[2]["image"], sample[sample.ids.index(other.attack.ids[2])]["image"])
    assert sets.shown_to("the reference", sets.preprocessing) is sets
