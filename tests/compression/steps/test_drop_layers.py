"""Layers that stay are the parent's own, in their order; parts, configs and a fresh network follow."""

import copy
import json

import pytest
import torch
from torch import nn

from ptft.compression.layer_parts import kept_parts, layer_row
from ptft.compression.steps.drop_layers import DropLayers, spread
from ptft.compression.steps.prune_heads import PruneHeads
from ptft.compression.structure import apply_edits
from ptft.errors import ConfigError
from ptft.model.parts import Parts, belongs
from ptft.model.vision.resnet import ResNet
from tests.compression.transformers_samples import (
    PICTURES,
    classic,
    logits_of,
    picture_batch,
    text_batch,
    text_network,
    text_spec,
    text_task,
    vit,
    vit_task,
)
from tests.compression.workshop import TinyWorkshop

DEPTH = "num_hidden_layers"
ROWS = {
    "Bert": ("model.bert.encoder.layer", DEPTH),
    "DistilBert": ("model.distilbert.transformer.layer", "n_layers"),
    "Electra": ("model.electra.encoder.layer", DEPTH),
    "GPT2": ("model.transformer.h", "n_layer"),
    "Roberta": ("model.roberta.encoder.layer", DEPTH),
}


class Skipped(nn.Module):
    """A layer of transformers that gives what it takes."""

    def forward(self, hidden_states, *args, **kwargs):
        return hidden_states


def test_layers_are_spread_from_the_first_to_the_last():
    assert spread(12, 6) == [0, 2, 4, 7, 9, 11]  # those that DistilBERT began with
    assert spread(6, 3) == [0, 2, 5] and spread(12, 3) == [0, 5, 11]
    assert spread(4, 2) == [0, 3] and spread(4, 1) == [0] and spread(5, 4) == [0, 1, 3, 4]


@pytest.mark.parametrize("family", ROWS)
def test_dropped_layers_equal_layers_that_pass_their_input_on(tmp_path, family):
    network = text_network(tmp_path / "m", family, layers=5)
    task, batch = text_task(network, family), text_batch()
    skipping, fresh = copy.deepcopy(task), copy.deepcopy(task)
    name, depth = ROWS[family]
    layers = skipping.model.get_submodule(name)
    layers[1], layers[3] = Skipped(), Skipped()
    workshop, step = TinyWorkshop(task, batch), DropLayers(keep=3, recover=None)
    step.check(task, text_spec(family))
    edits = json.loads(json.dumps(step.apply(task, workshop)))
    assert edits == [{"kind": "layers", "layers": name, "keep": [0, 2, 4], "config": {depth: 3}}]
    assert torch.equal(logits_of(task, batch), logits_of(skipping, batch))
    assert workshop.said == ["kept the layers 0, 2, 4 of 5"] and not workshop.recovered
    apply_edits(fresh.model, edits)
    fresh.load_state_dict(task.state_dict())
    assert torch.equal(logits_of(fresh, batch), logits_of(task, batch))
    for changed in (task.model, fresh.model):
        assert changed.model.config.num_hidden_layers == 3
        blocks = changed.parts().blocks
        assert len(blocks) == 3 and {f"{name}.{number}" for number in range(3)} <= {n for b in blocks for n in b}
    prefixes = [*task.model.parts().stem, *task.model.parts().top, *(n for b in task.model.parts().blocks for n in b)]
    for tensor in task.model.state_dict():
        assert sum(belongs(tensor, prefix) for prefix in prefixes) == 1, tensor


