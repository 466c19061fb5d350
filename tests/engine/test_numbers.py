"""Alarms for wrong numbers: shuffled labels stay at chance, layouts and number types change rounding only."""

import dataclasses
import math

import numpy as np
import torch

from ptft.data.data_module import BatchPlan
from ptft.data.vision.digits import Digits
from ptft.model.vision.convnet import ConvNet
from ptft.task.classification import Classification
from tests.engine.reference import digits, make
from tests.engine.test_update import make_update


class ShuffledDigits(Digits):
    """Digits whose labels say nothing of the images."""

    def read(self):
        arrays = super().read()
        labels = np.random.default_rng(0).permutation(arrays.labels)
        return dataclasses.replace(arrays, labels=labels)


def test_labels_that_say_nothing_are_predicted_at_chance(tmp_path):
    """More would mean that the validation split leaks into training."""
    data = ShuffledDigits([])
    data.setup()
    engine = make(tmp_path / "run", data=data, max="200st", evaluate_every="200st", checkpoint_every="200st")
    engine.fit()
    chance, examples = 0.1, 180
    assert abs(engine.tracker.best - chance) < 3.5 * math.sqrt(chance * (1 - chance) / examples)


def losses_after(steps, *, memory_format=torch.contiguous_format, precision="fp32"):
    data = digits()
    torch.manual_seed(0)
    task = Classification(ConvNet(data.spec), data.spec)
    task.to(memory_format=memory_format)
    update = make_update(task, precision=precision, lr=0.05)
    values = []
    for step, batch in zip(range(steps), data.train_loader(BatchPlan(batch_size=32)), strict=False):
        update(batch, step, steps)
        values.append(update.window.take()["loss"])
    return values


def test_channels_last_gives_the_same_losses_up_to_rounding():
    assert np.allclose(losses_after(5), losses_after(5, memory_format=torch.channels_last), rtol=1e-4)


def test_bfloat16_follows_fp32_within_its_eight_bits():
    assert np.allclose(losses_after(5), losses_after(5, precision="bf16"), rtol=0.05)
