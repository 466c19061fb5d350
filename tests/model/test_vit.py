"""The vision transformer: against torchvision's, on images of any shape, on some of the patches."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.parts import belongs, feature_dim
from ptft.model.vision.patches import from_patches, sine_positions, to_patches
from ptft.model.vision.vit import POSITIONS, VisionTransformer, resized_positions

SMALL = {"patch_size": 4, "depth": 2, "heads": 2, "width": 16, "mlp": 32}


def spec_of(*shape, num_classes=5):
    return DataSpec(kind="image", shape=shape, classes=tuple(f"class {i}" for i in range(num_classes)))


def build(*shape, **settings):
    torch.manual_seed(0)
    return VisionTransformer(spec_of(*shape), **(SMALL | settings))


def test_it_computes_what_torchvisions_does_under_the_same_names():
    from torchvision.models import VisionTransformer as Theirs

    torch.manual_seed(0)
    theirs = Theirs(image_size=12, patch_size=4, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    torch.nn.init.normal_(theirs.heads.head.weight)
    ours = build(3, 12, 12)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(3, 3, 12, 12)
    torch.testing.assert_close(ours(image), theirs(image))


def test_the_defaults_are_vit_b_16():
    with torch.device("meta"):
        model = VisionTransformer(spec_of(3, 224, 224, num_classes=1000))
    assert sum(parameter.numel() for parameter in model.parameters()) == 86_567_656  # torchvision's own count


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_images_need_not_be_square_and_every_parameter_learns(pool):
    model = build(1, 8, 12, pool=pool)
    logits = model(torch.randn(4, 1, 8, 12))
    assert logits.shape == (4, 5)
    cross_entropy(logits, torch.arange(4)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_parts_hold_every_parameter_once():
    model = build(1, 8, 8)
    parts = model.parts()
    prefixes = [*parts.stem, *(prefix for block in parts.blocks for prefix in block), parts.head]
    for name, _ in model.named_parameters():
        assert sum(belongs(name, prefix) for prefix in prefixes) == 1, name
    assert len(parts.blocks) == 2 and feature_dim(model) == 16


def test_the_encoder_on_some_patches_sees_nothing_of_the_others():
    model = build(1, 8, 8).eval()
    image, other = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    other[:, :, :4] = image[:, :, :4]  # the upper two of four patches
    seen = [model.encode(model.embed(picture)[:, :2]) for picture in (image, other)]
    assert seen[0].shape == (2, 3, 16)
    torch.testing.assert_close(*seen)
    assert not torch.allclose(model(image), model(other))


def test_sides_and_widths_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match=r"patch_size=16 does not divide images of 28x28; choose one of 2, 4, 7, 14"):
        build(1, 28, 28, patch_size=16)
    with pytest.raises(ConfigError, match=r"model.width=16 is not divisible by model.heads=3"):
        build(1, 8, 8, heads=3)


# --- Weights of others ------------------------------------------------------------------------------------------------


def test_torchvisions_older_names_are_understood():
    model = build(1, 8, 8)
    old = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
        for name, value in model.state_dict().items()
    }
    assert old.keys() != model.state_dict().keys()
    adapted = model.adapt_tensors(old)
    assert adapted.keys() == model.state_dict().keys()
    assert all(torch.equal(adapted[name], value) for name, value in model.state_dict().items())


def test_positions_of_another_grid_are_resized_and_the_class_tokens_is_kept():
    small, large = build(1, 8, 8), build(1, 16, 24)
    given = small.state_dict()
    before = {name: value.clone() for name, value in given.items()}
    adapted = large.adapt_tensors(given)
    assert adapted[POSITIONS].shape == large.encoder.pos_embedding.shape == (1, 1 + 4 * 6, 16)
    assert torch.equal(adapted[POSITIONS][:, 0], given[POSITIONS][:, 0])
    assert all(torch.equal(value, given[name]) for name, value in before.items())
    assert torch.equal(small.adapt_tensors(given)[POSITIONS], given[POSITIONS])


def test_resized_positions_keep_what_is_linear_in_row_and_column():
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    plane = torch.stack([row, column], dim=-1).view(1, 64, 2)
    resized = resized_positions(torch.cat([torch.zeros(1, 1, 2), plane], dim=1), (16, 16))[:, 1:].view(16, 16, 2)
    centres = (torch.arange(16.0) + 0.5) / 2 - 0.5  # where the new rows lie among the old
    torch.testing.assert_close(resized[4:12, 8, 0], centres[4:12])  # away from the edges
    torch.testing.assert_close(resized[8, 4:12, 1], centres[4:12])


def test_positions_of_a_grid_that_is_not_square_are_left_as_they_are():
    positions = torch.randn(1, 1 + 6, 4)
    assert resized_positions(positions, (2, 2)) is positions


# --- Patches ----------------------------------------------------------------------------------------------------------


def test_patches_are_cut_row_by_row_and_put_together_again():
    image = torch.randn(2, 3, 8, 12)
    patches = to_patches(image, 4)
    assert patches.shape == (2, 6, 48)
    torch.testing.assert_close(patches[:, 4], image[:, :, 4:8, 4:8].flatten(1))  # second row, second column
    assert torch.equal(from_patches(patches, (3, 8, 12), 4), image)


def test_patches_lie_in_the_order_of_the_tokens():
    model = build(3, 8, 12)
    image = torch.randn(2, 3, 8, 12)
    tokens = to_patches(image, 4) @ model.conv_proj.weight.flatten(1).T + model.conv_proj.bias
    torch.testing.assert_close(model.embed(image), tokens + model.encoder.pos_embedding[:, 1:])


def test_sine_positions_tell_each_place_apart_and_columns_from_rows():
    positions = sine_positions(3, 5, 10)
    assert positions.shape == (15, 10) and positions.abs().max() <= 1
    assert len(torch.unique(positions.round(decimals=5), dim=0)) == 15
    torch.testing.assert_close(positions[7, 0], torch.tensor(2.0).sin())  # row 1, column 2
    torch.testing.assert_close(positions[7, 4], torch.tensor(1.0).sin())
    assert torch.equal(positions[:, 8:], torch.zeros(15, 2))
    torch.testing.assert_close(build(1, 8, 8, positions="sine").encoder.pos_embedding[0, 1:], sine_positions(2, 2, 16))
