"""Generative adversarial network with the training of DCGAN (Radford, Metz and Chintala, arXiv 1511.06434).

Two phases a step: the discriminator learns to tell real images from made ones, then the generator to be taken for real.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import ConfigError
from ptft.loss.adversarial import fake_sum, real_sum
from ptft.metric.frechet import FrechetMetrics
from ptft.runtime.random import Draws
from ptft.task.task import ExportSpec, Media, MetricSpec, Outputs, Records, StepOutput, Task
from ptft.task.vision.pictures import grid
from ptft.types import PositiveInt

EVALUATION_SEED = 0
"""Seed of the noise at evaluations: always the same, whatever the run."""


class GAN(Task):
    """Two networks: `generator`, noise (B, Z) to images in [-1, 1], and `discriminator`, images to logits (B,).

    Real images come normalised by the data and are brought to [-1, 1] here.
    """

    phases = ("discriminator", "generator")
    headline = MetricSpec("pixel_frechet_distance", "min")
    labelled = False
    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, spec: DataSpec, *, num_samples: PositiveInt = 64) -> None:
        """Take the two networks of a model.

        Args:
            model: With children `generator` and `discriminator`, and `latent`, the width of the noise.
            spec: What the data know: shape and normalisation.
            num_samples: Images in a picture grid.

        Raises:
            ConfigError: The model lacks one of them.
        """
        super().__init__()
        lacking = [name for name in ("generator", "discriminator", "latent") if not hasattr(model, name)]
        if lacking:
            raise ConfigError(
                f"task=vision/gan expects a model with a generator, a discriminator and the width of the noise, but "
                f"{type(model).__name__} has no {' and no '.join(lacking)}; choose model=vision/dcgan"
            )
        self.generator: nn.Module = model.get_submodule("generator")
        self.discriminator: nn.Module = model.get_submodule("discriminator")
        self.latent = int(model.latent)  # type: ignore[arg-type]
        self.spec = spec
        self.num_samples = num_samples
        channels = spec.shape[0]
        mean, std = torch.tensor(spec.mean or (0.0,) * channels), torch.tensor(spec.std or (1.0,) * channels)
        # Not saved with the weights: they travel with the data's specification.
        self.register_buffer("mean", mean.view(-1, 1, 1), persistent=False)
        self.register_buffer("std", std.view(-1, 1, 1), persistent=False)

    def forward(self, batch: Batch) -> Outputs:
        """Return {"fake": (B, C, H, W)}, as many images as the batch has, in [-1, 1].

        In training the noise comes from torch's global generator; at an evaluation it belongs to the example's number,
        so that it is the same at any batch size and moves no global state.
        """
        fake: Tensor = self.generator(self.noise(batch))
        return {"fake": fake}

    def noise(self, batch: Batch) -> Tensor:
        """Return standard normal noise (B, Z)."""
        index = batch["index"]
        if self.training:
            return torch.randn(len(index), self.latent, device=index.device)
        return Draws(EVALUATION_SEED, torch.zeros_like(index), index).normal(0, self.latent)

    def real(self, batch: Batch) -> Tensor:
        """Return the real images (B, C, H, W) in the generator's range, [-1, 1]."""
        image: Tensor = batch["image"]
        return (image * self.std + self.mean) * 2 - 1

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of images behind each term of the phase."""
        names = ("discriminator_real", "discriminator_fake") if phase == "discriminator" else ("generator",)
        return dict.fromkeys(names, len(batch["index"]))

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the sums of the phase's terms over the images; real and made ones pass the discriminator apart."""
        if phase == "discriminator":
            real_logits = self.discriminator(self.real(batch))
            fake_logits = self.discriminator(outputs["fake"].detach())
            right = torch.cat([real_logits.detach() > 0, fake_logits.detach() <= 0])
            return StepOutput(
                {"discriminator_real": real_sum(real_logits), "discriminator_fake": fake_sum(fake_logits)},
                scalars={"discriminator_accuracy": right.float().mean()},
            )
        with _constant(self.discriminator):
            return StepOutput({"generator": real_sum(self.discriminator(outputs["fake"]))})

    def make_metrics(self) -> FrechetMetrics:
        """Return fresh metrics."""
        return FrechetMetrics()

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: FrechetMetrics) -> Records:
        """Compare real and made images and return the index.

        The discriminator is not asked: with batch norm, its averaged statistics fit neither kind of batch alone.
        """
        metrics.update((self.real(batch) + 1) / 2, (outputs["fake"] + 1) / 2)
        return {"index": batch["index"].cpu()}

    def samples(self, generator: torch.Generator) -> Media:
        """Return one grid of made images as `samples`: (3, height, width) in [0, 1]."""
        noise = torch.randn(self.num_samples, self.latent, generator=generator)
        with torch.no_grad():
            fake: Tensor = self.generator(noise.to(self.mean.device))
        return {"samples": grid(((fake.float().cpu() + 1) / 2).clamp(0, 1))}

    def export(self) -> dict[str, ExportSpec]:
        """Return a copy of the generator, from noise to images in [-1, 1]."""
        module = copy.deepcopy(self.generator).eval()
        return {"generator": ExportSpec(module, {"noise": (self.latent,)}, ("image",), {"noise": {0: "batch"}})}


@contextmanager
def _constant(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network without gathering any for its own weights: a third of the work saved."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
