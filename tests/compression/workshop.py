"""A workshop on tiny data in memory: what a pipeline lends to a step, with a training loop written by hand.

task = image_task(vgg())                        a classifier of pictures that can be learned
workshop = TinyWorkshop(task, image_batch())    any task, and a batch of all its training examples
step.apply(task, workshop)
"""

import copy
import math
import tempfile
from pathlib import Path

import torch

from ptft.data.data_module import DataSpec
from ptft.model.vision.convnet import ConvNet
from ptft.model.vision.resnet import ResNet
from ptft.model.vision.vgg import VGG
from ptft.runtime.duration import Clock, Duration
from ptft.task.classification import Classification
from tests.task.harness import evaluate, total_loss
from tests.task.toys import pieces

IMAGE_SPEC = DataSpec(kind="image", shape=(1, 12, 12), classes=("a", "b", "c", "d"), mean=(0.0,), std=(1.0,))
"""Pictures of 12 x 12 pixels in four classes."""


def vgg(spec=IMAGE_SPEC, seed=0):
    """A VGG of 12 thousand parameters."""
    torch.manual_seed(seed)
    return VGG(spec, widths=(8, 16, 24), depths=(1, 1, 2), hidden=(32,), dropout=0.1)


def resnet(spec=IMAGE_SPEC, seed=0):
    """A ResNet of one block a layer, 20 thousand parameters."""
    torch.manual_seed(seed)
    return ResNet(spec, blocks=(1, 1, 1), widths=(8, 16, 24), stem="small")


def convnet(spec=IMAGE_SPEC, seed=0):
    """The small convolutional network."""
    torch.manual_seed(seed)
    return ConvNet(spec, widths=(8, 16, 16))


def image_task(network, spec=IMAGE_SPEC):
    """A classifier in evaluation mode."""
    return Classification(network, spec).eval()


def image_batch(size=128, spec=IMAGE_SPEC, seed=0):
    """Normalised noise with a bright square in the corner that the class names: image, label, index."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(len(spec.classes), (size,), generator=generator)
    image = torch.randn(size, *spec.shape, generator=generator)
    half = spec.shape[-1] // 2
    for place, number in enumerate(label.tolist()):
        top, left = half * (number // 2 % 2), half * (number % 2)
        image[place, :, top : top + half, left : left + half] += 1.5
    return {"index": torch.arange(size), "image": image, "label": label}


class TinyWorkshop:
    """A Workshop (`ptft.compression.step`) whose training and validation examples are one batch.

    Args:
        parent: The uncompressed task; copied.
        train: A batch with all training examples.
        val: The same of validation; None: the training examples.
        folder: An empty folder; None: a temporary one.
        batch_size: Examples of a step of `recover`.
        lr: Learning rate of its AdamW.
        allowed: What `allowed_drop` returns.

    What was said, warned of and trained is kept in `said`, `warned` and `recovered` (duration, hooks, part).
    """

    def __init__(self, parent, train, val=None, folder=None, *, batch_size=32, lr=3e-3, allowed=None, seed=0):
        self.parent = copy.deepcopy(parent).eval()
        self.spec = getattr(parent, "spec", IMAGE_SPEC)
        self.train, self.val = train, train if val is None else val
        self.folder = Path(tempfile.mkdtemp()) if folder is None else Path(folder)
        self.seed, self.threads = seed, 1
        self.batch_size, self.lr, self.allowed = batch_size, lr, allowed
        self.said, self.warned, self.recovered = [], [], []

    def say(self, text):
        self.said.append(text)

    def warn(self, text):
        self.warned.append(text)

    def batches(self, num_examples, batch_size=32):
        kept = {name: value[:num_examples] for name, value in self.train.items()}
        yield from pieces(kept, batch_size)

    def steps(self, duration):
        return Duration.parse(duration).steps(Clock(self.batch_size, len(self.train["index"])))

    def recover(self, task, duration, hooks=(), *, part="recover", keep="best"):
        self.recovered.append((duration, tuple(hooks), part))
        generator = torch.Generator().manual_seed(self.seed)
        task.train()
        optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=self.lr)
        for hook in hooks:
            hook.apply(0)
        for step in range(self.steps(duration)):
            rows = torch.randint(len(self.train["index"]), (self.batch_size,), generator=generator)
            batch = {name: value[rows] for name, value in self.train.items()}
            optimizer.zero_grad()
            total_loss(task, batch, task.phases[0]).backward()
            optimizer.step()
            for hook in hooks:
                if hook.next_due(step) <= step + 1:
                    hook.apply(step + 1)
        task.eval()

    def evaluate(self, task):
        value = evaluate(task, self.val, self.batch_size)[0][task.headline.name]
        return math.nan if value is None else float(value)

    def allowed_drop(self):
        return self.allowed

    def drop(self, value):
        worse = self.evaluate(self.parent) - value
        return worse if self.parent.headline.mode == "max" else -worse
