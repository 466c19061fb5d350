"""Plots of a sweep are drawn where there is something to draw, and never break it."""

import pytest

from ptft.sweep import plots
from ptft.sweep.plots import write_plots
from ptft.sweep.report import SweepFacts
from ptft.sweep.space import read_space
from ptft.sweep.trial import Trial

SPACE, _ = read_space(["optimizer.lr=tag(log,interval(1e-4,1e-1))", "model=vision/vgg,vision/resnet18", "x.$y=1,2"])


def facts(folder, objectives=(("val/accuracy", "max"),), shares=(1.0,)):
    return SweepFacts(
        name="a $name$", verb="finetune", method="tpe", objectives=list(objectives), shares=shares, total=12, seeds=1,
        base=[], folder=folder,
    )  # fmt: skip


def trials(count=12, objectives=1, rungs=1):
    found = []
    for number in range(count):
        params = {
            "optimizer.lr": f"{10 ** (-4 + 3 * number / 12):.4g}",
            "model": ("vision/vgg", "vision/resnet18")[number % 2],
            "x.$y": ("1", "2")[number % 3 > 0],
        }
        values = {rung: (0.5 + 0.03 * number + rung / 10, 1.0 - number / 20)[:objectives] for rung in range(rungs)}
        last = number % rungs
        values = {rung: values[rung] for rung in range(last + 1)}
        found.append(Trial(number=number, point=number, seed=0, params=params, state="done", rung=last, values=values))
    if count > 3:
        found[3].state, found[3].values = "failed", {}
    return found


def pictures(folder):
    return sorted(path.name for path in (folder / "report").glob("*.png"))


def test_history_importance_and_a_slice_for_each_setting(tmp_path):
    written, missing = write_plots(facts(tmp_path), trials(), SPACE)
    assert missing == []
    assert written == [
        "history.png", "importance.png", "slice_optimizer.lr.png", "slice_model.png", "slice_x._y.png",
    ]  # fmt: skip
    assert pictures(tmp_path) == sorted(written)
    assert all((tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG") for name in written)


def test_two_objectives_have_a_front_and_rungs_are_drawn(tmp_path):
    both = [("val/accuracy", "max"), ("val/loss", "min")]
    written, missing = write_plots(facts(tmp_path, both, (1 / 3, 1.0)), trials(objectives=2, rungs=2), SPACE)
    assert missing == [] and "front.png" in written


def test_few_points_say_nothing_of_importance(tmp_path):
    written, _ = write_plots(facts(tmp_path), trials(3), SPACE)
    assert "importance.png" not in written and "history.png" in written


def test_without_a_result_nothing_is_drawn(tmp_path):
    assert write_plots(facts(tmp_path, objectives=()), [], SPACE) == ([], [])


def test_a_plot_that_cannot_be_drawn_is_told_and_left_out(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("no font")

    monkeypatch.setattr(plots, "_history", broken)
    written, missing = write_plots(facts(tmp_path), trials(4), SPACE)
    assert missing == ["history.png could not be drawn: RuntimeError: no font"] and "slice_model.png" in written


def test_powers_of_ten_are_plain_numbers(tmp_path):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    plots._slice(axes, facts(tmp_path), plots.history(facts(tmp_path), trials()), SPACE.dimensions[0])
    axes.figure.canvas.draw()
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert "0.001" in labels and not any("$" in label for label in labels)


@pytest.mark.parametrize("ends", ["2e-3,8e-3", "1e-3,1.5e-3", "1e-4,1e-1", "1e-8,1"])
def test_every_logarithmic_axis_has_numbers_on_it(ends):
    from matplotlib.figure import Figure

    space, _ = read_space([f"optimizer.lr=tag(log,interval({ends}))"])
    axes = Figure().add_subplot()
    plots._numbers(axes, space.dimensions[0])
    axes.figure.canvas.draw()
    low, high = axes.get_xlim()
    assert sum(low <= tick <= high for tick in axes.get_xticks()) >= 3


def test_whole_numbers_have_no_fractions_on_their_axis():
    from matplotlib.figure import Figure

    space, _ = read_space(["model.depth=int(interval(2,5))"])
    axes = Figure().add_subplot()
    plots._numbers(axes, space.dimensions[0])
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_values_that_share_much_are_still_told_apart():
    assert plots._told_apart(["vision/vgg", "vision/vit"]) == ["vision/vgg", "vision/vit"]
    assert plots._told_apart(["vision/convnext_tiny", "vision/vgg"]) == ["convnext_tiny", "vgg"]
    alike = [f"vision/a_very_long_name_{number}_patch16_224" for number in range(12)]
    assert len(set(plots._told_apart(alike))) == 12 and plots._told_apart(alike)[7] == "…7…"


def test_a_disk_that_is_full_leaves_plots_out(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plots.files, "replace_with", full)
    written, missing = write_plots(facts(tmp_path), trials(4), SPACE)
    assert written == [] and len(missing) == 4 and "No space left on device" in missing[0]


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_points_are_drawn(tmp_path, count):
    written, missing = write_plots(facts(tmp_path), trials(count), SPACE)
    assert missing == [] and "history.png" in written
