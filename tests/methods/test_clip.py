import math

import open_clip
import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from dejavu_lightning.losses import clip_loss
from dejavu_lightning.memorization import ModuleEncoder
from dejavu_lightning.methods import CLIP, Temperature
from dejavu_lightning.models.clip_networks import TokenKinds, build_clip, mask_tokens, token_kinds
from tests.captions import caption_data, tiny_clip
from tests.models import tiny_trainer
from tests.processes import run_processes


def pairs(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.functional.normalize(torch.randn(count, 6, generator=generator), dim=1) for _ in range(2)]


def loss_and_gradients(rows, count, local):
    """What DistributedDataParallel would give: the mean over ranks of loss and gradients."""
    import torch.distributed as dist

    rank = dist.get_rank() if dist.is_initialized() else 0
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    image, text = (part.double().requires_grad_() for part in pairs(count))
    temperature = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    own = slice(*rows[rank])
    loss = clip_loss(image[own], text[own], temperature=temperature, local_loss=local)
    loss.backward()
    found = [loss.detach(), image.grad, text.grad, temperature.grad]
    if ranks > 1:
        for value in found:
            dist.all_reduce(value)
    return [(value / ranks).tolist() for value in found]


def test_loss_is_the_equation():
    image, text = pairs(5)
    logits = image @ text.T / 0.2
    by_hand = sum(-logits.log_softmax(1)[i, i] - logits.log_softmax(0)[i, i] for i in range(5)) / 10
    assert float(clip_loss(image, text, temperature=torch.tensor(0.2))) == pytest.approx(float(by_hand), rel=1e-6)
    peer = open_clip.ClipLoss()(image, text, torch.tensor(5.0))
    assert torch.allclose(clip_loss(image, text, temperature=torch.tensor(0.2)), peer)


VARIANTS = [(cut, local) for cut in (4, 5) for local in (False, True)]


def every_variant():
    return [loss_and_gradients([(0, cut), (cut, 8)], 8, local) for cut, local in VARIANTS]


def test_two_processes_equal_one_in_value_and_gradient():
    expected = loss_and_gradients([(0, 8)], 8, False)
    for found in run_processes(2, every_variant):
        for variant, values in zip(VARIANTS, found, strict=True):
            for value, one in zip(values, expected, strict=True):
                assert torch.allclose(torch.tensor(value), torch.tensor(one), rtol=1e-10, atol=1e-12), variant


def peer_loss(rows, count):
    import torch.distributed as dist

    image, text = (part.double().requires_grad_() for part in pairs(count))
    own = slice(*rows[dist.get_rank()])
    peer = open_clip.ClipLoss(gather_with_grad=True, rank=dist.get_rank(), world_size=2)
    loss = peer(image[own], text[own], torch.tensor(10.0, dtype=torch.float64))
    loss.backward()
    for value in (image.grad, text.grad):
        dist.all_reduce(value)
    return [float(loss.detach()), (image.grad / 2).tolist(), (text.grad / 2).tolist()]


@pytest.mark.slow
def test_equals_open_clip_across_processes():
    expected = loss_and_gradients([(0, 8)], 8, False)
    for loss, image, text in run_processes(2, peer_loss, [(0, 4), (4, 8)], 8):
        assert loss == pytest.approx(expected[0])
        assert torch.allclose(torch.tensor(image), torch.tensor(expected[1]))
        assert torch.allclose(torch.tensor(text), torch.tensor(expected[2]))


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"same shape \(B, D\), got \(3, 6\) and \(2, 6\)"):
        clip_loss(pairs(3)[0], pairs(2)[0], temperature=torch.tensor(0.1))


def test_masking_spares_start_end_and_padding():
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    tokens = tokenizer(["a photo of two cats !", "x", "word " * 100])
    kinds = token_kinds(tokenizer)
    torch.manual_seed(0)
    everything = mask_tokens(tokens, 1.0, kinds)
    for row, masked in zip(tokens, everything, strict=True):
        end = int((row == tokenizer.eot_token_id).nonzero()[0])
        assert row[0] == masked[0] == tokenizer.sot_token_id
        assert (masked[1:end] == 0).all()
        assert torch.equal(masked[end:], row[end:])
    assert torch.equal(mask_tokens(tokens, 0.0, kinds), tokens)


