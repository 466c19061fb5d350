"""Classification: sums that add up, plain loss at evaluation, records that agree with the metrics."""

import dataclasses

import pytest
import torch

from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError, DataError
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
    with pytest.raises(DataError, match=r"these data have data\.target=labels; other tasks are multi_label"):
        Classification(TinyNet(), dataclasses.replace(SPEC, target="labels"))


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


# ---- Weights, focus, threshold -------------------------------------------------------------------------------------

COUNTED = dataclasses.replace(SPEC, class_counts=(30, 10, 20))
TWO = DataSpec(kind="image", shape=(1, 6, 6), classes=("ham", "spam"))


def weighted(**settings):
    torch.manual_seed(0)
    return Classification(TinyNet(), COUNTED, **settings).double()


def two(**settings):
    torch.manual_seed(0)
    return Classification(TinyNet(2), TWO, **settings).double()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_losses_divide_by_the_sum_of_weights_as_pytorch_does(smoothing):
    task, batch = weighted(class_weights={"a": 0.05, "c": 2.0}, label_smoothing=smoothing), doubled(image_batch(9))
    weight = torch.tensor([0.05, 1.0, 2.0]).double()
    for rows in (batch, {name: value[batch["label"] == 0][:2] for name, value in batch.items()}):  # weights of 0.1
        logits = task.model(rows["image"])
        expected = torch.nn.functional.cross_entropy(logits, rows["label"], weight, label_smoothing=smoothing)
        torch.testing.assert_close(total_loss(task, rows, "model"), expected, rtol=1e-6, atol=0)


def test_balanced_weights_make_classes_count_alike_and_examples_one_on_average():
    weights = weighted(class_weights="balanced").weights
    torch.testing.assert_close(weights * torch.tensor([30, 10, 20]), torch.full((3,), 20.0, dtype=torch.float64))
    with pytest.raises(DataError, match="balanced"):
        make(class_weights="balanced")


@pytest.mark.parametrize("settings", [{"class_weights": "balanced"}, {"focal_gamma": 2.0, "class_weights": {"a": 0.1}}])
def test_cutting_a_weighted_batch_changes_no_gradient(settings):
    assert_cuts_agree(weighted(**settings), doubled(image_batch(10)))
    if "focal_gamma" not in settings:
        assert_cuts_agree(weighted(**settings), mixed(doubled(image_batch(10))))


def test_weights_are_no_part_of_what_is_saved():
    assert weighted(class_weights="balanced").state_dict().keys() == make().state_dict().keys()


def test_wrong_settings_are_named():
    for settings, text in (
        ({"class_weights": {"d": 2.0}}, "no class d"),
        ({"class_weights": {"a": -1.0}}, "found -1"),
        ({"focal_gamma": 2.0, "label_smoothing": 0.1}, "label_smoothing=0.1"),
    ):
        with pytest.raises(ConfigError, match=text):
            weighted(**settings)
    with pytest.raises(DataError, match="two classes"):
        weighted(threshold=0.3)
    with pytest.raises(ConfigError, match="ham and spam"):
        two(positive="eggs")


def test_the_focal_loss_takes_no_mixed_labels():
    assert make().mixed_labels and not make(focal_gamma=2.0).mixed_labels


def test_a_threshold_chosen_on_validation_is_followed_by_metrics_records_and_decode():
    task, batch = two(threshold="auto"), doubled(image_batch(60))
    batch = batch | {"label": (torch.rand(60) < 0.2).long()}
    assert task.decides and task.decided_at is None
    metrics = task.make_metrics()
    task.evaluation_step(task(batch), batch, metrics)
    before = metrics.compute()
    task.decision = task.fit_decision(metrics)
    after, _, _, records = evaluate(task, batch, 7)
    assert after["f1_positive"] >= before["f1_positive"] and after["loss"] == before["loss"]
    probability = task.model(batch["image"]).softmax(1)[:, 1]
    assert torch.equal(records["prediction"] == 1, probability >= task.decision["threshold"])
    told = task.predict(batch, [{}] * 60)
    assert [row["prediction"] for row in told] == [TWO.classes[number] for number in records["prediction"].tolist()]
    assert [row["score"] for row in told] == pytest.approx(records["score"].tolist())


def test_a_row_is_told_its_likeliest_classes_in_order():
    task, batch = make().eval(), doubled(image_batch(5))
    told = task.predict(batch | {"index": batch["index"].flip(0)}, [{}] * 5)
    probabilities = task.model(batch["image"]).softmax(1).flip(0)
    for row, expected in zip(told, probabilities, strict=True):
        values = list(row["probabilities"].values())
        assert values == sorted(values, reverse=True) == pytest.approx(sorted(expected.tolist(), reverse=True))
        assert next(iter(row["probabilities"])) == row["prediction"] and row["score"] == values[0]
