"""Masked autoencoder (He and others, arXiv 2111.06377): from a quarter of an image's patches, predict the others.

The encoder sees the visible patches only, which saves most of its work; a light decoder predicts the pixels of the
hidden ones and is thrown away afterwards. No labels are needed. Legend: B batch, N patches, M seen, K hidden, D width
of the encoder, Q numbers of a patch.
"""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import ConfigError
from ptft.metric.bootstrap import Interval, mean_intervals
from ptft.metric.neighbours import NeighbourMetrics, Neighbours
from ptft.model.parts import feature_dim, replace_head
from ptft.model.vision.patch_decoder import PatchDecoder
from ptft.model.vision.patches import EncodesPatches, from_patches, to_patches
from ptft.runtime.random import Draws
from ptft.task.task import ExportSpec, Media, MetricSpec, Outputs, Records, StepOutput
from ptft.task.vision.features import WatchedByNeighbours, check_parts, encoder_export
from ptft.task.vision.pictures import grid, unnormalised
from ptft.types import PositiveInt, ProperShare

EVALUATION_SEED = 0
"""Seed of the masks at evaluations: always the same, whatever the run."""
NUM_SAMPLES = 8
"""Images of which the reconstruction is shown."""


class MaskedMetrics(NeighbourMetrics):
    """Accuracy of nearest neighbours and effective rank of the features, and the loss on the hidden patches."""

    def __init__(self, neighbours: Neighbours | None) -> None:
        """Start an evaluation; without `neighbours` their accuracy is left out."""
        super().__init__(neighbours)
        self._losses: list[Tensor] = []

    def add_losses(self, losses: Tensor) -> None:
        """Take in the mean loss over the hidden patches of each image, (B,); all hide as many."""
        self._losses.append(losses.double().cpu())

    def compute(self) -> dict[str, float]:
        """Return each metric by name."""
        return super().compute() | {"loss": float(torch.cat(self._losses).mean())}

    def intervals(self) -> dict[str, Interval]:
        """Return the 95% intervals of neighbour_accuracy and of the loss; images are drawn again, not patches."""
        return super().intervals() | {"loss": mean_intervals(torch.cat(self._losses)[:, None])[0]}