def test_masking_has_its_fraction_and_is_fresh_every_time():
    kinds = TokenKinds((1, 2), 2, 0)
    tokens = torch.cat([torch.ones(400, 1), torch.full((400, 50), 7), torch.full((400, 1), 2)], dim=1).long()
    torch.manual_seed(0)
    masked = mask_tokens(tokens, 0.3, kinds)
    # 20 000 tokens: three standard errors of a share of .3 are .01.
    assert float((masked == 0).float().mean() * 52 / 50) == pytest.approx(0.3, abs=0.01)
    assert not torch.equal(masked, mask_tokens(tokens, 0.3, kinds))


def test_masking_with_a_hugging_face_tokenizer(tmp_path):
    from transformers import BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog"]))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(tmp_path), context_length=6)
    masked = mask_tokens(tokenizer(["cat dog"]), 1.0, token_kinds(tokenizer))
    assert masked.tolist() == [[2, 4, 4, 3, 0, 0]]
    with pytest.raises(ValueError, match="does not know the special tokens of int"):
        token_kinds(3)


def batch_of(data):
    return data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)


def test_masking_is_off_at_evaluation(tmp_path):
    masked, plain = tiny_clip(tmp_path / "m.json", text_masking=1.0), tiny_clip(tmp_path / "m.json")
    captions = ["cherry maple", "hoop coral"]
    assert torch.equal(masked.encode_text(captions), plain.encode_text(captions))
    batch = batch_of(caption_data())
    for model in (masked, plain):
        model.trainer = tiny_trainer(tmp_path)
        model.log = lambda *args, **kwargs: None
    assert not torch.equal(masked.training_step(batch, 0), plain.training_step(batch, 0))


def test_the_temperature_keeps_its_bound_in_every_checkpoint(tmp_path):
    """Training uphill drives the temperature down; callbacks, which save checkpoints, must not see it too low."""
    seen = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(pl_module.logit_scale.item())

    for minimum in (0.01, 1.0):
        model = tiny_clip(tmp_path / "m.json", temperature=Temperature(initial=1.0, minimum=minimum))
        model.configure_optimizers = lambda model=model: torch.optim.SGD([model.logit_scale], 1.0, maximize=True)
        tiny_trainer(tmp_path, callbacks=[Look()]).fit(model, datamodule=caption_data())
    assert min(seen[:4]) > 0
    assert seen[4:] == [0.0] * 4

    seen.clear()
    for maximum in (5.0, 2.0):  # downhill, towards higher temperatures
        bounds = Temperature(initial=1.0, minimum=0.01, maximum=maximum)
        model = tiny_clip(tmp_path / "m.json", temperature=bounds)
        model.configure_optimizers = lambda model=model: torch.optim.SGD([model.logit_scale], 100.0)
        tiny_trainer(tmp_path, callbacks=[Look()]).fit(model, datamodule=caption_data())
    assert [min(seen[:4]), min(seen[4:])] == pytest.approx([-math.log(5), -math.log(2)])


def test_training_learns(tmp_path):
    model = tiny_clip(tmp_path / "m.json", temperature=Temperature(initial=0.05))
    first = model.logit_scale.item()
    losses = []
    model.on_train_epoch_end = lambda: losses.append(float(model.trainer.callback_metrics["train/loss"]))
    tiny_trainer(tmp_path, max_epochs=15).fit(model, datamodule=caption_data())
    assert first == pytest.approx(math.log(20))
    assert losses[-1] < losses[0] - 0.2


def test_a_fixed_temperature_stays(tmp_path):
    model = tiny_clip(tmp_path / "m.json", temperature=Temperature(initial=0.2, learned=False))
    before = model.logit_scale.item()
    tiny_trainer(tmp_path).fit(model, datamodule=caption_data())
    assert model.logit_scale.item() == before == pytest.approx(math.log(5))


def test_workers_tokenize_and_change_nothing(tmp_path):
    weights, seen = [], []
    for workers in (0, 1):
        torch.manual_seed(0)
        data = caption_data(num_workers=workers)
        model = tiny_clip(tmp_path / "m.json")
        model.on_train_batch_start = lambda batch, batch_idx: seen.append("tokens" in batch)
        tiny_trainer(tmp_path).fit(model, datamodule=data)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)
    assert seen == [True] * 8


