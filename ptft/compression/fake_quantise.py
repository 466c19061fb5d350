"""Layers that compute as if their numbers were bytes: rounded, and yet trained as float.

Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference" (arXiv 1806.08342); Jacob and others
(arXiv 1712.05877). Gradients pass the rounding as if it were not there, and stop where a value was cut off. Weights:
symmetric, one scale an output channel, found anew at each step; activations: affine, one scale a tensor, frozen.

When torch.export traces a layer, it writes QuantizeLinear and DequantizeLinear, with the weights as int8 constants.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TOP = 255
"""The largest byte of an activation."""
_SMALLEST = 1e-12
"""A scale is no smaller, so that it can be divided by."""
_BIAS_LEVELS = 2**30
"""A bias is a 32-bit integer in units of input scale times weight scale."""


class Rounder(nn.Module):
    """Rounds a tensor to bytes and back; until it has a range it watches what passes.

    The scale is (greatest - least) / 255, with 0 a byte of its own, as padding wants it.
    """

    scale: Tensor
    zero_point: Tensor
    byte: Tensor

    def __init__(self, least: float | None = None, most: float | None = None) -> None:
        """Begin to watch.

        Args:
            least: Smaller values may be cut off; None: there is no such bound.
            most: Greater values may be cut off.
        """
        super().__init__()
        self.least, self.most = least, most
        self.ready = False
        self._seen: list[tuple[float, float]] = []
        # Not saved: a network that rounds has the state of the one that does not.
        self.register_buffer("scale", torch.ones(()), persistent=False)
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32), persistent=False)
        self.register_buffer("byte", torch.zeros((), dtype=torch.uint8), persistent=False)

    def freeze(self) -> None:
        """Fix the range: the means over all batches seen of the least and of the greatest value, and 0."""
        low = min(sum(low for low, _ in self._seen) / max(len(self._seen), 1), 0.0)
        high = max(sum(high for _, high in self._seen) / max(len(self._seen), 1), 0.0)
        low = low if self.least is None else max(low, self.least)
        high = high if self.most is None else min(high, self.most)
        self.scale.fill_((high - low) / TOP or 1.0)
        self.zero_point.fill_(round(-low / float(self.scale)))
        self.byte.copy_(self.zero_point)
        self.ready = True

    def forward(self, values: Tensor) -> Tensor:
        """Return the values as bytes would hold them; as they are while it watches."""
        if not self.ready:
            self._seen.append((float(values.detach().min()), float(values.detach().max())))
            return values
        if torch.compiler.is_exporting():
            code = _onnx("QuantizeLinear", [values, self.scale, self.byte], values.shape, torch.uint8)
            return _onnx("DequantizeLinear", [code, self.scale, self.byte], values.shape)
        rounded: Tensor = torch.fake_quantize_per_tensor_affine(
            values.float(), self.scale, self.zero_point, 0, TOP
        )  # fmt: skip
        return rounded.to(values.dtype)


class _Rounded(nn.Module):
    """What rounded layers share: it stands before the layer's own class, whose attributes and state stay."""

    weight: Tensor
    levels: int
    input_rounder: Rounder
    kept: Tensor | None
    weight_code: Tensor
    weight_scale: Tensor

    def scales(self) -> Tensor:
        """Return the scale of each output channel: its largest absolute weight / levels, (out,)."""
        scale = self.own_weight().detach().abs().flatten(1).amax(1) / self.levels
        return scale.clamp(min=_SMALLEST)

    def own_weight(self) -> Tensor:
        """Return the weights as float32, zero where a pruned network had zeros."""
        weight = self.weight.float()
        return weight if self.kept is None else weight * self.kept

    def rounded_weight(self) -> Tensor:
        """Return the weights as the integers -levels ... levels hold them."""
        if not self.input_rounder.ready:
            return self.weight
        scale = self.scales()
        zero_point = torch.zeros_like(scale, dtype=torch.int32)
        weight = self.own_weight()
        rounded = torch.fake_quantize_per_channel_affine(weight, scale, zero_point, 0, -self.levels, self.levels)
        return rounded.to(self.weight.dtype)

    def fix(self) -> None:
        """Write down the weights as integers, for `torch.export` to find."""
        scale = self.scales()
        shape = (-1, *([1] * (self.weight.ndim - 1)))
        code = (self.own_weight().detach() / scale.view(shape)).round().clamp(-self.levels, self.levels)
        self.register_buffer("weight_scale", scale, persistent=False)
        self.register_buffer("weight_code", code.to(torch.int8), persistent=False)


