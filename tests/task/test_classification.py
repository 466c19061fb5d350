"""Classification: sums that add up, plain loss at evaluation, records that agree with the metrics."""

import pytest
import torch

from ptft.data.data_module import DataSpec
from ptft.errors import DataError
from ptft.task.classification import Classification
from tests.task.harness import assert_batch_size_changes_no_evaluation, evaluate, gradient, overfit, total_loss
from tests.task.harness import assert_cutting_changes_no_gradient as assert_cuts_agree
from tests.task.toys import SPEC, UNLABELLED, TinyNet, image_batch


def make(**settings):
    torch.manual_seed(0)
    return Classification(TinyNet(), SPEC, **settings).double()


def doubled(batch):
    return {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cutting_a_batch_changes_no_gradient(smoothing):
    assert_cuts_agree(make(label_smoothing=smoothing), doubled(image_batch(10)))


def test_the_gradient_is_that_of_the_mean_cross_entropy():
    task, batch = make(), doubled(image_batch(9))
    found = gradient(task, batch, "model", 9)
    task.zero_grad()
    torch.nn.functional.cross_entropy(task.model(batch["image"]), batch["label"]).backward()
    for name, parameter in task.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-12, atol=1e-14)


def test_one_batch_is_learnt_by_heart():
    first, last = overfit(make(), doubled(image_batch(16)))
    assert last < 0.01 * first


def test_evaluation_is_the_same_at_any_batch_size():
    metrics, intervals, table, records = assert_batch_size_changes_no_evaluation(make(), doubled(image_batch(80)))
    assert next(iter(metrics)) == Classification.headline.name and Classification.headline.name in intervals
    assert [row["class"] for row in table] == list(SPEC.classes)
    assert records["index"].tolist() == list(range(80))


def test_evaluation_reports_the_plain_loss_also_with_smoothing():
    batch = doubled(image_batch(40))
    plain, smoothed = make(), make(label_smoothing=0.3)
    assert evaluate(plain, batch, 40)[0] == evaluate(smoothed, batch, 40)[0]
    assert evaluate(plain, batch, 40)[0]["loss"] == pytest.approx(total_loss(plain, batch, "model").item(), abs=1e-12)
    assert total_loss(smoothed, batch, "model").item() != pytest.approx(total_loss(plain, batch, "model").item())


def test_records_agree_with_the_metrics():
    task, batch = make(), doubled(image_batch(50))
    metrics, _, _, records = evaluate(task, batch, 7)
    probabilities = task.model(batch["image"]).softmax(1)
    assert torch.equal(records["prediction"], probabilities.argmax(1))
    torch.testing.assert_close(records["score"], probabilities.max(1).values.detach())
    assert (records["prediction"] == records["label"]).double().mean() == metrics["accuracy"]


def test_counts_are_plain_integers():
    assert make().count(image_batch(5), "model") == {"cross_entropy": 5}
    assert type(make().count(image_batch(5), "model")["cross_entropy"]) is int


def test_data_without_classes_are_refused():
    with pytest.raises(DataError, match="needs labels"):
        Classification(TinyNet(), UNLABELLED)


def test_the_export_maps_images_to_logits_and_leaves_the_task_in_training():
    task = make().train()
    spec = task.export()["model"]
    image = doubled(image_batch(4))["image"]
    assert torch.equal(spec.module(image), task.model(image))
    assert task.model.training and not spec.module.training
    assert spec.inputs == {"image": (1, 6, 6)} and tuple(spec.outputs) == ("logits",)


def test_parameters_belong_to_the_one_phase_under_the_models_name():
    task = make()
    assert set(task.parameters_of("model")) == {name for name, _ in task.named_parameters()}
    assert all(name.startswith("model.") for name in task.state_dict())


def test_two_classes_and_one_class_can_be_evaluated():
    for classes in (("a", "b"), ("a",)):
        task = Classification(TinyNet(len(classes)), DataSpec(kind="image", shape=(1, 6, 6), classes=classes))
        batch = image_batch(6) | {"label": torch.arange(6) % len(classes)}
        metrics = evaluate(task, batch, 4)[0]
        assert ("auroc" in metrics) == (len(classes) == 2)


def mixed(batch):
    count = len(batch["label"])
    share = torch.linspace(0, 1, count, dtype=torch.float32)
    return batch | {"partner_label": batch["label"].roll(1), "label_share": share}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mixed_labels_are_weighted_by_their_shares(smoothing):
    task, batch = make(label_smoothing=smoothing), mixed(doubled(image_batch(9)))
    # Targets as whole distributions, written out by hand.
    num_classes = SPEC.num_classes
    own, partner = (torch.nn.functional.one_hot(batch[name], num_classes) for name in ("label", "partner_label"))
    share = batch["label_share"].double()[:, None]
    target = (own * share + partner * (1 - share)) * (1 - smoothing) + smoothing / num_classes
    expected = -(target * task.model(batch["image"]).log_softmax(1)).sum()
    assert total_loss(task, batch, "model").item() == pytest.approx(expected.item() / 9, abs=1e-12)
    assert task.count(batch, "model") == {"cross_entropy": 9}


def test_cutting_a_mixed_batch_changes_no_gradient():
    assert_cuts_agree(make(label_smoothing=0.1), mixed(doubled(image_batch(10))))


def test_a_batch_that_is_not_mixed_after_all_has_the_plain_loss():
    task, batch = make(), doubled(image_batch(9))
    whole = batch | {"partner_label": batch["label"].roll(1), "label_share": torch.ones(9)}
    torch.testing.assert_close(total_loss(task, whole, "model"), total_loss(task, batch, "model"), rtol=1e-14, atol=0)


def test_flips_at_test_time_average_the_probabilities_of_an_image_and_its_mirror():
    task, batch = make(test_time_flips=True), doubled(image_batch(40))
    metrics, _, _, records = evaluate(task, batch, 7)
    image = batch["image"]
    probabilities = (task.model(image).softmax(1) + task.model(image.flip(-1)).softmax(1)).detach() / 2
    of_label = probabilities.gather(1, batch["label"][:, None])
    assert torch.equal(records["prediction"], probabilities.argmax(1))
    torch.testing.assert_close(records["score"], probabilities.max(1).values)
    assert metrics["loss"] == pytest.approx(-of_label.log().mean().item(), abs=1e-12)
    assert metrics["accuracy"] == (probabilities.argmax(1) == batch["label"]).double().mean().item()
    mirrored = evaluate(task, batch | {"image": image.flip(-1)}, 40)[0]
    assert mirrored["loss"] == pytest.approx(metrics["loss"], abs=1e-12)


def test_flips_at_test_time_leave_training_and_export_as_they_are():
    plain, flips, batch = make(), make(test_time_flips=True), doubled(image_batch(8))
    for name, value in gradient(plain, batch, "model", 8).items():
        assert torch.equal(gradient(flips, batch, "model", 8)[name], value)
    image = batch["image"]
    assert torch.equal(flips.export()["model"].module(image), plain.export()["model"].module(image))