def test_a_batch_without_tokens_is_tokenized(tmp_path):
    model = tiny_clip(tmp_path / "m.json")
    model.log = lambda *args, **kwargs: None
    batch = batch_of(caption_data())
    assert "tokens" not in batch
    tokens = {**batch, "tokens": model.tokenizer(batch["caption"])}
    model.trainer = tiny_trainer(tmp_path)
    assert torch.equal(model.training_step(batch, 0), model.training_step(tokens, 0))


def test_gradient_checkpointing_gives_the_same_gradients(tmp_path):
    captions, images = ["a cat", "a dog on a bus"], torch.rand(2, 3, 32, 32)
    found = []
    for checkpointing in (False, True):
        model = tiny_clip(tmp_path / "m.json", grad_checkpointing=checkpointing).train()
        assert model.model.transformer.grad_checkpointing is checkpointing
        clip_loss(model.encode_image(images), model.encode_text(captions), temperature=torch.tensor(0.1)).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(*found, atol=1e-7)


def test_bf16_training_runs_and_measures(tmp_path):
    model = tiny_clip(tmp_path / "m.json")
    tiny_trainer(tmp_path, precision="bf16-mixed").fit(model, datamodule=caption_data())
    embedded = ModuleEncoder(model, "encode_text")(["a cat"])
    assert embedded.dtype == torch.float32
    assert float(embedded.detach().norm()) == pytest.approx(1, abs=1e-5)


def test_weights_from_a_file(tmp_path):
    model = tiny_clip(tmp_path / "m.json", seed=1)
    torch.save(model.model.state_dict(), tmp_path / "weights.pt")
    loaded = CLIP(str(tmp_path / "m.json"), pretrained=str(tmp_path / "weights.pt"))
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded.eval().encode_image(images), model.eval().encode_image(images))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: CLIP("ViT-B-23"), "unknown CLIP model 'ViT-B-23'; did you mean ViT-B-"),
        (lambda path: CLIP("nowhere.json"), "there is no CLIP config 'nowhere.json'"),
        (lambda path: CLIP("ViT-B-16-SigLIP"), "has a logit bias"),
        (lambda path: tiny_clip(path, text_masking=1.5), r"text_masking must lie in \[0, 1\], got 1.5"),
        (
            lambda path: tiny_clip(path, temperature=Temperature(0.001)),
            "0 < minimum <= initial <= maximum, got initial=0.001",
        ),
        (lambda path: tiny_clip(path, temperature=Temperature(1.5)), "got initial=1.5, minimum=0.01, maximum=1.0"),
    ],
)
def test_bad_settings(tmp_path, call, message):
    with pytest.raises(ValueError, match=message):
        call(tmp_path / "m.json")


def test_an_image_size_that_does_not_fit_is_named(tmp_path):
    data = caption_data(image_size=40, augmentation={"scale": (0.9, 1.0)})
    with pytest.raises(
        ValueError, match=r"takes images of 32 x 32 pixels, the data give 40 x 40: set data.image_size=32"
    ):
        tiny_trainer(tmp_path).fit(tiny_clip(tmp_path / "m.json"), datamodule=data)


def test_pretrained_weights_want_their_preprocessing(tmp_path):
    torch.save(tiny_clip(tmp_path / "m.json").model.state_dict(), tmp_path / "weights.pt")
    model = tiny_clip(tmp_path / "m.json", pretrained=str(tmp_path / "weights.pt"))
    with pytest.raises(
        ValueError, match=r"another preprocessing \(data.mean: \(0.5, 0.5, 0.5\) instead of \(0.48145466"
    ):
        tiny_trainer(tmp_path).fit(model, datamodule=caption_data())


def test_a_warmup_longer_than_training_is_named(tmp_path):
    model = tiny_clip(tmp_path / "m.json")
    model.optimizer.warmup_steps = 2000
    with pytest.raises(ValueError, match=r"optimizer.warmup_steps=2000 takes 2000 of the 4 training steps"):
        tiny_trainer(tmp_path).fit(model, datamodule=caption_data())


def test_the_shipped_model_is_small():
    model, tokenizer = build_clip("dejavu-tiny")
    assert tokenizer(["a cat"]).shape[1] < 77
    assert sum(p.numel() for p in model.visual.parameters()) < 2e6
