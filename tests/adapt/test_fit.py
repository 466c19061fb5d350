"""Weights of other channels, other grids and older files are brought to the model's shape, and that is told."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ptft.adapt.fit import fit_channels
from ptft.adapt.load import load_weights
from ptft.data.data_module import DataSpec
from ptft.errors import CheckpointError
from ptft.model.parts import Parts
from ptft.model.vision.convnet import ConvNet


def make(channels, num_classes=10, seed=0):
    torch.manual_seed(seed)
    spec = DataSpec(kind="image", shape=(channels, 8, 8), classes=tuple(map(str, range(num_classes))))
    return ConvNet(spec, widths=(8, 16))


def test_a_grey_picture_gives_what_its_copy_in_three_channels_gave():
    weight, grey = torch.randn(5, 3, 3, 3), torch.randn(2, 1, 9, 9)
    expected = F.conv2d(grey.expand(-1, 3, -1, -1), weight)
    torch.testing.assert_close(F.conv2d(grey, fit_channels(weight, 1)), expected)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 6), (2, 4)])
def test_copies_of_the_channels_give_what_one_set_gave(before, after):
    weight, picture = torch.randn(5, before, 3, 3), torch.randn(2, before, 9, 9)
    repeated = picture.repeat(1, after // before, 1, 1)
    torch.testing.assert_close(F.conv2d(repeated, fit_channels(weight, after)), F.conv2d(picture, weight))


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_three_channels_become_others_as_timm_does_it(channels):
    manipulate = pytest.importorskip("timm.models._manipulate", reason="the reference is timm's")
    weight = torch.randn(5, 3, 4, 4)
    torch.testing.assert_close(fit_channels(weight, channels), manipulate.adapt_input_conv(channels, weight))


def test_half_precision_stays_half_precision():
    assert fit_channels(torch.randn(5, 3, 3, 3).half(), 1).dtype == torch.float16


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (3, 4)])
def test_weights_of_other_channels_load_and_the_report_says_so(before, after):
    source, model = make(before, seed=1).state_dict(), make(after, num_classes=4)
    report = load_weights(model, source)
    assert report.complete
    assert report.describe() == (
        f"12 of 12 backbone tensors; first convolution adapted, {before} -> {after} channels; "
        "head re-initialised, 10 -> 4 classes"
    )
    torch.testing.assert_close(model.stem[0].weight, fit_channels(source["stem.0.weight"], after))
    assert torch.equal(model.blocks[0][0].weight, source["blocks.0.0.weight"])


def test_another_kernel_is_still_a_mismatch():
    source = make(3).state_dict() | {"stem.0.weight": torch.zeros(8, 3, 7, 7)}
    with pytest.raises(CheckpointError, match=r"stem.0.weight \(8, 3, 7, 7\) -> \(8, 1, 3, 3\)"):
        load_weights(make(1), source)


def test_files_from_before_batch_norms_counted_batches_load_whole():
    full = make(3, seed=1).state_dict()
    source = {name: value for name, value in full.items() if not name.endswith("num_batches_tracked")}
    model = make(3)
    assert len(source) < len(full) and load_weights(model, source).describe().startswith("12 of 12")
    assert model.stem[1].num_batches_tracked.item() == 0


class Positioned(nn.Module):
    """A model of eight positions, which repeats those of smaller weights."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, 8, 2))
        self.head = nn.Linear(2, 3)

    def parts(self):
        return Parts(stem=("positions",), blocks=(), head="head")

    def adapt_tensors(self, tensors):
        given = tensors["positions"]
        return {**tensors, "positions": given.repeat_interleave(8 // given.shape[1], dim=1)}


def test_a_model_that_reads_other_forms_of_its_weights_is_asked():
    model = Positioned()
    report = load_weights(model, {"positions": torch.arange(8.0).reshape(1, 4, 2)})
    assert report.describe() == (
        "1 of 1 backbone tensors; positions resized, 1x4x2 -> 1x8x2; head re-initialised, the weights hold none"
    )
    assert model.positions[0, :, 0].tolist() == [0, 0, 2, 2, 4, 4, 6, 6]