class RoundedConv2d(_Rounded, nn.Conv2d):
    """A convolution with input, weights and output as bytes; when traced, with a bias of 32-bit integers."""

    output_rounder: Rounder
    bias_code: Tensor | None
    bias_scale: Tensor

    def scales(self) -> Tensor:
        """Return the scale of each output channel, large enough for its bias to fit 32 bits."""
        scale = super().scales()
        if self.bias is None:
            return scale
        return scale.maximum(self.bias.detach().float().abs() / (self.input_rounder.scale * _BIAS_LEVELS))

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, H, W) as the convolution did."""
        if torch.compiler.is_exporting():
            weight = _constant(self.weight_code, self.weight_scale)
            bias = None if self.bias_code is None else _constant(self.bias_code, self.bias_scale)
        else:
            weight, bias = self.rounded_weight(), self.bias
        output: Tensor = self.output_rounder(self._conv_forward(self.input_rounder(input), weight, bias))
        return output

    def fix(self) -> None:
        """Write down weights and bias as integers."""
        super().fix()
        scale = self.weight_scale * self.input_rounder.scale
        code = None if self.bias is None else (self.bias.detach().double() / scale).round().to(torch.int32)
        self.register_buffer("bias_scale", scale, persistent=False)
        self.register_buffer("bias_code", code, persistent=False)


class RoundedLinear(_Rounded, nn.Linear):
    """A linear layer with input and weights as bytes; what it gives stays float."""

    weight_columns: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        values = self.input_rounder(input)
        if not torch.compiler.is_exporting():
            output: Tensor = F.linear(values, self.rounded_weight(), self.bias)
            return output
        # Weights the other way round, as ONNX multiplies matrices: runtimes find no integers behind a Transpose. Three
        # axes, as ONNX Runtime makes a Gemm of two, and has none of bytes that gives floats.
        weight = _constant(self.weight_columns, self.weight_scale, axis=1)
        product = values @ weight if values.ndim > 2 else (values.unsqueeze(0) @ weight).squeeze(0)
        result: Tensor = product if self.bias is None else product + self.bias
        return result

    def fix(self) -> None:
        """Write down the weights as integers."""
        super().fix()
        self.register_buffer("weight_columns", self.weight_code.T.contiguous(), persistent=False)


KINDS: dict[type[nn.Module], type[_Rounded]] = {nn.Conv2d: RoundedConv2d, nn.Linear: RoundedLinear}
"""The layers that can be rounded; subclasses of them compute something else."""


def round_layer(layer: nn.Module, levels: Literal[127, 63], output: tuple[float | None, float | None]) -> None:
    """Make a layer one that rounds, in place: it watches first, and keeps its name, weights and settings.

    Args:
        layer: Of a type in `KINDS`.
        levels: The largest integer of a weight.
        output: Bounds beyond which a convolution's output may be cut off.
    """
    layer.__class__ = KINDS[type(layer)]
    assert isinstance(layer, _Rounded)
    layer.levels = levels
    zeros = bool((layer.weight == 0).any())
    layer.register_buffer("kept", layer.weight.detach() != 0 if zeros else None, persistent=False)
    layer.input_rounder = Rounder()
    if isinstance(layer, RoundedConv2d):
        layer.output_rounder = Rounder(*output)


def rounded_layers(network: nn.Module) -> dict[str, RoundedConv2d | RoundedLinear]:
    """Return the layers that round, by name."""
    kinds = (RoundedConv2d, RoundedLinear)
    return {name: module for name, module in network.named_modules() if isinstance(module, kinds)}


def rounders(network: nn.Module) -> list[Rounder]:
    """Return all that rounds activations, each once."""
    return [module for module in network.modules() if isinstance(module, Rounder)]


def fix_integers(network: nn.Module) -> None:
    """Write down all weights as integers, once training is over."""
    for layer in rounded_layers(network).values():
        layer.fix()


def _constant(code: Tensor, scale: Tensor, axis: int = 0) -> Tensor:
    return _onnx("DequantizeLinear", [code, scale], code.shape, axis=axis)


def _onnx(
    operator: str, inputs: Sequence[Tensor], shape: Sequence[Any], dtype: torch.dtype = torch.float32, **attributes: int
) -> Tensor:
    """Return an operator of ONNX for torch.export to write down."""
    written: Tensor = torch.onnx.ops.symbolic(operator, inputs, dict(attributes), dtype=dtype, shape=shape)
    return written
