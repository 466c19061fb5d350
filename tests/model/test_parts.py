"""Parts are read, names belong to prefixes by whole words, and a head is replaced in place."""

import pytest
import torch
from torch import nn

from ptft.model.parts import Parts, belongs, feature_dim, head_of, parts_of, replace_head


class Nested(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.body = nn.Linear(4, 3)
        self.classifier = nn.Sequential(nn.ReLU(), head)

    def forward(self, inputs):
        return self.classifier(self.body(inputs))

    def parts(self):
        return Parts(stem=(), blocks=(("body",),), head="classifier.1")


def test_names_belong_by_whole_words():
    assert belongs("layer1.0.weight", "layer1") and belongs("layer1", "layer1")
    assert not belongs("layer10.weight", "layer1") and not belongs("layer1", "layer1.0")


def test_a_nested_head_is_replaced_and_the_rest_keeps_its_names():
    model = Nested(nn.Linear(3, 2))
    names = list(model.state_dict())
    replace_head(model, nn.Linear(3, 5))
    assert head_of(model).out_features == 5
    assert model(torch.rand(1, 4)).shape == (1, 5)
    assert list(model.state_dict()) == names


def test_the_width_of_features_is_read_from_the_first_linear_layer_of_the_head():
    assert feature_dim(Nested(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)))) == 3
    with pytest.raises(TypeError, match="no linear layer"):
        feature_dim(Nested(nn.Identity()))


def test_a_model_that_tells_no_parts_is_named():
    with pytest.raises(TypeError, match=r"Linear has no parts\(\)"):
        parts_of(nn.Linear(1, 1))
