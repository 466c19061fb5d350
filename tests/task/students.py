"""Students and teachers of every kind that can be distilled, in float64."""

import copy
import dataclasses

import torch

from ptft.model.text.bert import bert
from ptft.task.classification import Classification
from ptft.task.distillation import Distillation
from ptft.task.multi_label import MultiLabel
from ptft.task.regression import Regression
from ptft.task.text.causal import Causal
from ptft.task.text.masked import Masked
from ptft.task.text.pretraining import Pretraining
from ptft.task.text.question_answering import QuestionAnswering
from ptft.task.text.token_classification import TokenClassification
from tests.task import toys
from tests.task.text import toys as texts

LENGTHS = [3, 17, 5, 40]


class SpanNet(torch.nn.Module):
    """A TokenNet whose logits are two for each token, or as many as asked for."""

    def __init__(self, outputs=2):
        super().__init__()
        self.net, self.head = texts.TokenNet(), torch.nn.Linear(texts.VOCABULARY, outputs)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return self.head(self.net(input_ids, attention_mask))


def classification(seed, **settings):
    torch.manual_seed(seed)
    return Classification(toys.TinyNet().double(), toys.SPEC, **settings), toys.image_batch(10)


def multi_label(seed):
    torch.manual_seed(seed)
    batch = toys.image_batch(10)
    batch["label"] = torch.nn.functional.one_hot(batch["label"], 3).double()
    return MultiLabel(toys.TinyNet().double(), dataclasses.replace(toys.SPEC, target="labels")), batch


def regression(seed):
    torch.manual_seed(seed)
    spec = dataclasses.replace(toys.SPEC, classes=(), target="value", value_mean=2.0 + seed, value_std=3.0)
    batch = toys.image_batch(10)
    batch["label"] = batch["label"].double()
    return Regression(toys.TinyNet(num_classes=1).double(), spec), batch


def language(kind, output):
    def make(seed):
        torch.manual_seed(seed)
        task = kind(texts.TokenNet(output).double(), texts.spec(output))
        batch = texts.batch_of(LENGTHS, pairs=output == "pretraining")
        return task, task.transform(batch, texts.draws_for(batch))

    return make


def tags(seed):
    torch.manual_seed(seed)
    spec = dataclasses.replace(texts.spec("tags"), target="tags", classes=("O", "B-X", "I-X"))
    batch = texts.batch_of(LENGTHS)
    labels = torch.randint(3, batch["input_ids"].shape, generator=torch.Generator().manual_seed(1))
    asked = batch["attention_mask"].bool() & (torch.arange(40) % 2 == 1)
    return TokenClassification(SpanNet(3).double(), spec), batch | {"labels": labels.masked_fill(~asked, -100)}


def answers(seed):
    torch.manual_seed(seed)
    batch = texts.batch_of(LENGTHS)
    last = torch.tensor(LENGTHS) - 1
    inside = (torch.arange(40) > 0) & (torch.arange(40) < last[:, None])
    batch |= {"start": last // 3, "end": last // 2, "windows": torch.ones(4, dtype=torch.long)}
    batch |= {"char_start": torch.zeros_like(inside, dtype=torch.long), "char_end": inside.long()}
    return QuestionAnswering(SpanNet().double(), dataclasses.replace(texts.spec("span"), target="span")), batch


KINDS = {
    "classification": classification,
    "weighted": lambda seed: classification(seed, class_weights={"a": 3.0}, label_smoothing=0.1),
    "multi_label": multi_label,
    "regression": regression,
    "masked": language(Masked, "masked"),
    "causal": language(Causal, "causal"),
    "pretraining": language(Pretraining, "pretraining"),
    "tags": tags,
    "answers": answers,
}


def pair(kind, **settings):
    """Return a distilled task, the plain one with the same weights, and a batch; all in float64."""
    (student, batch), (teacher, _) = KINDS[kind](0), KINDS[kind](1)
    batch = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    plain = copy.deepcopy(student)
    return Distillation(student, teacher, **settings), plain, batch


def text_task(layers, width=16, heads=2, kind=Masked, output="masked", seed=0):
    torch.manual_seed(seed)
    facts = texts.spec(output)
    if kind is Classification:
        facts = dataclasses.replace(facts, target="class", classes=("a", "b"), output="classes")
    net = bert(facts, layers=layers, width=width, heads=heads, mlp=32, dropout=0.0)
    return kind(net, facts)
