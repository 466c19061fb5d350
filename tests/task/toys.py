"""Small tasks, networks and batches for tests: a token-weighted task, a distillation and a net that tells its parts.

The tasks are built without arguments, so that tests of the engine can train them.
"""

import torch
from torch import Tensor, nn

from ptft.data.data_module import DataSpec
from ptft.loss.cross_entropy import cross_entropy_sum
from ptft.loss.distillation import distillation_sum
from ptft.metric.classification import ClassificationMetrics
from ptft.model.parts import Parts
from ptft.task.task import MetricSpec, StepOutput, Task

SPEC = DataSpec(kind="image", shape=(1, 6, 6), classes=("a", "b", "c"), mean=(0.4,), std=(0.25,))
UNLABELLED = DataSpec(kind="image", shape=(1, 6, 6), mean=(0.4,), std=(0.25,))
IGNORED = -100


# ---- Images --------------------------------------------------------------------------------------------------------


class TinyNet(nn.Module):
    """Two linear layers without batch norm, so that examples do not see each other."""

    def __init__(self, num_classes=3, pixels=36, width=48):
        super().__init__()
        self.stem = nn.Linear(pixels, width)
        self.block = nn.Linear(width, width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, image):
        return self.head(torch.tanh(self.block(torch.tanh(self.stem(image.flatten(1))))))

    def parts(self):
        return Parts(("stem",), (("block",),), "head")


class TinyGAN(nn.Module):
    """Generator and discriminator of linear layers."""

    def __init__(self, latent=5, pixels=36):
        super().__init__()
        self.latent = latent
        self.generator = nn.Sequential(
            nn.Linear(latent, 48), nn.ReLU(), nn.Linear(48, pixels), nn.Tanh(), nn.Unflatten(1, (1, 6, 6))
        )
        self.discriminator = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1), nn.Flatten(0)
        )


def image_batch(size, *, seed=0, labels=True, views=0):
    """Return a batch of normalised noise images that differ by class; index counts from 0."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (size,), generator=generator)
    image = torch.randn(size, 1, 6, 6, generator=generator)
    image[torch.arange(size), 0, label] += 1.5
    batch = {"index": torch.arange(size)}
    if labels:
        batch["label"] = label
    if not views:
        return batch | {"image": image}
    noise = torch.randn(size, views, 1, 6, 6, generator=generator)
    return batch | {"views": image[:, None] + 0.3 * noise}


def rows(batch, start, stop):
    """Return some examples of a batch."""
    return {name: value[start:stop] for name, value in batch.items()}


def pieces(batch, size):
    """Return a batch cut into pieces of at most `size` examples."""
    return [rows(batch, start, start + size) for start in range(0, len(batch["index"]), size)]


# ---- Tokens: two loss terms, each divided by its own count ---------------------------------------------------------

VOCABULARY, LENGTH = 11, 8


class TokenNet(nn.Module):
    """Reads a short sequence; one head names hidden tokens, the other tells a property of the whole."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 8)
        self.body = nn.Linear(8 * LENGTH, 64)
        self.norm = nn.LayerNorm(64)
        self.token_head = nn.Linear(64, LENGTH * VOCABULARY)
        self.pair_head = nn.Linear(64, 2)

    def forward(self, input_ids):
        hidden = torch.relu(self.norm(self.body(self.embedding(input_ids).flatten(1))))
        return self.token_head(hidden).view(-1, LENGTH, VOCABULARY), self.pair_head(hidden)


class MeanMetrics:
    """Means of named sums, in float64."""

    def __init__(self):
        self.sums, self.counts = {}, {}

    def add(self, name, total, count):
        self.sums[name] = self.sums.get(name, 0.0) + float(total.double())
        self.counts[name] = self.counts.get(name, 0) + int(count)

    def compute(self):
        return {name: total / max(self.counts[name], 1) for name, total in self.sums.items()}

    def intervals(self):
        return {}

    def table(self):
        return []