def test_layers_of_a_vision_transformer_are_dropped():
    network = vit(depth=4)
    task, batch = vit_task(network), picture_batch()
    skipping, fresh = copy.deepcopy(task), copy.deepcopy(task)
    row = skipping.model.encoder.layers
    row.encoder_layer_1 = nn.Identity()
    step, workshop = DropLayers(layers=[0, 2, 3], recover="4st"), TinyWorkshop(task, batch, lr=0.0)
    step.check(task, PICTURES)
    edits = json.loads(json.dumps(step.apply(task, workshop)))
    assert edits == [{"kind": "layers", "layers": "encoder.layers", "keep": [0, 2, 3], "config": {}}]
    assert torch.equal(logits_of(task, batch), logits_of(skipping, batch))
    assert [(duration, part) for duration, _, part in workshop.recovered] == [("4st", "recover")]
    apply_edits(fresh.model, edits)
    fresh.load_state_dict(task.state_dict())
    assert torch.equal(logits_of(fresh, batch), logits_of(task, batch))
    assert len(task.model.parts().blocks) == 3 and task.model.parts().blocks[-1][-1] == "encoder.ln"


def test_what_stands_after_the_last_layer_stays_whatever_is_dropped():
    parts = Parts(("stem",), (("a.row.x",), ("between", "a.row.y"), ("a.row.z", "norm")), "head")
    assert kept_parts(parts, "a.row", ["x", "y", "z"], [0, 1]).blocks == (("a.row.0",), ("between", "a.row.1", "norm"))
    assert kept_parts(parts, "a.row", ["x", "y", "z"], [1]).blocks == (("between", "a.row.0", "norm"),)
    assert kept_parts(parts, "a.row", ["x", "y", "z"], [0, 2]).blocks == (("a.row.0", "between"), ("a.row.1", "norm"))


def test_what_cannot_be_dropped_is_refused(tmp_path):
    task = text_task(text_network(tmp_path / "m", "GPT2", layers=3), "GPT2")
    spec = text_spec("GPT2")
    with pytest.raises(ConfigError, match="keep=3 drops nothing: the network has 3 layers; keep fewer"):
        DropLayers(keep=3).check(task, spec)
    for layers in ([], [0, 3], [1, 0], [0, 0], [0, 1, 2]):
        with pytest.raises(ConfigError, match="expected some of the layers 0 to 2, rising, not all"):
            DropLayers(layers=layers).check(task, spec)
    DropLayers(layers=[2]).check(task, spec)
    task.model.model.config.scale_attn_by_inverse_layer_idx = True
    with pytest.raises(ConfigError, match="scaled by their place"):
        DropLayers(keep=2).check(task, spec)
    with pytest.raises(ConfigError, match=r"ResNet has no row of like layers of which some could be dropped"):
        DropLayers(keep=1).check(vit_task(ResNet(PICTURES, blocks=(1, 1), widths=(8, 16), stem="small")), PICTURES)
    with pytest.raises(ConfigError, match="its layers differ"):
        layer_row(classic("text/lstm", layers=2, hidden=6))


def test_a_transformer_of_timm_loses_heads_and_layers_and_tells_its_parts():
    pytest.importorskip("timm")
    from timm.models import VisionTransformer

    torch.manual_seed(0)
    network = VisionTransformer(8, 4, 1, 3, embed_dim=16, depth=3, num_heads=4, mlp_ratio=2)
    found = Parts(
        ("patch_embed", "cls_token", "pos_embed"), tuple((f"blocks.{n}",) for n in range(3)), "head", ("norm",)
    )
    network.parts = lambda: found
    task, batch = vit_task(network), picture_batch()
    fresh, workshop, edits = copy.deepcopy(task), TinyWorkshop(task, batch), []
    for step in (PruneHeads(recover=None), DropLayers(keep=2, recover=None)):
        step.check(task, PICTURES)
        edits += step.apply(task, workshop)
    assert workshop.said[0] == "pruned 3 layers of 4 heads and 32 neurons to 3 layers of 3 heads and 24 neurons"
    apply_edits(fresh.model, json.loads(json.dumps(edits)))
    fresh.load_state_dict(task.state_dict())
    assert torch.equal(logits_of(fresh, batch), logits_of(task, batch))
    assert copy.deepcopy(fresh.model).parts().blocks == (("blocks.0",), ("blocks.1",))