class Masked(WatchedByNeighbours):
    """A masked autoencoder around a vision transformer, whose head is taken off.

    Judged by the accuracy of nearest neighbours in the training split where the data have classes, else by the loss.
    """

    headline = MetricSpec("neighbour_accuracy", "max", scale=100.0)
    labelled = False

    def __init__(
        self,
        model: nn.Module,
        spec: DataSpec,
        *,
        mask: ProperShare = 0.75,
        normalise_targets: bool = True,
        decoder_width: PositiveInt = 128,
        decoder_depth: PositiveInt = 2,
        decoder_heads: PositiveInt = 4,
        neighbour_examples: PositiveInt = 5000,
        neighbours: PositiveInt = 5,
    ) -> None:
        """Take the head off a model and put a decoder beside it.

        Args:
            model: A network that encodes patches and tells its parts.
            spec: What the data know.
            mask: Share of the patches that is hidden; at least one is hidden and one seen.
            normalise_targets: Predict each patch with its own mean and standard deviation taken out.
            decoder_width: Width of the decoder's tokens (the paper's: 512).
            decoder_depth: Layers of the decoder (the paper's: 8).
            decoder_heads: Attention heads of such a layer (the paper's: 16).
            neighbour_examples: Labelled training examples embedded at an evaluation.
            neighbours: How many nearest neighbours vote.

        Raises:
            ConfigError: The model does not encode patches, or an image has a single one.
        """
        super().__init__()
        encoder = _encoder(model, spec)
        num_patches = encoder.grid[0] * encoder.grid[1]
        self.num_hidden = min(max(round(mask * num_patches), 1), num_patches - 1)
        self.decoder = PatchDecoder(
            encoder.grid,
            feature_dim(model),
            spec.shape[0] * encoder.patch_size**2,
            width=decoder_width,
            depth=decoder_depth,
            heads=decoder_heads,
        )
        replace_head(model, nn.Identity())
        self.model = model
        self.spec = spec
        self.normalise_targets = normalise_targets
        self.num_neighbour_examples = neighbour_examples
        self.num_neighbours = neighbours
        self._shown: list[Tensor] = []
        if spec.num_classes == 0:
            self.headline = MetricSpec("loss", "min")

    # --- Training -----------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Outputs:
        """Return `predictions` (B, K, Q) of the patches `hidden` (B, K); at an evaluation also `features` (B, D).

        Features are those of the whole image, nothing hidden.
        """
        encoder, image = cast(EncodesPatches, self.model), batch["image"]
        tokens = encoder.embed(image)  # (B, N, D)
        order = self._mask_noise(batch["index"], tokens.shape[1]).argsort(dim=1, stable=True)
        hidden, seen = order[:, : self.num_hidden], order[:, self.num_hidden :]
        encoded = encoder.encode(_take(tokens, seen))
        outputs = {"predictions": self.decoder(encoded, seen, hidden), "hidden": hidden}
        return outputs if self.training else outputs | {"features": self.model(image)}

    def _mask_noise(self, index: Tensor, num_patches: int) -> Tensor:
        """Return numbers (B, N) whose order tells which patches are hidden: the first ones.

        In training they come from torch's global generator, as drop-out does; at an evaluation they belong to the
        example's number, so that each run and each batch size is asked for the same patches.
        """
        if self.training:
            return torch.rand(len(index), num_patches, device=index.device)
        return Draws(EVALUATION_SEED, torch.zeros_like(index), index).uniform(0, num_patches)

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of hidden patches."""
        return {"reconstruction": self.num_hidden * len(batch["image"])}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the mean squared error of a patch's pixels, summed over the hidden patches."""
        return StepOutput({"reconstruction": self._errors(outputs, batch).sum()})

    def _errors(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the mean squared error over the pixels of each hidden patch: (B, K), at least float32."""
        target = _take(self._patches(batch["image"]), outputs["hidden"])
        if self.normalise_targets:
            mean, scale = _statistics(target)
            target = (target - mean) / scale
        return (outputs["predictions"].to(target.dtype) - target).square().mean(dim=2)

    def _patches(self, image: Tensor) -> Tensor:
        """Return the pixels of all patches: (B, N, Q), at least float32."""
        patches = to_patches(image, cast(EncodesPatches, self.model).patch_size)
        return patches.to(torch.promote_types(patches.dtype, torch.float32))

    # --- Evaluation ---------------------------------------------------------------------------------------------------

    def before_evaluation(self, loaders: Mapping[str, Iterable[Batch]]) -> None:
        """Embed training examples, among which neighbours are looked for, and forget the pictures shown last."""
        self._shown = []
        super().before_evaluation(loaders)

    def make_metrics(self) -> MaskedMetrics:
        """Return fresh metrics that look for neighbours in what `before_evaluation` embedded."""
        return MaskedMetrics(self._neighbours)

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: MaskedMetrics) -> Records:
        """Return index and loss; with labels also label, the neighbours' vote as prediction and its share as score."""
        losses = self._errors(outputs, batch).mean(dim=1)
        metrics.add_losses(losses)
        self._show(outputs, batch)
        voted = metrics.update(outputs["features"], batch["index"], batch.get("label"))
        records = {"index": batch["index"].cpu(), "loss": losses.cpu()}
        if voted is None:
            return records
        return records | {"label": batch["label"].cpu(), "prediction": voted[0], "score": voted[1]}

    def _show(self, outputs: Outputs, batch: Batch) -> None:
        """Keep the first images of an evaluation as (n, 3, C, H, W): whole, with hidden patches grey, reconstructed."""
        missing = NUM_SAMPLES - sum(map(len, self._shown))
        if missing <= 0:
            return
        image, hidden = batch["image"][:missing], outputs["hidden"][:missing]
        patches = self._patches(image)
        predictions = outputs["predictions"][:missing].to(patches.dtype)
        if self.normalise_targets:  # the patch's own mean and scale are put back: the network was not asked for them
            mean, scale = _statistics(_take(patches, hidden))
            predictions = predictions * scale + mean
        place = hidden[..., None].expand_as(predictions)
        reconstructed = self._picture(patches.scatter(1, place, predictions))
        shown = self._picture(patches.scatter(1, place, 0.0))
        covered = self._picture(torch.zeros_like(patches).scatter(1, place, 1.0)).cpu() > 0
        shown = unnormalised(shown, self.spec).masked_fill(covered, 0.5)
        pictures = [unnormalised(image, self.spec), shown, unnormalised(reconstructed, self.spec)]
        self._shown.append(torch.stack(pictures, dim=1))

    def _picture(self, patches: Tensor) -> Tensor:
        return from_patches(patches, self.spec.shape, cast(EncodesPatches, self.model).patch_size)

    def samples(self, generator: torch.Generator) -> Media | None:
        """Return one grid as `reconstructions`: images above, what the encoder saw of them, and what came out below."""
        if not self._shown:
            return None
        shown = torch.cat(self._shown)
        return {"reconstructions": grid(shown.transpose(0, 1).flatten(0, 1), columns=len(shown))}

    def export(self) -> dict[str, ExportSpec]:
        """Return the network without a head."""
        return encoder_export(self.model, self.spec)

    def label_names(self) -> tuple[str, ...]:
        """Return the names of the classes; empty without labels."""
        return self.spec.classes


def _encoder(model: nn.Module, spec: DataSpec) -> EncodesPatches:
    """Return a model as what encodes patches, at least two of them.

    Raises:
        ConfigError: It does not, does not tell its parts, or an image is a single patch.
    """
    if not isinstance(model, EncodesPatches):
        raise ConfigError(
            f"task=vision/masked hides patches from a vision transformer, but {type(model).__name__} has none; "
            "choose model=vision/vit_tiny or model=vision/vit_b_16"
        )
    check_parts(model, "vision/masked")
    encoder: EncodesPatches = model
    if max(encoder.grid) < 2:
        raise ConfigError(
            f"task=vision/masked needs at least two patches, but model.patch_size={encoder.patch_size} makes one of "
            f"images of shape {spec.shape}; choose a smaller one"
        )
    return encoder


def _take(rows: Tensor, place: Tensor) -> Tensor:
    """Return the rows (B, M, D) that lie at `place` (B, M) among (B, N, D)."""
    return rows.gather(1, place[..., None].expand(-1, -1, rows.shape[2]))


def _statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each patch (B, K, Q), (B, K, 1) each; that of an even one is nearly 0."""
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True, correction=0)
    return mean, (variance + 1e-6).sqrt()
