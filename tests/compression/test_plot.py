import io

import pytest
from PIL import Image

from ptft.compression import plot
from ptft.compression.plot import scatter
from ptft.compression.stage_result import Score
from tests.compression.stages import ACCURACY, LOSS, latency, pipeline, stage


def test_the_plot_is_a_png_of_the_size_told():
    image = Image.open(io.BytesIO(scatter(pipeline(), ACCURACY, "small", gate=0.907)))
    image.load()
    assert image.format == "PNG" and image.size == (1080, 690)


def drawn_boxes(monkeypatch, results, **options):
    """The boxes of the labels, the area in pixels that each was given, and whether it looks as if of another dot."""
    boxes = []
    original = plot._free_place

    def watched(dot, size, taken, crossed, window, others):
        box, distance = original(dot, size, taken, crossed, window, others)
        boxes.append((box, window, plot._mistaken(box, dot, others)))
        return box, distance

    monkeypatch.setattr(plot, "_free_place", watched)
    scatter(results, ACCURACY, "small", **options)
    return boxes


def test_labels_overlap_neither_each_other_nor_the_frame(monkeypatch):
    found = drawn_boxes(monkeypatch, pipeline(), gate=0.907)
    boxes = [box for box, *_ in found]
    assert len(boxes) == 6
    assert [plot._overlap(a, b) for place, a in enumerate(boxes) for b in boxes[:place]] == [0] * 15
    for box, window, _ in found:
        size = (box[2] - box[0]) * (box[3] - box[1])
        assert plot._overlap(box, window) == pytest.approx(size)


def test_fourteen_stages_close_together_keep_their_labels_apart(monkeypatch):
    results = [
        stage(
            f"try {k}", bytes=int(5e6 * 0.75**k), latency={1: latency(3 * 0.83**k)}, validation=Score(0.93 - 0.001 * k)
        )
        for k in range(14)
    ]
    boxes = [box for box, *_ in drawn_boxes(monkeypatch, results)]
    assert sum(plot._overlap(a, b) for place, a in enumerate(boxes) for b in boxes[:place]) == 0


def test_each_of_two_dots_that_touch_has_its_own_label_nearest(monkeypatch):
    results = [
        stage(
            "parent, eager", parent=True, bytes=229_000, latency={1: latency(0.622)}, validation=Score(1.0, 1.0, 1.0)
        ),
        stage("parent", parent=True, bytes=227_000, latency={1: latency(0.102)}, validation=Score(1.0, 1.0, 1.0)),
        stage("prune", bytes=47_600, latency={1: latency(0.080)}, validation=Score(0.9889, 0.9722, 1.0)),
        stage("int8", bytes=15_600, latency={1: latency(0.084)}, validation=Score(0.9889, 0.9722, 1.0)),
    ]
    assert not any(mistaken for *_, mistaken in drawn_boxes(monkeypatch, results, gate=0.985))


def test_names_and_titles_are_no_formulas_and_need_no_font():
    results = [stage(r"$\frac{1}{0}$ 服务", parent=True), stage("a$b", validation=Score(0.8, 0.7, 0.9))]
    assert scatter(results, ACCURACY, r"$\bad{ 好").startswith(b"\x89PNG")


def test_one_stage_and_a_loss_can_be_drawn():
    one = stage("parent", runtime="PyTorch", parent=True, validation=Score(2.3))
    assert scatter([one], LOSS, "alone", batch=32).startswith(b"\x89PNG")


def test_areas_go_with_file_sizes():
    areas = plot._areas([stage("a", bytes=1_000_000), stage("b", bytes=250_000), stage("c", bytes=1)])
    assert areas[0] / areas[1] == 4.0 and areas[2] == plot._SMALLEST


def test_the_front_is_the_best_metric_at_each_latency_that_passes():
    from matplotlib.figure import Figure

    line = plot._draw_front(Figure().add_subplot(), pipeline(), ACCURACY, 1)
    assert line == [pytest.approx((0.16, 90.97)), pytest.approx((0.4, 91.04)), pytest.approx((0.94, 91.23))]
