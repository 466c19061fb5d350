"""GAN: two phases that leave each other alone, repeatable evaluations, pictures."""

import pytest
import torch
from torch import nn

from ptft.errors import ConfigError
from ptft.task.vision.gan import GAN, grid
from tests.task.harness import (
    assert_batch_size_changes_no_evaluation,
    assert_cutting_changes_no_gradient,
    evaluate,
    gradient,
    overfit,
    total_loss,
)
from tests.task.toys import SPEC, TinyGAN, TinyNet, image_batch


def make():
    torch.manual_seed(0)
    return GAN(TinyGAN(), SPEC)


def doubled(batch):
    return {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}


class DoubleNoise(GAN):
    """float64 throughout, with noise that belongs to the example, so that cutting a batch changes only the rounding."""

    def noise(self, batch):
        with torch.no_grad():
            self.training, training = False, self.training
            noise = super().noise(batch).double()
            self.training = training
        return noise


def make_exact():
    torch.manual_seed(0)
    return DoubleNoise(TinyGAN(), SPEC).double()


def test_cutting_a_batch_changes_no_gradient_of_either_phase():
    assert_cutting_changes_no_gradient(make_exact().train(), doubled(image_batch(9, labels=False)))


def test_each_phase_updates_its_own_network():
    task = make()
    for phase in task.phases:
        assert task.parameters_of(phase) and all(name.startswith(phase + ".") for name in task.parameters_of(phase))


def test_the_discriminators_phase_gives_the_generator_no_gradient_and_the_other_way_round():
    task, batch = make(), image_batch(6)
    for phase, other in (("discriminator", task.generator), ("generator", task.discriminator)):
        task.zero_grad()
        total_loss(task, batch, phase).backward()
        assert all(parameter.grad is None for parameter in other.parameters())
        assert all(parameter.requires_grad for parameter in other.parameters())


def test_the_generators_gradient_is_that_of_the_non_saturating_loss():
    task, batch = make_exact(), doubled(image_batch(6))
    found = gradient(task, batch, "generator", 6)
    task.zero_grad()
    logits = task.discriminator(task.generator(task.noise(batch)))
    (-logits.sigmoid().log().mean()).backward()
    for name, parameter in task.generator.named_parameters():
        torch.testing.assert_close(found[f"generator.{name}"], parameter.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("phase", "share"), [("discriminator", 0.05), ("generator", 0.5)])
def test_each_network_wins_against_one_that_stands_still(phase, share):
    first, last = overfit(make(), image_batch(16), phase=phase)
    assert last < share * first


def test_how_often_the_discriminator_is_right_is_a_curve():
    task, batch = make(), image_batch(16)
    overfit(task, batch, phase="discriminator")
    scalars = task.loss(task(batch), batch, "discriminator").scalars
    assert float(scalars["discriminator_accuracy"]) > 0.9
    assert task.loss(task(batch), batch, "generator").scalars == {}


def test_real_images_come_in_the_generators_range():
    task = make()
    pixels = torch.rand(4, 1, 6, 6)
    batch = image_batch(4) | {"image": (pixels - 0.4) / 0.25}
    torch.testing.assert_close(task.real(batch), pixels * 2 - 1)
    assert set(task.state_dict()) == {f"{name}" for name, _ in task.named_parameters()}


def test_evaluation_is_the_same_at_any_batch_size():
    metrics, intervals, _, records = assert_batch_size_changes_no_evaluation(make_exact(), doubled(image_batch(80)))
    assert set(metrics) == {"pixel_frechet_distance"} and intervals == {}
    assert set(records) == {"index"}


def test_evaluation_and_samples_draw_nothing_from_the_global_generator():
    task, batch = make(), image_batch(20)
    before = torch.random.get_rng_state()
    evaluate(task, batch, 7)
    task.samples(torch.Generator().manual_seed(3))
    assert torch.equal(before, torch.random.get_rng_state())


def test_training_noise_follows_the_global_generator():
    task, batch = make().train(), image_batch(3)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(task(batch)["fake"])
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


def test_samples_are_one_picture_that_depends_on_the_generator_alone():
    task = make().eval()
    first, second = (task.samples(torch.Generator().manual_seed(5))["samples"] for _ in range(2))
    assert torch.equal(first, second) and first.shape == (3, 57, 57)
    assert first.min().item() >= 0 and first.max().item() <= 1 and not first.requires_grad


def test_a_grid_places_images_row_by_row_with_a_line_between_them():
    images = torch.arange(1.0, 4.0).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    picture = grid(images)
    assert picture.shape == (3, 7, 7)
    assert picture[0, [1, 1, 4], [1, 4, 1]].tolist() == [1, 2, 3]
    assert (picture[:, 0] == 0.5).all() and (picture[:, :, 3] == 0.5).all()
    assert grid(torch.rand(5, 2, 2, 2)).shape == (3, 7, 10)


def test_the_export_maps_noise_to_images():
    spec = make().export()["generator"]
    assert spec.inputs == {"noise": (5,)} and spec.module(torch.randn(2, 5)).shape == (2, 1, 6, 6)


def test_a_model_of_one_network_is_refused():
    with pytest.raises(ConfigError, match="no generator and no discriminator and no latent"):
        GAN(TinyNet(), SPEC)
    assert isinstance(make().generator, nn.Module)
