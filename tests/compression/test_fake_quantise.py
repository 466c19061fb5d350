import pytest
import torch
from torch import nn

from ptft.compression.fake_quantise import Rounder, round_layer


def ready(rounder, *batches):
    for values in batches:
        rounder(values)
    rounder.freeze()
    return rounder


def rounded(layer, values, levels=127, output=(None, None)):
    """A layer that rounds, its ranges found on one batch."""
    round_layer(layer, levels, output)
    with torch.no_grad():
        layer(values)
    for module in layer.modules():
        if isinstance(module, Rounder):
            module.freeze()
    return layer


@pytest.mark.parametrize("levels", [127, 63])
def test_rounded_weights_equal_the_closed_form(levels):
    torch.manual_seed(0)
    layer, values = nn.Conv2d(3, 5, 3, bias=False), torch.randn(4, 3, 8, 8)
    scale = layer.weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True) / levels
    expected = (layer.weight.detach() / scale).round() * scale
    found = rounded(layer, values, levels).rounded_weight()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    assert torch.equal((found / scale).round().abs().amax(dim=(1, 2, 3)), torch.full((5,), float(levels)))


def test_rounded_activations_equal_the_closed_form():
    values = torch.linspace(-1.0, 3.0, 401)
    rounder = ready(Rounder(), values)
    scale = 4.0 / 255
    zero = round(1.0 / scale)
    expected = ((values / scale).round() + zero).clamp(0, 255).sub(zero) * scale
    torch.testing.assert_close(rounder(values), expected, rtol=1e-5, atol=1e-6)
    assert float(rounder(torch.zeros(1))) == 0.0, "padding is exact"


def test_a_range_is_the_mean_of_the_batches_extremes_within_its_bounds():
    batches = [torch.tensor([-1.0, 2.0]), torch.tensor([-3.0, 4.0])]
    assert float(ready(Rounder(), *batches).scale) == pytest.approx((3.0 + 2.0) / 255)
    assert float(ready(Rounder(0.0, 2.5), *batches).scale) == pytest.approx(2.5 / 255)
    assert int(ready(Rounder(0.0, 2.5), *batches).zero_point) == 0


def test_gradients_pass_rounding_and_stop_where_values_are_cut_off():
    rounder = ready(Rounder(), torch.tensor([0.0, 1.0]))
    values = torch.tensor([-0.5, 0.3, 0.9, 1.5], requires_grad=True)
    rounder(values).sum().backward()
    assert values.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_a_rounded_layer_has_the_state_of_the_plain_one():
    layer = nn.Conv2d(2, 3, 3)
    names = set(layer.state_dict())
    layer = rounded(layer, torch.randn(2, 2, 5, 5))
    assert set(layer.state_dict()) == names and isinstance(layer, nn.Conv2d)


def test_zeros_of_a_pruned_weight_stay_zero_whatever_training_does():
    torch.manual_seed(0)
    layer = nn.Linear(8, 4)
    with torch.no_grad():
        layer.weight[:, ::2] = 0
    layer = rounded(layer, torch.randn(16, 8))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        layer(torch.randn(16, 8)).square().sum().backward()
        optimizer.step()
    layer.fix()
    assert not layer.rounded_weight()[:, ::2].any() and not layer.weight_code[:, ::2].any()
    assert layer.weight_code[:, 1::2].any()


def test_integers_written_down_are_the_rounded_weights():
    torch.manual_seed(0)
    layer = rounded(nn.Conv2d(3, 5, 3), torch.randn(4, 3, 8, 8), 63)
    layer.fix()
    assert layer.weight_code.dtype == torch.int8 and int(layer.weight_code.abs().max()) == 63
    torch.testing.assert_close(
        layer.weight_code * layer.weight_scale.view(-1, 1, 1, 1), layer.rounded_weight(), rtol=1e-6, atol=1e-7
    )
    torch.testing.assert_close(layer.bias_code * layer.bias_scale, layer.bias.detach(), rtol=1e-3, atol=1e-5)


def test_a_bias_of_a_dead_channel_fits_32_bits():
    layer = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        layer.weight[0] = 0
        layer.bias[0] = 5.0
    layer = rounded(layer, torch.randn(2, 1, 4, 4))
    layer.fix()
    torch.testing.assert_close(layer.bias_code * layer.bias_scale, layer.bias.detach(), rtol=1e-3, atol=1e-5)
