"""LoRA: as peft computes it, every update gets a gradient however its layer is used, and merging changes no output."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.models import mobilenet_v2, mobilenet_v3_small
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from ptft.adapt.adapt import describe
from ptft.adapt.freeze import Freeze
from ptft.adapt.linear_probe import LinearProbe
from ptft.adapt.lora import MARK, Lora
from ptft.errors import ConfigError
from ptft.model.parts import Parts, belongs
from ptft.model.vision.convnet import ConvNet
from ptft.model.vision.dcgan import DCGAN
from ptft.model.vision.mlp import MLP
from ptft.model.vision.resnet import ResNet
from ptft.model.vision.vgg import VGG
from tests.adapt.test_adapt import SPEC, Holder, make, train


def with_parts(model, stem, blocks, head):
    model.parts = lambda: Parts(stem, blocks, head)
    return model


def vit():
    model = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    blocks = tuple((f"encoder.layers.encoder_layer_{number}",) for number in range(2))
    nn.init.normal_(model.heads.head.weight)  # torchvision's starts at 0: no gradient would pass it
    return with_parts(model, ("conv_proj", "class_token"), (*blocks, ("encoder.ln",)), "heads.head")


def swin():
    model = SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=5)
    return with_parts(model, ("features.0",), (("features.1",), ("features.2",), ("features.3",)), "head")


def mobilenet(build):
    def made():
        model = build(num_classes=5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            model.train()(torch.randn(8, 3, 64, 64))  # statistics that fit, or a deep net of random weights gives 0
        nn.init.normal_(model.classifier[-1].weight, std=0.1)
        last = len(model.features)
        blocks = tuple((f"features.{number}",) for number in range(1, last))
        extra = (("classifier.0",),) if build is mobilenet_v3_small else ()
        return with_parts(model, ("features.0",), blocks + extra, f"classifier.{len(model.classifier) - 1}")

    return made


NETWORKS = {
    "convnet": lambda: make(ConvNet),
    "vgg": lambda: make(VGG),
    "resnet": lambda: make(ResNet),
    "mlp": lambda: make(MLP),
    "torchvision-vit": vit,
    "torchvision-swin": swin,
    "torchvision-mobilenet-v2": mobilenet(mobilenet_v2),
    "torchvision-mobilenet-v3": mobilenet(mobilenet_v3_small),
}


def build(name):
    torch.manual_seed(0)
    return NETWORKS[name]()


def image_of(name, batch=2):
    return torch.randn(batch, 3, 32, 32) if "torchvision" in name else torch.randn(batch, 1, 8, 8)


def adapted(name, **settings):
    model, adapt = build(name), Lora(**settings)
    adapt.structure(model)
    adapt.apply(model)
    return model, adapt


def shake(model):
    """Give every update a value, as training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "lora_B" in parameter_name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("name", NETWORKS)
def test_it_starts_as_the_plain_model(name):
    image = image_of(name)
    with torch.no_grad():
        expected = build(name).eval()(image)
        assert torch.allclose(adapted(name)[0].eval()(image), expected, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_update_and_the_head_get_a_gradient_and_nothing_else(name):
    model, _ = adapted(name)
    shake(model)
    image = image_of(name)
    cross_entropy(model.train()(image), torch.arange(len(image)) % 5).backward()
    head = model.parts().head
    for parameter_name, parameter in model.named_parameters():
        learns = MARK in parameter_name or parameter_name.startswith(head + ".")
        assert parameter.requires_grad == learns, parameter_name
        assert (parameter.grad is not None and bool(parameter.grad.any())) == learns, parameter_name


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_merging_changes_no_output_and_leaves_plain_names(name, training):
    """In evaluation mode without gradients torch's attention takes another path."""
    model, adapt = adapted(name)
    shake(model)
    image = image_of(name)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.set_grad_enabled(training):
        before = model.eval()(image)
        adapt.merge(model)
        after = model(image)
        assert torch.allclose(before, after, atol=1e-5)
        plain = build(name).eval()
        assert set(model.state_dict()) == set(plain.state_dict())
        assert not torch.allclose(plain(image), after, atol=1e-3)  # the updates did something
        plain.load_state_dict(model.state_dict())
        assert torch.allclose(plain(image), after, atol=1e-5)
    assert [type(module) for module in model.modules()] == [type(module) for module in plain.modules()]


@pytest.mark.parametrize("name", ["convnet", "resnet", "vgg", "mlp"])
def test_training_moves_the_updates_and_the_head_alone(name):
    model, _ = adapted(name, dropout=0.1)
    head = model.parts().head
    assert train(model) == {key for key in model.state_dict() if MARK in key or key.startswith(head + ".")}


def test_forward_passes_move_no_frozen_weight():
    model, _ = adapted("torchvision-vit")
    shake(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for training in (True, False):
        model.train(training)(image_of("torchvision-vit"))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_batch_norm_without_weights_stands_still_too():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8, affine=False))
            self.head = nn.Linear(8, 5)

        def forward(self, image):
            return self.head(self.body(image))

    model = with_parts(Net(), (), (("body",),), "head")
    Lora().structure(model)
    Lora().apply(model)
    assert not {key for key in train(model) if "running" in key}


