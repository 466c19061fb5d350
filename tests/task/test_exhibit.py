"""What a task shows of an evaluation, against counts by hand and scikit-learn's confusion matrix."""

import pytest
import torch
from sklearn.metrics import confusion_matrix

from ptft.metric.classification import ClassificationMetrics
from ptft.task.classification import Classification
from ptft.task.exhibit import (
    Gallery,
    Matrix,
    Reliability,
    chosen_to_explain,
    confusion,
    label_exhibits,
    most_confident,
    rows_of,
)
from ptft.task.vision.contrastive import Contrastive
from ptft.task.vision.gan import GAN
from tests.task.toys import SPEC, TinyNet

NAMES = tuple("abc")


@pytest.fixture
def records():
    generator = torch.Generator().manual_seed(0)
    label, prediction = (torch.randint(3, (60,), generator=generator) for _ in range(2))
    return {
        "index": torch.arange(100, 160),
        "label": label,
        "prediction": prediction,
        "score": torch.rand(60, generator=generator).double(),
    }


def test_the_matrix_is_scikit_learn_s(records):
    found = confusion(records["label"], records["prediction"], NAMES)
    assert found.counts.tolist() == confusion_matrix(records["label"], records["prediction"]).tolist()
    pairs = found.pairs()
    assert [count for *_, count in pairs] == sorted((count for *_, count in pairs), reverse=True)
    assert all(row != column and found.counts[row, column] == count for row, column, count in pairs)


def test_examples_without_a_label_are_in_no_exhibit(records):
    records["label"][:30] = -1
    found = confusion(records["label"], records["prediction"], NAMES)
    assert int(found.counts.sum()) == 30
    rows = most_confident(records["label"], records["prediction"], records["score"], wrong=60, right=60)
    assert int(rows.min()) >= 30


def test_mistakes_come_with_the_most_confident_first(records):
    matrix, reliability, gallery = label_exhibits(records, NAMES)
    assert isinstance(matrix, Matrix) and isinstance(reliability, Reliability) and isinstance(gallery, Gallery)
    scores = [caption.score for caption in gallery.captions]
    assert scores == sorted(scores, reverse=True)
    wrong = records["label"] != records["prediction"]
    assert scores[0] == float(records["score"][wrong].max())
    assert all(caption.label != caption.prediction for caption in gallery.captions)
    places = gallery.index - 100
    assert [caption.label for caption in gallery.captions] == [NAMES[number] for number in records["label"][places]]


def test_the_reliability_diagram_agrees_with_the_metric(records):
    metrics = ClassificationMetrics(NAMES)
    logits = torch.randn(500, 3) * 2
    label = torch.randint(3, (500,))
    prediction, score = metrics.update(logits, label)
    found = label_exhibits(
        {"index": label, "label": label, "prediction": prediction, "score": score}, NAMES, pictures=False
    )[1]
    assert found.error == pytest.approx(metrics.compute()["expected_calibration_error"], abs=1e-12)
    assert int(found.count.sum()) == 500


def test_scores_that_are_no_numbers_give_no_reliability(records):
    records["score"][3] = torch.nan
    assert [type(exhibit) for exhibit in label_exhibits(records, NAMES)] == [Matrix, Gallery]


def test_all_right_gives_no_gallery(records):
    records["prediction"] = records["label"]
    assert [type(exhibit) for exhibit in label_exhibits(records, NAMES)] == [Matrix, Reliability]


def test_wrong_and_right_predictions_are_explained(records):
    gallery = chosen_to_explain(records, NAMES)
    assert [caption.label == caption.prediction for caption in gallery.captions] == [False] * 8 + [True] * 8


def test_pictures_are_found_by_number_in_the_order_asked_for():
    batches = [{"index": torch.arange(s, s + 4), "image": torch.arange(s, s + 4).view(4, 1, 1, 1)} for s in (0, 4, 8)]
    assert rows_of(batches, torch.tensor([5, 0, 5])).flatten().tolist() == [5, 0, 5]


def test_tasks_without_labels_show_nothing(records):
    assert Classification(TinyNet(), SPEC).exhibits(records)
    task = Contrastive(TinyNet(), SPEC)
    assert [type(exhibit) for exhibit in task.exhibits(records)] == [Matrix, Gallery]
    assert task.exhibits({"index": records["index"]}) == []
    assert GAN.exhibits(task, records) == []
