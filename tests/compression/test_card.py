import ast
import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ptft.compression.card import Delivered, Lineage, described_inputs, model_card
from ptft.compression.stage_result import Score
from ptft.data.data_module import DataSpec
from ptft.model.artefact import Artefact
from tests.compression.stages import ACCURACY, FACTS, pipeline

IMAGES = DataSpec(
    kind="image",
    shape=(1, 4, 4),
    classes=("T-shirt/top", "a|b`c`"),
    mean=(0.25,),
    std=(0.5,),
    fingerprint="0123456789abcdef0123",
)
LINEAGE = Lineage(
    name="ft",
    run_id="1f2e",
    checkpoint="ab" * 32,
    steps={"prune": {"ratio": 0.6, "importance": "taylor"}, "int8": {"calibration": 512}, "half": {}},
)


def artefact(folder, inputs=("image",), runtime="onnxruntime"):
    return Artefact(folder=folder, runtime=runtime, precision="int8", file="model.onnx", inputs=inputs,
                    outputs=("logits",), files={"model.onnx": ""})  # fmt: skip


def delivered(folder, **values):
    facts = {
        "name": "small",
        "stage": "int8",
        "artefact": artefact(folder),
        "inputs": {"image": "float32 (batch, 1, 4, 4)"},
        "predict": "ptft predict run=small input=...",
        "labels": IMAGES.classes,
        "spec": IMAGES,
    }
    return Delivered(**{**facts, **values})


def snippet(card):
    """The Python in a card."""
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    return code


def test_the_card_tells_use_lineage_figures_and_limits(tmp_path):
    results = [dataclasses.replace(one, test=Score(0.908)) if one.name == "int8" else one for one in pipeline()]
    card = model_card(delivered(tmp_path), LINEAGE, results, ACCURACY, FACTS)
    for told in (
        "# small",
        "as int8 for onnxruntime",
        "accuracy on validation is 90.97, on test 90.80",
        "```sh\nptft predict run=small input=...\n```",
        "image: float32 (batch, 1, 4, 4)",
        "- gives logits",
        "[0.25]) / [0.5]",
        r"T-shirt/top, a\|b\`c\`",
        "run ft, id 1f2e",
        "ab" * 32,
        'step prune: ratio=0.6, importance="taylor"',
        "step int8: calibration=512",
        "- step half\n",
        "| int8 | ONNX int8 |",
        "Some CPU",
        "threads 2",
        "torch 2.15.0",
        "onnxruntime 1.32.0",
        "the test split was read once, at the end",
        "predicts on 97.1% of the validation examples",
        "0123456789abcdef",
    ):
        assert told in card, told
    assert "the test split was not read" in model_card(delivered(tmp_path), LINEAGE, pipeline(), ACCURACY, FACTS)


def test_texts_from_data_cannot_break_the_card(tmp_path):
    evil = "x\n# Title\n```\n|<img>"
    lineage = dataclasses.replace(LINEAGE, name=evil, steps={evil: {"text": evil}})
    card = model_card(
        delivered(tmp_path, name=evil, labels=(evil,), predict=evil), lineage, pipeline(), ACCURACY, FACTS
    )
    outside = re.sub(r"^```.*?^```", "", card, flags=re.MULTILINE | re.DOTALL)
    assert "\n# Title" not in card and "<img>" not in outside.replace(r"\<img\>", "")
    assert len(re.findall(r"^```", card, re.MULTILINE)) == 4


def test_many_labels_are_named_up_to_a_hundred(tmp_path):
    card = model_card(delivered(tmp_path, labels=[f"c{k}" for k in range(1234)]), LINEAGE, pipeline(), ACCURACY, FACTS)
    assert "c99 and 1,134 more" in card and "c100" not in card


def test_inputs_are_told_by_type_shape_and_dynamic_axes():
    arrays = {"input_ids": np.zeros((2, 9), np.int64), "image": np.zeros((2, 3, 8, 8), np.float32)}
    assert described_inputs(arrays, {"input_ids": {0: "batch", 1: "time"}}) == {
        "input_ids": "int64 (batch, time)",
        "image": "float32 (batch, 3, 8, 8)",
    }


def run(folder, code):
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def save_graph(path, inputs, nodes, constants=()):
    """Write an ONNX graph with an output `logits`."""
    import onnx
    from onnx import helper

    values = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    output = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(*node, **more) for node, more in nodes], "graph", values, [output],
                              list(constants))  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.parametrize("resize", [None, 6])
def test_the_snippet_for_pictures_runs_and_normalises_as_the_data_do(tmp_path, resize):
    from onnx import TensorProto

    # The logits are the pixels themselves: the largest of the first picture tells the label.
    save_graph(tmp_path / "model.onnx", {"image": (TensorProto.FLOAT, ["batch", 1, 4, 4])},
               [((("Flatten", ["image"], ["logits"])), {"axis": 1})])  # fmt: skip
    pixels = np.zeros((6, 8) if resize else (4, 4), np.uint8)
    pixels[1 + bool(resize), 2 + 2 * bool(resize)] = 255  # in the centre of 6 x 8 it lies at (1, 2) of 4 x 4
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    (tmp_path / "labels.json").write_text(json.dumps([f"pixel {k}" for k in range(16)]))
    spec = dataclasses.replace(IMAGES, preprocessing={} if resize is None else {"resize": resize})
    code = snippet(model_card(delivered(tmp_path, spec=spec), LINEAGE, pipeline(), ACCURACY, FACTS))
    assert run(tmp_path, code + "\nprint(outputs[0].min(), outputs[0].max())").splitlines() == ["pixel 6", "-0.5 1.5"]


def test_the_snippet_for_texts_runs_where_the_graph_reads_only_some_inputs(tmp_path):
    from onnx import TensorProto
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "A": 1, "text": 2, ".": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "labels.json").write_text('["ham", "spam", "eggs"]')
    shape = ["batch", "time"]
    save_graph(tmp_path / "model.onnx", {"input_ids": (TensorProto.INT64, shape)},
               [((("Cast", ["input_ids"], ["logits"])), {"to": TensorProto.FLOAT})])  # fmt: skip
    names = ("input_ids", "attention_mask")
    text = (tmp_path / "tokenizer.json").read_text()
    spec = DataSpec(kind="text", shape=(16,), classes=("ham", "spam", "eggs"), inputs=names,
                    preprocessing={"normalisation": "nfc"}, files={"tokenizer.json": text})  # fmt: skip
    told = dict.fromkeys(names, "int64 (batch, time)")
    one = delivered(tmp_path, spec=spec, inputs=told, artefact=artefact(tmp_path, names), labels=spec.classes)
    code = snippet(model_card(one, LINEAGE, pipeline(), ACCURACY, FACTS))
    assert "# Unicode in the form NFC" in code
    assert run(tmp_path, code) == "eggs\n"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_network_of_other_inputs_gets_a_snippet_that_names_them(tmp_path, runtime):
    names = ("input_ids", "document")
    told = {"input_ids": "int64 (batch, 7)", "document": "int64 (batch, time)"}
    spec = DataSpec(kind="text", shape=(16,), inputs=names, target="tokens")
    one = delivered(tmp_path, spec=spec, inputs=told, artefact=artefact(tmp_path, names, runtime), labels=())
    code = snippet(model_card(one, LINEAGE, pipeline(), ACCURACY, FACTS))
    ast.parse(code)
    assert '"input_ids": np.zeros((1, 7,), np.int64),  # (batch, 7)' in code
    assert f"import {runtime}" in code