def test_linear_layers_and_convolutions_compute_what_peft_computes():
    torch.manual_seed(0)
    ours = with_parts(make(ConvNet), ("stem",), (("blocks.0",),), "head")
    theirs = make(ConvNet)
    Lora(rank=3, alpha=7).structure(ours)
    config = LoraConfig(r=3, lora_alpha=7, target_modules=["blocks.0.0"])
    inject_adapter_in_model(config, theirs)
    shake(ours)
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(2, 1, 8, 8)
    assert torch.equal(ours.eval()(image), theirs.eval()(image))


def test_attention_computes_its_formula():
    model, _ = adapted("torchvision-vit", rank=2, alpha=6)
    shake(model)
    attention = model.encoder.layers.encoder_layer_0.self_attention
    plain = nn.MultiheadAttention(16, 2, batch_first=True)
    update = attention.parametrizations.in_proj_weight[0]
    out = attention.out_proj
    with torch.no_grad():
        plain.in_proj_weight.copy_(
            attention.parametrizations.in_proj_weight.original + 3 * update.lora_B @ update.lora_A
        )
        delta = out.lora_B["default"].weight @ out.lora_A["default"].weight
        plain.out_proj.weight.copy_(out.base_layer.weight + 3 * delta)
        plain.in_proj_bias.copy_(attention.in_proj_bias)
        plain.out_proj.bias.copy_(out.bias)
    tokens = torch.randn(2, 5, 16)
    for module in (attention.train(), attention.eval()):
        found = module(tokens, tokens, tokens, need_weights=False)[0]
        assert torch.allclose(found, plain(tokens, tokens, tokens, need_weights=False)[0], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NETWORKS if "torchvision" in name])
def test_linear_probe_and_freeze_work_with_heads_deep_in_a_model(name):
    image = image_of(name)
    model = build(name)
    LinearProbe().apply(model)
    head = model.parts().head
    assert {key for key, value in model.named_parameters() if value.requires_grad} == {f"{head}.weight", f"{head}.bias"}
    task = Holder(model)
    with torch.no_grad():  # the features stand still, but dropout right before the head belongs to the head
        task.train()
        active = [key for key, module in model.named_modules() if key and module.training and list(module.parameters())]
        assert all(belongs(head, key) or belongs(key, head) for key in active)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        task.model(image)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model = build(name)
    Freeze(blocks=1).apply(model)
    still = [*model.parts().stem, *model.parts().blocks[0]]
    frozen = {key for key, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {key for key, _ in model.named_parameters() if any(belongs(key, prefix) for prefix in still)}


# --- Which layers -----------------------------------------------------------------------------------------------------


def layers(model):
    return {name.split(MARK)[0] for name, _ in model.named_parameters() if MARK in name}


def test_auto_takes_linear_layers_and_attention_else_convolutions_block_by_block():
    assert layers(adapted("resnet")[0]) == {
        "layer1.0.conv1",
        "layer1.0.conv2",
        "layer2.0.conv1",
        "layer2.0.conv2",
        "layer2.0.downsample.0",
    }
    found = layers(adapted("torchvision-mobilenet-v2")[0])
    depthwise = {
        name for name, layer in mobilenet_v2().named_modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1
    }
    assert found and not found & depthwise and "features.0.0" not in found
    layer = "encoder.layers.encoder_layer_0"
    assert {name for name in layers(adapted("torchvision-vit")[0]) if name.startswith(layer)} == {
        f"{layer}.self_attention.parametrizations.in_proj_weight.0",
        f"{layer}.self_attention.out_proj",
        f"{layer}.mlp.0",
        f"{layer}.mlp.3",
    }


def test_patterns_choose_layers():
    assert layers(adapted("resnet", targets=("layer2.*conv?", "conv1"))[0]) == {
        "layer2.0.conv1",
        "layer2.0.conv2",
        "conv1",
    }


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("layer9.*", "matches no layer.*such as layer"),
        ("*.bn1", r"only what LoRA does not apply to \(layer1.0.bn1, layer2.0.bn1\)"),
        ("fc", r"only what LoRA does not apply to \(fc\)"),
    ],
)
def test_a_pattern_that_chooses_nothing_is_refused(pattern, why):
    with pytest.raises(ConfigError, match=why):
        adapted("resnet", targets=(pattern,))


def test_a_model_without_parts_or_layers_is_refused():
    with pytest.raises(ConfigError, match="adapt=lora needs a model that tells"):
        Lora().structure(DCGAN(SPEC))
    with pytest.raises(ConfigError, match="hold no linear layer, attention or convolution"):
        Lora().structure(MLP(SPEC, hidden=()))


def test_the_line_counts_updates_and_head():
    model, _ = adapted("mlp", rank=4)  # blocks.0.0: 64 -> 64, head: 64 -> 5
    total = sum(parameter.numel() for parameter in build("mlp").parameters())
    assert describe(model) == f"trainable {4 * 128 + 325:,} of {total + 4 * 128:,} parameters"
