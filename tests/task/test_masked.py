"""The masked autoencoder: its loss against one written by hand, and that only hidden patches count."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.vision.patch_decoder import PatchDecoder
from ptft.model.vision.vit import VisionTransformer
from ptft.runtime.random import seed_for
from ptft.task.vision.masked import Masked
from tests.task.harness import (
    assert_batch_size_changes_no_evaluation,
    assert_cutting_changes_no_gradient,
    evaluate,
    overfit,
    total_loss,
)
from tests.task.toys import SPEC, UNLABELLED, TinyNet, image_batch, rows

SMALL = {"patch_size": 2, "depth": 1, "heads": 2, "width": 16, "mlp": 32}
DECODER = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}


def make(spec=SPEC, *, model=None, **settings):
    torch.manual_seed(0)
    return Masked(VisionTransformer(spec, **(SMALL | (model or {}))), spec, **(DECODER | settings)).double()


def doubled(batch):
    return {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}


# --- Loss -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalised", [True, False])
def test_the_loss_equals_one_written_out_patch_by_patch(normalised):
    task, batch = make(normalise_targets=normalised).eval(), doubled(image_batch(3))
    outputs = task(batch)
    expected = 0.0
    for number, image in enumerate(batch["image"]):
        for prediction, place in zip(outputs["predictions"][number], outputs["hidden"][number].tolist(), strict=True):
            row, column = divmod(place, 3)
            pixels = image[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten()
            if normalised:
                pixels = (pixels - pixels.mean()) / (pixels.var(correction=0) + 1e-6).sqrt()
            expected += ((prediction - pixels) ** 2).mean()
    torch.testing.assert_close(task.loss(outputs, batch, "model").sums["reconstruction"], expected)
    assert task.count(batch, "model") == {"reconstruction": 3 * 7}  # 0.75 of 9 patches, rounded


def test_the_encoder_sees_nothing_of_hidden_patches_and_only_they_are_asked_for():
    task, batch = make().eval(), doubled(image_batch(4))
    before = task(batch)
    hidden = torch.zeros(4, 9, dtype=torch.bool).scatter_(1, before["hidden"], True)
    covered = hidden.view(4, 1, 3, 3).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert covered.sum() == 4 * 7 * 4
    other = batch | {"image": torch.where(covered, batch["image"] * -3 + 1, batch["image"])}
    assert torch.equal(task(other)["predictions"], before["predictions"])
    seen_changed = batch | {"image": torch.where(covered, batch["image"], batch["image"] + 1)}
    same_outputs = task.loss(before, seen_changed, "model").sums["reconstruction"]
    torch.testing.assert_close(same_outputs, task.loss(before, batch, "model").sums["reconstruction"])


def test_the_decoder_knows_where_patches_lie_and_not_in_which_order_they_come():
    torch.manual_seed(0)
    decoder = PatchDecoder((2, 2), 8, 5, width=8, depth=2, heads=2).double()
    encoded = torch.randn(3, 3, 8, dtype=torch.double)
    seen, hidden = torch.tensor([[0, 2]]).repeat(3, 1), torch.tensor([[1, 3]]).repeat(3, 1)
    predicted = decoder(encoded, seen, hidden)
    swapped = decoder(encoded[:, [0, 2, 1]], seen.flip(1), hidden.flip(1))
    torch.testing.assert_close(swapped, predicted.flip(1))
    assert not torch.allclose(decoder(encoded, hidden, seen), predicted)


def test_every_parameter_that_is_trained_gets_a_gradient():
    task, batch = make().train(), doubled(image_batch(4, labels=False))
    total_loss(task, batch, "model").backward()
    for name, parameter in task.parameters_of("model").items():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_accumulation_equals_the_big_batch():
    assert_cutting_changes_no_gradient(make().eval(), doubled(image_batch(5)))  # masks by the examples' numbers


def test_it_learns_one_batch_by_heart():
    task, batch = make(normalise_targets=False).eval(), doubled(image_batch(4))
    train, task.train = task.train, lambda mode=True: task  # the same patches hidden throughout
    first, last = overfit(task, batch, steps=400)
    task.train = train
    assert last < 0.05 * first


# --- Masks ------------------------------------------------------------------------------------------------------------


def test_training_masks_follow_torchs_seed_as_drop_out_does():
    task, batch = make().train(), doubled(image_batch(16))

    def hidden(seed):
        torch.manual_seed(seed)
        return task(batch)["hidden"]

    assert torch.equal(hidden(seed_for(0, 7)), hidden(seed_for(0, 7)))
    assert not torch.equal(hidden(seed_for(0, 7)), hidden(seed_for(0, 8)))


def test_masks_of_an_evaluation_belong_to_the_example_and_every_patch_is_hidden_as_often():
    task = make(UNLABELLED).eval()
    batch = doubled(image_batch(2000, labels=False))
    state = torch.get_rng_state()
    with torch.no_grad():
        hidden = task(batch)["hidden"]
        assert torch.equal(task(rows(batch, 5, 9))["hidden"], hidden[5:9])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(len(set(places)) == 7 for places in hidden[:50].tolist())
    share = torch.bincount(hidden.flatten(), minlength=9) / 2000
    assert (share - 7 / 9).abs().max() < 0.05  # five standard errors


def test_at_least_one_patch_is_hidden_and_one_is_seen():
    assert make(mask=0.01).num_hidden == 1 and make(mask=0.99).num_hidden == 8


def test_a_resumed_run_hides_what_an_uninterrupted_one_does(ptft):
    short = ("task=vision/masked", "model=vision/vit_tiny", "model.depth=1", "model.dropout=0.1", "engine.max=6st")
    short = (*short, "engine.batch_size=16", "engine.micro_batch_size=8", "engine.precision=fp32")
    ptft("pretrain", *short, "name=whole")
    ptft("pretrain", *short, "name=cut", "engine.stop_at=3st")
    ptft("pretrain", "resume=cut", "engine.stop_at=null")
    whole, cut = (load_file(f"outputs/{name}/checkpoints/step_00000006/model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)
    assert list(Path("outputs/cut/report").glob("reconstructions_*.png"))
    ptft("finetune", "init_from=cut", *short[1:], "name=tuned")
    assert "18 of 18 backbone tensors; head re-initialised" in Path("outputs/tuned/log.txt").read_text()


# --- Evaluation -------------------------------------------------------------------------------------------------------


def test_it_evaluates_the_same_at_any_batch_size():
    task, train = make(), doubled(image_batch(60, seed=1))
    train["index"] += 500
    batch = doubled(image_batch(80))
    metrics, intervals, _, records = assert_batch_size_changes_no_evaluation(task, batch, train)
    assert set(metrics) == {"neighbour_accuracy", "effective_rank", "loss"}
    assert set(intervals) == {"neighbour_accuracy", "loss"}
    assert metrics["loss"] == pytest.approx(float(total_loss(task.eval(), batch, "model").detach()))
    assert float((records["prediction"] == records["label"]).double().mean()) == metrics["neighbour_accuracy"]


def test_without_classes_the_headline_is_the_loss():
    task = make(UNLABELLED)
    metrics, intervals, _, records = evaluate(task, doubled(image_batch(9, labels=False)), 4)
    assert (task.headline.name, task.headline.mode) == ("loss", "min") and task.label_names() == ()
    assert set(metrics) == {"effective_rank", "loss"} and set(intervals) == {"loss"}
    assert set(records) == {"index", "loss"}
    assert make().headline.name == "neighbour_accuracy" and not task.labelled


@pytest.mark.parametrize("normalised", [True, False])
def test_the_picture_shows_images_what_was_seen_and_what_came_out(normalised):
    task, batch = make(UNLABELLED, normalise_targets=normalised), doubled(image_batch(20, labels=False))
    assert task.samples(torch.Generator()) is None
    evaluate(task, batch, 3)
    picture = task.samples(torch.Generator())["reconstructions"]
    assert picture.shape == (3, 3 * 7 + 1, 8 * 7 + 1) and picture.min() >= 0 and picture.max() <= 1
    original = (batch["image"][1, 0].float() * 0.25 + 0.4).clamp(0, 1)
    cells = [picture[0, 7 * row + 1 : 7 * row + 7, 8:14] for row in range(3)]
    torch.testing.assert_close(cells[0], original)
    covered = cells[1] == 0.5
    assert covered.sum() == 7 * 4
    torch.testing.assert_close(cells[1][~covered], original[~covered])
    torch.testing.assert_close(cells[2][~covered], original[~covered])
    assert not torch.allclose(cells[2][covered], original[covered], atol=0.01)
    evaluate(task, rows(batch, 10, 12), 2)  # another evaluation shows its own
    assert task.samples(torch.Generator())["reconstructions"].shape[2] == 2 * 7 + 1


# --- Weights ----------------------------------------------------------------------------------------------------------


def test_only_the_encoder_is_handed_on():
    from ptft.adapt.load import load_weights

    task, batch = make(), doubled(image_batch(4))
    classifier = VisionTransformer(SPEC, **SMALL).double()
    report = load_weights(classifier, task.state_dict())
    assert report.complete and report.loaded == report.total == len(task.model.state_dict())
    exported = task.export()["encoder"].module(batch["image"])
    torch.testing.assert_close(exported, task.eval()(batch)["features"])
    torch.testing.assert_close(classifier.features(classifier.encode(classifier.embed(batch["image"]))), exported)


def test_models_without_patches_or_with_a_single_one_are_refused():
    with pytest.raises(ConfigError, match="choose model=vision/vit_tiny"):
        Masked(TinyNet(), SPEC)
    with pytest.raises(ConfigError, match="at least two patches"):
        make(model={"patch_size": 6})
    with pytest.raises(ConfigError, match=r"task\.decoder_width=16 is not divisible by task\.decoder_heads=3"):
        make(decoder_heads=3)
    with pytest.raises(ConfigError, match="does not divide"):
        make(DataSpec(kind="image", shape=(1, 5, 6)))
