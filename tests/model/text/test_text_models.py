"""Every text model on disk: builds from its YAML, tells its parts, learns in all its parameters, is seeded, adapts."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from ptft.adapt.gradual import Gradual
from ptft.adapt.linear_probe import LinearProbe
from ptft.adapt.lora import Lora
from ptft.errors import ConfigError
from ptft.model.parts import belongs, feature_dim, parts_of
from ptft.optimizer.layers import lr_scales
from ptft.runtime.duration import Clock
from tests.model.text.models import (
    CASES,
    CONFIGS,
    NAMES,
    VARIANTS,
    VOCAB,
    arguments_of,
    batch,
    build,
    is_network,
    read,
    spec_of,
    tensors,
)

ADAPTED = [case for case in CASES if case[1] in ("classes", "tags", "pretraining") or case[0] == "text/transformers"]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def model(case):
    """A model of a case, built once for all tests that leave its parameters as they are."""
    return build(case[0], spec_of(case[1]))


def loss_of(outputs):
    """A loss that every number of the outputs takes part in."""
    return sum((values * torch.arange(values.numel()).view_as(values).cos()).sum() for values in tensors(outputs))


@pytest.mark.parametrize("name", NAMES)
def test_yaml_lists_every_argument_with_its_default_and_opens_with_a_comment(name):
    target, settings = read(name)
    arguments = arguments_of(target)
    assert settings.keys() == arguments.keys()
    if name not in VARIANTS:
        for key, default in arguments.items():
            value = list(default) if isinstance(default, tuple) else default
            assert settings[key] == value or settings[key] == "???", key
    assert (CONFIGS / f"{name}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_builds_for_classes(name):
    if name == "text/transformers":
        pytest.skip("needs a folder; see the cases")
    model = build(name, spec_of()).eval()
    assert model(*batch()).shape == (3, 3)


def test_logits_have_the_shapes_of_the_output(case, model):
    shapes = {
        "classes": [(3, 3)],
        "tags": [(3, 12, 3)],
        "span": [(3, 12, 2)],
        "masked": [(3, 12, VOCAB)],
        "causal": [(3, 12, VOCAB)],
        "pretraining": [(3, 12, VOCAB), (3, 2)],
    }
    assert [tuple(values.shape) for values in tensors(model.eval()(*batch()))] == shapes[case[1]]


def test_parts_hold_every_parameter_exactly_once_in_the_order_of_the_data(model):
    parts = parts_of(model)
    prefixes = [*parts.stem, *(prefix for block in parts.blocks for prefix in block), *parts.neck, parts.head]
    names = [name for name, _ in model.named_parameters()]
    for name in names:
        assert sum(belongs(name, prefix) for prefix in prefixes) == 1, name
    called = []
    watched = [prefix for prefix in prefixes if prefix in dict(model.named_modules())]
    hooks = [
        model.get_submodule(prefix).register_forward_pre_hook(lambda *_, prefix=prefix: called.append(prefix))
        for prefix in watched
    ]
    with torch.no_grad():
        model.eval()(*batch())
    for hook in hooks:
        hook.remove()
    assert list(dict.fromkeys(called)) == watched or not is_network(model)
    assert feature_dim(model) > 0


def test_gradients_reach_every_parameter(model):
    model.train()
    tokens = torch.arange(60).remainder(VOCAB).view(3, 20)
    given = (tokens, torch.ones_like(tokens), batch(3, 20)[2])
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss_of(model(*given)), parameters, allow_unused=True)
    idle = [name for name, gradient in zip(names, gradients, strict=True) if gradient is None or not gradient.any()]
    assert not idle


def test_a_seed_decides_the_weights_and_a_copy_is_a_model_of_its_own(case, model):
    again, other = build(case[0], spec_of(case[1])), build(case[0], spec_of(case[1]), seed=1)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert not all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    twin = copy.deepcopy(model).eval()
    given, chosen = batch(), torch.rand(3, 12) < 0.5
    if is_network(model) and case[1] in ("masked", "causal", "pretraining"):
        given = (*given, None, chosen)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
        for one, two in zip(tensors(model.eval()(*given)), tensors(twin(*given)), strict=True):
            assert torch.equal(one, two)


def test_dropout_is_for_training_alone(case):
    name, output = case
    key = {"text/transformers": None}.get(name, "dropout")
    model = build(name, spec_of(output), **({key: 0.5} if key else {}))
    with torch.no_grad():
        assert not torch.equal(*(tensors(model.train()(*batch()))[0] for _ in range(2)))
        assert torch.equal(*(tensors(model.eval()(*batch()))[0] for _ in range(2)))


@pytest.mark.parametrize(("name", "output"), ADAPTED)
def test_a_linear_probe_trains_neck_and_head_alone(name, output):
    model = build(name, spec_of(output))
    LinearProbe().apply(model)
    parts = parts_of(model)
    for parameter_name, parameter in model.named_parameters():
        assert parameter.requires_grad == any(belongs(parameter_name, unit) for unit in parts.top), parameter_name


@pytest.mark.parametrize(("name", "output"), ADAPTED)
def test_gradual_unfreezing_goes_from_the_top_down_to_the_stem(name, output):
    model = build(name, spec_of(output))
    hook = Gradual(every="1st").hooks(model, Clock(4, 100, 20))[0]
    counts = []
    for step in range(len(hook.layers) + 1):
        hook.apply(step)
        counts.append(sum(parameter.requires_grad for parameter in model.parameters()))
    assert counts == sorted(set(counts)) and counts[-1] == len(list(model.parameters()))


@pytest.mark.parametrize(("name", "output"), ADAPTED)
def test_layer_decay_falls_from_the_head_to_the_stem(name, output):
    model = build(name, spec_of(output))
    names = [name for name, _ in model.named_parameters()]
    scales = lr_scales(model, names, prefix="", layer_decay=0.5, head_multiplier=1.0)
    parts = parts_of(model)
    top = len(parts.blocks) + 1
    for parameter_name in names:
        if any(belongs(parameter_name, unit) for unit in parts.stem):
            assert scales[parameter_name] == 0.5**top
        if any(belongs(parameter_name, unit) for unit in parts.top):
            assert scales[parameter_name] == 1.0


@pytest.mark.parametrize(("name", "output"), [case for case in ADAPTED if case[0] not in ("text/lstm", "text/gru")])
def test_low_rank_updates_start_at_nothing_train_and_are_added_to_the_weights(name, output):
    model = build(name, spec_of(output)).eval()
    names, parts, given = list(model.state_dict()), parts_of(model), batch()
    with torch.no_grad():
        before = tensors(model(*given))
    Lora(rank=2).structure(model)
    Lora(rank=2).apply(model)
    torch.testing.assert_close(tensors(model(*given)), before, atol=1e-5, rtol=1e-4)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    layers = [name for name in trained if ".lora_A" in name]
    assert all(any(belongs(name, prefix) for block in parts.blocks for prefix in block) for name in layers) and layers
    gradients = torch.autograd.grad(loss_of(model(*given)), list(trained.values()), allow_unused=True)
    assert all(gradient is not None for gradient in gradients)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(0.01 * torch.randn_like(parameter))
        changed = tensors(model(*given))
        Lora(rank=2).merge(model)
        torch.testing.assert_close(tensors(model(*given)), changed, atol=1e-4, rtol=1e-3)
    assert sorted(model.state_dict()) == sorted(names) and parts_of(model) == parts


def test_bfloat16_gives_nearly_the_same(model):
    model.eval()
    with torch.no_grad():
        expected = tensors(model(*batch()))
        try:
            with torch.autocast("cpu", torch.bfloat16):
                outputs = tensors(model(*batch()))
        except RuntimeError as error:
            if "LSTM forward propagation primitive" not in str(error):
                raise
            pytest.skip("this processor has no LSTM in bfloat16: oneDNN needs AVX-512 for it")
    for one, two in zip(outputs, expected, strict=True):
        assert (one.float() - two).abs().max() <= 0.05 * two.abs().max()


@pytest.mark.parametrize(("target", "width"), [("class", 3), ("labels", 3), ("value", 1)])
@pytest.mark.parametrize("name", ["text/bert_mini", "text/gpt_nano", "text/lstm", "text/cnn"])
def test_labels_of_every_kind_set_the_width(name, target, width):
    model = build(name, spec_of(target=target)).eval()
    assert model(*batch()).shape == (3, width)


@pytest.mark.parametrize(
    ("name", "spec", "words"),
    [
        ("text/lstm", spec_of("masked"), "gives classes or tags, not the output `masked`"),
        ("text/cnn", spec_of("tags"), "gives classes, not the output `tags`"),
        ("text/gpt_nano", spec_of("masked"), "`gpt2` has no head for the output `masked`"),
        ("text/gpt_nano", spec_of("pretraining"), "no next-sentence|no head for the output|does not take"),
        ("text/bert_mini", spec_of(num_classes=0), "the data have no labels"),
        ("text/lstm", spec_of(shape=(1, 8, 8)), r"expects examples of shape \(tokens,\)"),
        ("text/bert_mini", spec_of(vocab_size=0), r"expects examples of shape \(tokens,\)"),
    ],
)
def test_what_does_not_go_together_is_refused(name, spec, words):
    with pytest.raises(ConfigError, match=words):
        build(name, spec)


def test_dimensions_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"model\.width=18 is not divisible by model\.heads=4"):
        build("text/bert_mini", spec_of(), width=18, heads=4)
    with pytest.raises(ConfigError, match=r"positions for 16 tokens, but data\.max_length=64"):
        build("text/gpt_nano", spec_of("causal"), positions=16)
    with pytest.raises(ConfigError, match=r"model\.widths=\[\]"):
        build("text/cnn", spec_of(), widths=())


def test_one_batch_can_be_learnt_by_heart():
    for name in ("text/lstm", "text/cnn"):
        model = build(name, spec_of(), dropout=0.0).train()
        optimizer, label = torch.optim.Adam(model.parameters(), lr=0.01), torch.tensor([0, 1, 2])
        for _ in range(40):
            loss = cross_entropy(model(*batch()), label)
            for parameter, gradient in zip(
                model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
            ):
                parameter.grad = gradient
            optimizer.step()
        assert float(loss) < 0.05, name
