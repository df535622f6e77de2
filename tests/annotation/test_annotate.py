"""Detectors with random weights: what is tested is which picture gets which boxes, not how good they are."""

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from types import SimpleNamespace

import pytest
import torch
import transformers
from PIL import Image
from torchvision.models import get_model

from dejavu_lightning.annotation import FolderBatches, ShardBatches, ZeroShotDetector, load_detector
from dejavu_lightning.annotation.annotation_file import _tidy
from dejavu_lightning.annotation.detection import Detection, detect_by_size
from dejavu_lightning.annotation.picture_batches import AnnotationPicture
from dejavu_lightning.cli.annotate import annotate
from tests.forks import KILL, ROOT, interpreter

SSD = "ssdlite320_mobilenet_v3_large"
LABELS = ["cat", "dog"]


def tiny_owl(folder):
    """OWL-ViT with random weights, and a tokenizer that knows letters."""
    torch.manual_seed(0)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (source / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(source, model_max_length=16, pad_token="<|endoftext|>")
    size = {"height": 32, "width": 32}
    processor = transformers.OwlViTProcessor(transformers.OwlViTImageProcessor(size=size, crop_size=size), tokenizer)
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1}
    config = transformers.OwlViTConfig(
        text_config={**layers, **ends, "vocab_size": len(tokens), "max_position_embeddings": 16},
        vision_config={**layers, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    model = transformers.OwlViTForObjectDetection(config)
    for values in model.parameters():
        values.data += 0.1 * torch.randn_like(values)  # boxes that depend on the picture
    processor.save_pretrained(folder)
    model.save_pretrained(folder)
    return str(folder)


def tiny_grounding_dino(folder):
    torch.manual_seed(0)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "traffic", "light"]
    vocabulary = [*marks, *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = transformers.BertTokenizerFast(vocab={token: index for index, token in enumerate(vocabulary)})
    processor = transformers.GroundingDinoProcessor(
        transformers.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160}), tokenizer
    )
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    names = ["encoder_layers", "encoder_attention_heads", "decoder_layers", "decoder_attention_heads"]
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            embed_dim=16, depths=[1] * 4, num_heads=[1] * 4, window_size=4, out_indices=[2, 3, 4]
        ),
        text_config=transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, **layers),
        num_queries=20,
        d_model=32,
        max_text_len=32,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        **dict.fromkeys(names, 2),
    )
    processor.save_pretrained(folder)
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def _one_thread(_threads):
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def owl(tmp_path_factory):
    return tiny_owl(tmp_path_factory.mktemp("owl"))


