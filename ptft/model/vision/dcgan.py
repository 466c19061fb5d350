"""DCGAN: a convolutional generator and discriminator (Radford, Metz and Chintala, arXiv 1511.06434), for small images.

Images are in [-1, 1] here, as the generator ends in tanh; who feeds the discriminator brings real images to that range.
The image size need be no power of 2: a side is halved, rounding up, until it is at most `base_size` (28: 14, 7, 4), and
the generator walks the same sizes back. Legend: B batch, Z latent, C channels, H height, W width.
"""

from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model.spec import ModelSpec, image_shape
from ptft.types import PositiveInt

Size = tuple[int, int]


def sizes_of(height: int, width: int, base_size: int) -> list[Size]:
    """Return the (height, width) of each stage, from the image down to where both sides are at most `base_size`."""
    sizes = [(height, width)]
    while max(sizes[-1]) > max(base_size, 1):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def _kernel(size: Size) -> Size:
    """Return the kernel that, with stride 2 and padding 1, leads from `size` to its half (rounded up) and back."""
    height, width = size
    return 4 - height % 2, 4 - width % 2


class Generator(nn.Module):
    """Maps noise to images: a linear projection, then transposed convolutions, batch norm and ReLU, and tanh."""

    def __init__(self, channels: int, sizes: list[Size], widths: list[int], latent: int) -> None:
        """Build it for the `sizes` of `sizes_of`; `widths[i]` are the channels at `sizes[i + 1]`."""
        super().__init__()
        self.base = (widths[-1], *sizes[-1])
        base_features = widths[-1] * sizes[-1][0] * sizes[-1][1]
        self.project = nn.Linear(latent, base_features, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
        for stage in range(len(widths) - 1, 0, -1):
            kernel = _kernel(sizes[stage])
            layers += [
                nn.ConvTranspose2d(widths[stage], widths[stage - 1], kernel, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(widths[stage - 1]),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose2d(widths[0], channels, _kernel(sizes[0]), stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise (B, Z), drawn from a standard normal, to images (B, C, H, W) in [-1, 1]."""
        image: Tensor = self.layers(self.project(noise).unflatten(1, self.base))
        return image


class Discriminator(nn.Module):
    """Tells real images from made ones: strided convolutions, batch norm but on the first, leaky ReLU."""

    def __init__(self, channels: int, sizes: list[Size], widths: list[int]) -> None:
        """Build it for the `sizes` of `sizes_of`; `widths[i]` are the channels at `sizes[i + 1]`."""
        super().__init__()
        layers: list[nn.Module] = []
        for stage, width in enumerate(widths):
            layers.append(nn.Conv2d(channels, width, _kernel(sizes[stage]), stride=2, padding=1, bias=stage == 0))
            if stage:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = width
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(widths[-1] * sizes[-1][0] * sizes[-1][1], 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] to logits (B,): above 0 for `real`."""
        logits: Tensor = self.score(self.layers(image).flatten(1)).squeeze(1)
        return logits


class DCGAN(nn.Module):
    """The two networks of a GAN as children `generator` and `discriminator`."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        latent: PositiveInt = 64,
        width: PositiveInt = 32,
        base_size: PositiveInt = 4,
    ) -> None:
        """Build both; weights N(0, 0.02), scales of norms N(1, 0.02), biases 0, as in the paper.

        Args:
            spec: Shape of an image; classes are not used.
            latent: Width of the noise.
            width: Channels at half the image's size; doubled at each further halving.
            base_size: Halve until both sides are at most this many pixels; the image is halved at least once.

        Raises:
            ConfigError: The examples are not images, or are a single pixel.
        """
        super().__init__()
        channels, height, width_pixels = image_shape(spec)
        if max(height, width_pixels) < 2:
            raise ConfigError("DCGAN halves the image at least once, but it is 1x1; choose another data=")
        sizes = sizes_of(height, width_pixels, min(base_size, max(height, width_pixels) - 1))
        widths = [width * 2**stage for stage in range(len(sizes) - 1)]
        self.latent = latent
        self.image_shape = (channels, height, width_pixels)
        self.generator = Generator(channels, sizes, widths, latent)
        self.discriminator = Discriminator(channels, sizes, widths)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, mean=1.0, std=0.02)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise (B, Z) to images (B, C, H, W) in [-1, 1]."""
        image: Tensor = self.generator(noise)
        return image
