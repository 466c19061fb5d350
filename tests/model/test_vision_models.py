"""The single models: against torchvision, closed forms, and their own promises."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.vision.convnet import ConvNet
from ptft.model.vision.dcgan import DCGAN, sizes_of
from ptft.model.vision.layers import conv_block, norm_layer, pools
from ptft.model.vision.mlp import MLP
from ptft.model.vision.resnet import ResNet
from ptft.model.vision.vgg import VGG


def spec_of(*shape, num_classes=10):
    return DataSpec(kind="image", shape=shape, classes=tuple(f"class {i}" for i in range(num_classes)))


def num_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


# --- Layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_a_block_equals_convolution_norm_relu_and_pooling_written_out(norm):
    torch.manual_seed(0)
    block = conv_block(3, 8, 2, norm, pool=True)
    image = torch.randn(4, 3, 9, 9)
    convolutions = [module for module in block if isinstance(module, nn.Conv2d)]
    norms = [norm_layer(norm, 8) for _ in convolutions]
    expected = image
    for convolution, normalise in zip(convolutions, norms, strict=True):
        expected = torch.relu(normalise(convolution(expected)))
    expected = nn.functional.max_pool2d(expected, 2)
    torch.testing.assert_close(block(image), expected)
    assert all((convolution.bias is None) == (norm != "none") for convolution in convolutions)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (48, 16), (8, 8), (7, 1)])
def test_group_norm_takes_the_most_groups_that_divide(channels, groups):
    assert norm_layer("group", channels).num_groups == groups


def test_pooling_goes_on_while_the_side_is_at_least_two():
    assert pools(28, 28, 5) == [True, True, True, True, False]  # 28, 14, 7, 3, 1
    assert pools(8, 2, 3) == [True, False, False]


@pytest.mark.parametrize("network", [VGG, ConvNet, MLP])
def test_training_starts_from_nearly_even_probabilities(network):
    torch.manual_seed(0)
    model = network(spec_of(1, 8, 8), **({"hidden": (64,)} if network is VGG else {}))
    loss = cross_entropy(model(torch.randn(64, 1, 8, 8)), torch.arange(64) % 10)
    assert loss.item() == pytest.approx(math.log(10), abs=0.1)


# --- VGG, convnet, MLP ------------------------------------------------------------------------------------------------


def test_vgg_computes_the_features_of_torchvisions_vgg11_with_batch_norm():
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    reference = make_layers(cfgs["A"], batch_norm=True).eval()
    model = VGG(spec_of(3, 32, 32), hidden=(), dropout=0.0).eval()
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    theirs = [module for module in reference if isinstance(module, kinds)]
    ours = [module for module in model.blocks.modules() if isinstance(module, kinds)]
    with torch.no_grad():
        for source, target in zip(theirs, ours, strict=True):
            target.weight.copy_(source.weight)
            if isinstance(source, nn.Conv2d):
                source.bias.zero_()
        image = torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(model.blocks(image), reference(image))


def test_vgg_has_two_layers_of_4096_by_default_and_none_with_hidden_empty():
    model = VGG(spec_of(1, 28, 28))
    assert [layer[0].out_features for layer in model.hidden] == [4096, 4096]
    assert num_parameters(model) == 28_145_610
    small = VGG(spec_of(1, 28, 28), widths=(48, 96, 192), depths=(1, 1, 2), hidden=())
    assert num_parameters(small) == 542_554
    assert small.head.in_features == 192


def test_vgg_drops_features_before_the_head_also_without_hidden_layers():
    model = VGG(spec_of(1, 8, 8), widths=(8,), depths=(1,), hidden=(), dropout=0.5)
    image = torch.randn(8, 1, 8, 8)
    assert not torch.equal(model(image), model(image))


def test_vgg_refuses_widths_and_depths_of_unequal_number():
    with pytest.raises(ConfigError, match=r"model.widths=\[8, 16\] and model.depths=\[1\]"):
        VGG(spec_of(1, 8, 8), widths=(8, 16), depths=(1,))


def test_convnet_refuses_to_have_no_layer():
    with pytest.raises(ConfigError, match="give at least one width"):
        ConvNet(spec_of(1, 8, 8), widths=())


def test_convnet_learns_the_digits():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    image = (pixels.float().view(-1, 1, 8, 8) / 16 - 0.3053) / 0.3760  # mean and deviation of the digits
    order = torch.randperm(len(image))
    test, train = order[:360], order[360:]
    model = ConvNet(spec_of(1, 8, 8))
    assert num_parameters(model) == 56_554
    steps = 88  # four epochs of 1,437 digits in batches of 64
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        batch = train[torch.randint(len(train), (64,))]
        optimizer.zero_grad()
        cross_entropy(model(image[batch]), labels[batch]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        accuracy = (model.eval()(image[test]).argmax(1) == labels[test]).float().mean().item()
    assert accuracy >= 0.97


def test_mlp_is_64_64_10_on_digits():
    model = MLP(spec_of(1, 8, 8))
    assert [tuple(p.shape) for p in model.parameters()] == [(64, 64), (64,), (10, 64), (10,)]


def test_mlp_with_batch_norm_and_dropout_holds_them_after_each_hidden_layer():
    model = MLP(spec_of(1, 8, 8), hidden=(64, 32), norm="batch", dropout=0.1)
    kinds = [[type(module).__name__ for module in block] for block in model.blocks]
    assert kinds == [["Linear", "BatchNorm1d", "ReLU", "Dropout"]] * 2


# --- ResNet -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torchvision_resnet18():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    return resnet18(num_classes=5).eval()


def test_resnet18_has_torchvisions_names_and_logits(torchvision_resnet18):
    model = ResNet(spec_of(3, 64, 64, num_classes=5), stem="imagenet").eval()
    state = torchvision_resnet18.state_dict()
    for name in state:
        if name.endswith("running_mean"):
            state[name].normal_()
    model.load_state_dict(state)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(image), torchvision_resnet18(image))


def test_resnet18_with_the_small_stem_differs_in_the_first_convolution_alone(torchvision_resnet18):
    small = {name: v.shape for name, v in ResNet(spec_of(3, 32, 32, num_classes=5)).state_dict().items()}
    theirs = {name: value.shape for name, value in torchvision_resnet18.state_dict().items()}
    assert list(small) == list(theirs)
    assert [name for name in small if small[name] != theirs[name]] == ["conv1.weight"]
    assert small["conv1.weight"] == (64, 3, 3, 3)


def test_resnet_blocks_start_as_the_identity_with_zero_init_residual():
    model = ResNet(spec_of(1, 8, 8), blocks=(2,), widths=(8,), zero_init_residual=True)
    features = torch.rand(2, 8, 8, 8)
    assert torch.equal(model.get_submodule("layer1.1")(features), features)


def test_resnet_refuses_blocks_and_widths_of_unequal_number():
    with pytest.raises(ConfigError, match=r"model.blocks=\[2, 2\] and model.widths=\[8\]"):
        ResNet(spec_of(1, 8, 8), blocks=(2, 2), widths=(8,))


# --- DCGAN ------------------------------------------------------------------------------------------------------------


def test_sizes_are_halved_rounding_up_until_the_base():
    assert sizes_of(28, 28, 4) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert sizes_of(17, 30, 4) == [(17, 30), (9, 15), (5, 8), (3, 4)]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 17, 30), (1, 1, 2)])
@pytest.mark.parametrize("base_size", [1, 2, 4, 64])
def test_dcgan_fits_any_image_size(shape, base_size):
    model = DCGAN(spec_of(*shape), width=4, base_size=base_size)
    images = model.generator(torch.randn(3, model.latent))
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    assert model.discriminator(images).shape == (3,)


def test_dcgan_draws_its_weights_as_the_paper_says():
    torch.manual_seed(0)
    model = DCGAN(spec_of(3, 32, 32))
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.numel() > 1000:
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1), name
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02), name
            assert not module.bias.any(), name


def test_dcgan_refuses_an_image_of_one_pixel():
    with pytest.raises(ConfigError, match="halves the image at least once"):
        DCGAN(spec_of(1, 1, 1))