@pytest.fixture(scope="module")
def ssd(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("ssd") / "weights.pt"
    model = get_model(SSD, weights=None, weights_backbone=None, num_classes=3)
    # As they are made, activations vanish and all scores tie: let the batch norms see some noise.
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.head(list(model.train().backbone(torch.rand(4, 3, 320, 320)).values()))
    torch.save(model.state_dict(), file)
    return str(file)


def png(seed, width=40, height=30):
    pixels = torch.randint(256, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(out, "PNG")
    return out.getvalue()


PICTURES = {f"part{i % 2}/{i:02}": png(i, 30 + 5 * (i % 3), 40) for i in range(10)}


@pytest.fixture
def folder(tmp_path):
    for name, data in PICTURES.items():
        path = tmp_path / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "pictures"


def shards(where, samples, each=4):
    """Tar files of ``each`` samples, a dictionary from key to dictionaries from suffix to bytes."""
    where.mkdir(exist_ok=True)
    items = list(samples.items())
    for number, start in enumerate(range(0, len(items), each)):
        with tarfile.open(where / f"{number:03}.tar", "w") as tar:
            for key, files in items[start : start + each]:
                for suffix, data in files.items():
                    entry = tarfile.TarInfo(f"{key}.{suffix}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
    return f"{where}/{{000..{(len(items) - 1) // each:03}}}.tar"


def run(output, *options, owl=None, labels=LABELS):
    chosen = ["--detector", owl, "--labels", *labels, "--threshold", "0.01"] if owl else []
    annotate(["annotate", "--output", str(output), *map(str, options), *chosen, "--device", "cpu"])
    return read(output)


def read(output):
    return [json.loads(line) for line in output.read_text().splitlines()]


def close(one, other):
    assert [line["id"] for line in one] == [line["id"] for line in other]
    for a, b in zip(one, other, strict=True):
        assert len(a["objects"]) == len(b["objects"]) > 0
        for x, y in zip(a["objects"], b["objects"], strict=True):
            assert x["label"] == y["label"]
            assert x["box"] == pytest.approx(y["box"], abs=0.05)
            assert x["score"] == pytest.approx(y["score"], abs=1e-3)


def test_lines_hold_the_objects_of_each_picture(folder, owl, tmp_path, capsys):
    lines = run(tmp_path / "out.jsonl", "--images", folder, owl=owl)
    assert [line["id"] for line in lines] == sorted(PICTURES)
    assert len({json.dumps(line["objects"]) for line in lines}) == len(PICTURES)  # each its own
    for line in lines:
        width = 30 + 5 * (int(line["id"][-2:]) % 3)
        assert line["objects"]
        scores = [found["score"] for found in line["objects"]]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) >= 0.01
        for found in line["objects"]:
            x0, y0, x1, y1 = found["box"]
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= 40
            assert found["label"] in LABELS
    assert "10 pictures with" in capsys.readouterr().out


def test_owl_is_shown_the_labels_once_and_finds_what_transformers_does(owl):
    image = torch.randint(256, (3, 40, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    other = image.flip(1)[:, :20]
    detector = ZeroShotDetector(owl, LABELS, threshold=0.01, prompt="a {}")
    found = detector([other, image])[1]
    processor = transformers.AutoProcessor.from_pretrained(owl)
    model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(owl).eval()
    inputs = processor(images=[image], text=[["a cat", "a dog"]], return_tensors="pt")
    with torch.no_grad():
        wanted = processor.post_process_grounded_object_detection(
            model(**inputs), threshold=0.01, target_sizes=[(40, 30)], text_labels=[["a cat", "a dog"]]
        )[0]
    assert len(found) == len(wanted["scores"]) > 0
    assert [f"a {one.label}" for one in found] == wanted["text_labels"]
    torch.testing.assert_close(torch.tensor([one.box for one in found]), wanted["boxes"], atol=1e-3, rtol=1e-3)


def test_grounding_dino_names_objects_by_the_labels_asked_for(tmp_path):
    name = tiny_grounding_dino(tmp_path)
    detector = ZeroShotDetector(name, ["Cat", "traffic light", "dog"], threshold=0.01)
    assert detector.text == "cat. traffic light. dog."
    assert detector.tokens == [[1, 2, 3], [5, 6], [8, 9, 10]]
    image = torch.randint(256, (3, 40, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found, beside = detector([image, image[:, :20]])
    assert found
    assert {one.label for one in found + beside} <= {"Cat", "traffic light", "dog"}
    (alone,) = detector([image])
    assert [one.label for one in alone] == [one.label for one in found]
    outputs = detector.model(**detector._inputs([image], [detector.text]))
    wanted = detector.processor.post_process_grounded_object_detection(
        outputs, threshold=0.01, text_threshold=0.0, target_sizes=[(40, 30)]
    )[0]
    boxes = {tuple(round(value, 2) for value in box) for box in wanted["boxes"].tolist()}
    assert {tuple(round(value, 2) for value in one.box) for one in found} <= boxes
    with pytest.raises(ValueError, match=r"1 labels make 43 tokens, it reads 32"):
        ZeroShotDetector(name, ["x" * 40])
    with pytest.raises(ValueError, match=r"none may contain one: \['a\.b'\]"):
        ZeroShotDetector(name, ["a.b"])


@pytest.mark.parametrize("workers", [0, 2])
def test_folder_and_shards_give_the_same(folder, owl, tmp_path, workers):
    lines = run(tmp_path / "folder.jsonl", "--images", folder, owl=owl)
    samples = {key.replace("/", "_"): {"png": PICTURES[key], "txt": b"words"} for key in sorted(PICTURES)}
    urls = shards(tmp_path / "shards", samples)
    found = run(tmp_path / "shards.jsonl", "--shards", urls, "--num_workers", workers, owl=owl)
    close(sorted(found, key=lambda line: line["id"]), [{**line, "id": line["id"].replace("/", "_")} for line in lines])


@pytest.mark.parametrize("kind", ["owl", "ssd"])
def test_batch_size_changes_no_objects(folder, owl, ssd, tmp_path, kind):
    options = ["--detector", SSD, "--weights", ssd, "--labels", *LABELS, "--threshold", "0.99"]
    found = [
        run(
            tmp_path / f"{size}.jsonl",
            "--images",
            folder / "part0",
            "--batch_size",
            size,
            *([] if kind == "owl" else options),
            owl=owl if kind == "owl" else None,
        )
        for size in (1, 4)
    ]
    close(*found)


def test_pictures_of_other_sizes_are_never_padded_together():
    seen = []

    def detect(images):
        assert len({image.shape for image in images}) == 1
        seen.append(len(images))
        return [[Detection("x", (0, 0, 1, 1), float(image.shape[1]))] for image in images]

    sizes = [5, 7, 5, 6, 7]
    found = detect_by_size([torch.zeros(3, size, 5) for size in sizes], detect)
    assert [one[0].score for one in found] == sizes
    assert sorted(seen) == [1, 2, 2]


def test_weights_of_ones_own(folder, ssd):
    image = FolderBatches(str(folder), 1)[0][0].image
    detector = load_detector(SSD, LABELS, weights=ssd, threshold=0.0)
    (found,) = detector([image])
    assert {one.label for one in found} == set(detector.labels) == set(LABELS)
    assert detector.model.score_thresh == 0.0  # by itself 0.001
    threshold = sorted(one.score for one in found)[-20]
    (few,) = load_detector(SSD, LABELS, weights=ssd, threshold=threshold)([image])
    assert few == [one for one in found if one.score > threshold]
    assert 0 < len(few) < 20


@pytest.mark.parametrize("cut", [1, 40])
def test_a_cut_file_is_continued(folder, owl, tmp_path, capsys, cut):
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    options = ["--images", folder, "--batch_size", 4]
    run(whole, *options, owl=owl)
    run(part, *options, owl=owl)
    lines = whole.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:6])[:-cut])  # amid a line, amid a batch
    capsys.readouterr()
    run(part, *options, owl=owl)
    assert "5 pictures with" in capsys.readouterr().out
    assert part.read_bytes() == whole.read_bytes()
    run(part, *options, owl=owl)
    assert "wrote" in (out := capsys.readouterr().out)
    assert " 0 pictures with" in out
    assert part.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_a_killed_process_is_continued(owl, tmp_path):
    samples = {f"{i:03}": {"png": png(i)} for i in range(30)}
    urls = shards(tmp_path / "shards", samples, each=10)
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    options = ["--shards", urls, "--batch_size", 1]
    code = (
        "import sys, time; import dejavu_lightning.annotation.annotation_file as a; from dejavu_lightning.cli.annotate "
        "import annotate; w = a._write; a._write = lambda *x: (time.sleep(0.2), w(*x)); annotate(sys.argv[1:])"
    )
    command = ["annotate", "--output", part, *options, "--detector", owl, "--labels", *LABELS, "--threshold", "0.01"]
    (tmp_path / "slowly.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    given = [interpreter(), tmp_path / "slowly.py", *command, "--device", "cpu"]
    process = subprocess.Popen([*map(str, given)], env=environment)
    run(whole, *options, owl=owl)  # while it starts
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and not (part.exists() and part.read_bytes().count(b"\n") >= 5):
        time.sleep(0.02)
    process.send_signal(KILL)
    process.wait()
    assert 5 <= part.read_bytes().count(b"\n") < 30
    run(part, *options, owl=owl)
    assert part.read_bytes() == whole.read_bytes()


def test_other_settings_are_refused(folder, owl, tmp_path):
    output = tmp_path / "out.jsonl"
    run(output, "--images", folder, owl=owl)
    before = output.read_bytes()
    with pytest.raises(ValueError, match=r"written with labels \['cat', 'dog'\] instead of \['cat', 'fox'\]"):
        run(output, "--images", folder, owl=owl, labels=["cat", "fox"])
    with pytest.raises(ValueError, match=r"threshold 0\.01 instead of 0\.5"):
        run(output, "--images", folder, "--detector", owl, "--labels", *LABELS, "--threshold", "0.5")
    (tmp_path / "out.jsonl.json").unlink()
    with pytest.raises(ValueError, match="does not say how it was made"):
        run(output, "--images", folder, owl=owl)
    assert output.read_bytes() == before


def test_a_file_about_other_pictures_is_refused(folder, owl, tmp_path):
    run(tmp_path / "out.jsonl", "--images", folder, owl=owl)
    (folder / "part0/04.png").unlink()
    with pytest.raises(ValueError, match="1 ids that no picture has, such as part0/04"):
        run(tmp_path / "out.jsonl", "--images", folder, owl=owl)


def test_undecodable_pictures_are_named_and_counted(folder, owl, tmp_path, capsys):
    (folder / "part0/02.png").write_bytes(PICTURES["part0/02"][:60])
    output = tmp_path / "out.jsonl"
    lines = run(output, "--images", folder, "--max_unusable", 0.1, owl=owl)
    assert len(lines) == 9
    assert "part0/02" not in {line["id"] for line in lines}
    told = capsys.readouterr()
    assert "1 of 10 pictures are unusable" in told.out
    assert "part0/02.png cannot be decoded" in told.err
    with pytest.raises(ValueError, match=r"1 of 10 pictures are unusable, more than max_unusable=0\.05 allows"):
        run(output, "--images", folder, "--max_unusable", 0.05, owl=owl)
    (folder / "part0/02.png").write_bytes(PICTURES["part0/02"])
    assert len(run(output, "--images", folder, owl=owl)) == 10  # once repaired


def test_odd_samples_of_shards_are_named(owl, tmp_path, capsys):
    good = {f"k{i}": {"png": png(i), "json": json.dumps({"uid": f"u{i}"}).encode()} for i in range(3)}
    odd = {
        "text": {"txt": b"no picture", "json": b'{"uid": "u7"}'},
        "broken": {"png": b"nothing", "json": b'{"uid": "u8"}'},
        "nameless": {"png": png(9), "json": b"{}"},
    }
    urls = shards(tmp_path / "shards", good | odd)
    lines = run(tmp_path / "o", "--shards", urls, "--key_field", "uid", "--max_unusable", 0.5, owl=owl)
    assert [line["id"] for line in lines] == ["u0", "u1", "u2"]
    told = capsys.readouterr().err
    assert "000.tar: text has no jpg" in told
    assert "001.tar: broken cannot be decoded" in told
    assert "001.tar: nameless has no 'uid' in its JSON" in told


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_shard_is_named(owl, tmp_path, workers):
    urls = shards(tmp_path / "shards", {f"k{i}": {"png": png(i)} for i in range(8)})
    file = tmp_path / "shards/001.tar"
    file.write_bytes(file.read_bytes()[:6000])
    with pytest.raises(ValueError, match=r"001\.tar cannot be read to its end: ReadError: unexpected end of data"):
        run(tmp_path / "o", "--shards", urls, "--num_workers", workers, owl=owl)
    assert len(read(tmp_path / "o")) >= 4  # those before it


def test_duplicate_ids_name_both(folder, owl, tmp_path):
    (folder / "part1/01.JPG").write_bytes(b"")
    with pytest.raises(ValueError, match=r"'part1/01\.JPG' and 'part1/01\.png' would share the id 'part1/01'"):
        FolderBatches(str(folder), 4)
    for name in ("one", "two"):
        shards(tmp_path / name, {"same": {"png": png(1)}})
    urls = f"{tmp_path}/{{one,two}}/000.tar"
    with pytest.raises(ValueError, match=r"have the id 'same': .*one/000\.tar: same and .*two/000\.tar: same"):
        run(tmp_path / "o", "--shards", urls, owl=owl)


def test_shards_may_be_whatever_webdataset_opens(tmp_path):
    shards(tmp_path / "shards", {"a": {"png": png(1)}})
    (batch,) = ShardBatches(f"pipe:cat {tmp_path}/shards/000.tar", 4)
    assert batch[0].image.shape == (3, 30, 40)
    (failed,) = ShardBatches("pipe:false", 4)
    assert failed.url == "pipe:false"
    with pytest.raises(FileNotFoundError, match=r"1 of 2 files are missing, such as .*001\.tar"):
        ShardBatches(f"{tmp_path}/shards/{{000..001}}.tar", 4)


def test_boxes_are_clipped_and_those_without_area_dropped():
    picture = AnnotationPicture("a", "a.png", torch.zeros(3, 10, 20, dtype=torch.uint8))
    found = [
        Detection("low", (-5.0, -5.0, 30.0, 30.0), 0.2),
        Detection("out", (21.0, 0.0, 25.0, 5.0), 0.9),
        Detection("flat", (3.0, 3.0, 3.001, 8.0), 0.9),
        Detection("high", (1.239, 2.0, 3.0, 4.0), 0.98765),
    ]
    assert _tidy(found, picture) == [
        {"label": "high", "box": [1.24, 2.0, 3.0, 4.0], "score": 0.9877},
        {"label": "low", "box": [0.0, 0.0, 20.0, 10.0], "score": 0.2},
    ]
    with pytest.raises(ValueError, match=r"the detector gave a\.png the box .*nan"):
        _tidy([Detection("x", (0.0, 0.0, float("nan"), 1.0), 0.5)], picture)


def test_boxes_are_in_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "p").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "p/a.jpg", exif=exif)
    assert FolderBatches(str(tmp_path / "p"), 1)[0][0].image.shape == (3, 40, 20)


def test_labels_from_a_file(folder, owl, tmp_path):
    (tmp_path / "labels.txt").write_text("cat\n\n dog \n")
    one = run(tmp_path / "one", "--images", folder, owl=owl)
    assert run(tmp_path / "two", "--images", folder, owl=owl, labels=[str(tmp_path / "labels.txt")]) == one
    with pytest.raises(FileNotFoundError, match=r"--labels nothing\.txt is not a file"):
        run(tmp_path / "three", "--images", folder, owl=owl, labels=["nothing.txt"])


def test_what_is_wrong_with_the_input_is_said(owl, tmp_path):
    (tmp_path / "empty/.hidden").mkdir(parents=True)
    (tmp_path / "empty/.hidden/a.png").write_bytes(png(0))
    with pytest.raises(FileNotFoundError, match=r"images='.*nowhere' is not a folder"):
        run(tmp_path / "o", "--images", tmp_path / "nowhere", owl=owl)
    with pytest.raises(FileNotFoundError, match=r"holds no pictures; known endings are jpg, jpeg, png"):
        run(tmp_path / "o", "--images", tmp_path / "empty", owl=owl)
    with pytest.raises(ValueError, match="give one of --images, --shards and --crops"):
        run(tmp_path / "o", owl=owl)


def test_what_is_wrong_with_the_detector_is_said(owl, ssd, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"unknown detector 'fasterrcnn_resnet50_fpn_v3'; did you mean fasterrcnn_res"):
        load_detector("fasterrcnn_resnet50_fpn_v3")
    with pytest.raises(ValueError, match="cannot be loaded as a zero-shot detector of transformers"):
        load_detector(str(tmp_path), LABELS)
    with pytest.raises(ValueError, match="needs labels to look for"):
        load_detector(owl)
    for threshold in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\), got"):
            load_detector(owl, LABELS, threshold=threshold)
    with pytest.raises(ValueError, match=r"reads 16 tokens a label, these are longer: \['averyveryverylonglabel'\]"):
        load_detector(owl, ["cat", "averyveryverylonglabel"])
    with pytest.raises(ValueError, match=r"repeated: \['cat'\]"):
        load_detector(owl, ["cat", "dog", "cat"])
    with pytest.raises(ValueError, match="published weights for COCO's classes"):
        load_detector(SSD, LABELS)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r'pip install "dejavu-lightning\[annotate\]"'):
        load_detector(owl, LABELS)


