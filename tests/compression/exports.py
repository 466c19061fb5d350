"""Networks exported once for many tests: a trained VGG, a small BERT and an LSTM, each with a batch of its data."""

import functools
import tempfile
from pathlib import Path

import torch

from ptft.compression.export import export_onnx
from ptft.data.data_module import DataSpec
from ptft.model.text.bert import bert
from ptft.model.text.recurrent import Recurrent
from ptft.task.classification import Classification
from tests.compression.workshop import TinyWorkshop, image_batch, image_task, vgg

TEXT_SPEC = DataSpec(
    kind="text", shape=(24,), classes=("a", "b"), vocab_size=60, inputs=("input_ids", "attention_mask"),
    special_tokens={"pad": 0},
)  # fmt: skip


def text_batch(size=48, length=20, seed=0):
    """Random tokens of unequal length; the label tells whether a token below 30 comes first."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, length + 1, (size, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    mask[0] = 1
    ids = torch.randint(1, 60, (size, length), generator=generator) * mask
    label = (ids[:, 0] < 30).long()
    return {"index": torch.arange(size), "input_ids": ids, "attention_mask": mask, "label": label}


@functools.cache
def trained(kind):
    """Return a task that was trained for a moment, and a batch of its data."""
    torch.manual_seed(0)
    if kind == "vgg":
        task, batch = image_task(vgg()), image_batch()
    else:
        network = bert(TEXT_SPEC, layers=2, width=64, heads=2, mlp=128) if kind == "bert" else Recurrent(
            TEXT_SPEC, hidden=32, embedding=32
        )  # fmt: skip
        task, batch = Classification(network, TEXT_SPEC).eval(), text_batch()
    TinyWorkshop(task, batch).recover(task, "60st")
    return task, batch


@functools.cache
def exported(kind):
    """Return the task, its batch and its fp32 artefact."""
    task, batch = trained(kind)
    folder = Path(tempfile.mkdtemp(prefix="ptft-test-"))
    return task, batch, export_onnx(task, batch, folder)