class TokenToy(Task):
    """Like BERT's pre-training: hidden tokens, unequally many each, and a question on the whole at half weight."""

    headline = MetricSpec("token_loss", "min")
    labelled = False

    def __init__(self):
        super().__init__()
        self.model = TokenNet()

    def forward(self, batch):
        token_logits, pair_logits = self.model(batch["input_ids"])
        return {"token_logits": token_logits, "pair_logits": pair_logits}

    def count(self, batch, phase):
        return {"token": (batch["labels"] != IGNORED).sum(), "pair": len(batch["pair"])}

    def token_sums(self, outputs, batch) -> Tensor:
        """Return the cross entropy of hidden tokens, summed over each example in float32: (B,)."""
        logits = outputs["token_logits"].float().transpose(1, 2)
        return nn.functional.cross_entropy(logits, batch["labels"], ignore_index=IGNORED, reduction="none").sum(1)

    def loss(self, outputs, batch, phase):
        sums = {
            "token": self.token_sums(outputs, batch).sum(),
            "pair": cross_entropy_sum(outputs["pair_logits"], batch["pair"]),
        }
        return StepOutput(sums, coefficients={"pair": 0.5})

    def make_metrics(self):
        return MeanMetrics()

    def evaluation_step(self, outputs, batch, metrics):
        prediction = outputs["pair_logits"].argmax(1)
        token_sums = self.token_sums(outputs, batch).double()
        metrics.add("token_loss", token_sums.sum(), self.count(batch, "model")["token"])
        metrics.add("pair_accuracy", (prediction == batch["pair"]).sum(), len(prediction))
        return {"index": batch["index"], "label": batch["pair"], "prediction": prediction, "score": token_sums}


def token_batch(size, seed=0):
    """Return a batch whose examples hide 0 to LENGTH - 2 tokens: input_ids, labels (B, LENGTH), pair (B,), index."""
    generator = torch.Generator().manual_seed(seed)
    token = torch.randint(1, VOCABULARY, (size, LENGTH), generator=generator)
    share = torch.rand(size, 1, generator=generator)
    hidden = torch.rand(size, LENGTH, generator=generator) < share
    hidden[:, :2] = False  # what tells the examples apart
    hidden[0] = False
    return {
        "index": torch.arange(size) + 1000 * seed,
        "input_ids": token.masked_fill(hidden, 0),
        "labels": token.masked_fill(~hidden, IGNORED),
        "pair": (token[:, 0] > token[:, -1]).long(),
    }


# ---- Distillation: an external teacher -----------------------------------------------------------------------------


class DistillationToy(Task):
    """A student learns labels and the softened outputs of a fixed teacher that has batch norm and drop-out."""

    external = ("teacher",)
    headline = MetricSpec("accuracy", "max", scale=100.0)

    def __init__(self, label_weight=0.3):
        super().__init__()
        self.temperature, self.label_weight = 4.0, label_weight
        self.model = TinyNet()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            self.teacher = nn.Sequential(
                nn.Flatten(), nn.Linear(36, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3)
            )
        self.teacher.requires_grad_(False)

    def forward(self, batch):
        with torch.no_grad():
            teacher_logits = self.teacher(batch["image"])
        return {"logits": self.model(batch["image"]), "teacher_logits": teacher_logits}

    def count(self, batch, phase):
        return dict.fromkeys(("cross_entropy", "distillation"), len(batch["label"]))

    def loss(self, outputs, batch, phase):
        sums = {
            "cross_entropy": cross_entropy_sum(outputs["logits"], batch["label"]),
            "distillation": distillation_sum(outputs["logits"], outputs["teacher_logits"], self.temperature),
        }
        return StepOutput(
            sums, coefficients={"cross_entropy": self.label_weight, "distillation": 1 - self.label_weight}
        )

    def make_metrics(self):
        return ClassificationMetrics(SPEC.classes)

    def evaluation_step(self, outputs, batch, metrics):
        prediction, score = metrics.update(outputs["logits"], batch["label"])
        return {"index": batch["index"], "label": batch["label"], "prediction": prediction, "score": score}