def test_weights_that_do_not_fit_are_listed(owl, ssd, tmp_path):
    state = torch.load(ssd, weights_only=True)
    first = next(iter(state))
    state["strange"] = state.pop(first)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=rf"missing: {first}; unexpected: strange"):
        load_detector(SSD, LABELS, weights=str(tmp_path / "other.pt"))
    with pytest.raises(ValueError, match=r"not those of ssdlite\S+ with 3 classes: of another shape: head\S+ \("):
        load_detector(SSD, [*LABELS, "fox"], weights=ssd)
    torch.save({"model": SimpleNamespace(a=1)}, tmp_path / "code.pt")
    with pytest.raises(
        ValueError, match=r"holds objects that would run code when loaded, which is refused: types.SimpleN"
    ):
        load_detector(SSD, LABELS, weights=str(tmp_path / "code.pt"))
    with pytest.raises(FileNotFoundError, match=r"there is no file nothing\.pt"):
        load_detector(SSD, LABELS, weights="nothing.pt")


def test_a_zero_shot_model_without_some_weights_is_refused(owl, tmp_path):
    model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(owl)
    state = model.state_dict()
    del state["class_head.dense0.weight"]
    transformers.AutoProcessor.from_pretrained(owl).save_pretrained(tmp_path)
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match=r"lacks weights of its OwlViTForObjectDetection: class_head\.dense0\.weight"):
        load_detector(str(tmp_path), LABELS)
