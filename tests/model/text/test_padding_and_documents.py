"""What a token's logits depend on: its own text and, of a causal model, what is before it; never padding or others."""

import pytest
import torch

from ptft.errors import ConfigError
from ptft.model.text.attention_rule import quickest_attention
from ptft.model.text.masks import document_mask, document_positions, token_positions
from tests.model.text.models import CASES, batch, build, is_network, spec_of, tensors
from tests.tiny_models import text_folder

EAGER_AND_SDPA = pytest.mark.parametrize("attention", ["eager", "sdpa"])
OF_TOKENS = [("text/bert_mini", "masked"), ("text/bert_mini", "causal"), ("text/bert_mini", "pretraining"),
             ("text/gpt_nano", "causal"), ("text/transformers", "masked")]  # fmt: skip


def padded(given, count, left=False):
    """The same tokens with so much padding, which holds tokens and types that would show."""
    tokens, mask, types = given
    noise = torch.zeros(len(tokens), count, dtype=torch.int64)
    pieces = ((tokens, noise), (mask, noise), (types, noise + 1))
    return tuple(torch.cat([b, a] if left else [a, b], dim=1) for a, b in pieces)


@pytest.mark.parametrize(("name", "output"), CASES)
@EAGER_AND_SDPA
def test_padding_changes_no_logit(name, output, attention):
    model = build(name, spec_of(output)).eval()
    if is_network(model):
        model.set_attention(attention)
    elif attention == "sdpa":
        pytest.skip("it has no attention")
    given = batch(length=11)
    with torch.no_grad():
        expected = tensors(model(*given))
        for count in (5, 50):
            for one, two in zip(tensors(model(*padded(given, count))), expected, strict=True):
                if one.shape != two.shape:
                    one = one[:, :11]
                torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "output"), OF_TOKENS)
def test_padding_on_the_left_changes_no_logit_of_a_token(name, output):
    model, given = build(name, spec_of(output)).eval(), batch(length=11)
    with torch.no_grad():
        expected, outputs = tensors(model(*given))[0], tensors(model(*padded(given, 5, left=True)))[0]
    torch.testing.assert_close(outputs[:, 5:], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("name", ["text/lstm", "text/gru"])
def test_rows_of_several_lengths_are_read_as_if_alone(name, bidirectional, pooling):
    model = build(name, spec_of(), bidirectional=bidirectional, pooling=pooling).eval()
    tokens, mask, types = batch(rows=4, length=9)
    for row, length in enumerate((9, 1, 4, 7)):
        mask[row, length:] = 0
    with torch.no_grad():
        together = model(tokens, mask, types)
        alone = torch.cat(
            [
                model(tokens[row : row + 1, :length], mask[row : row + 1, :length])
                for row, length in enumerate((9, 1, 4, 7))
            ]
        )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_a_bidirectional_layer_is_torchs_own():
    """One layer in both directions equals torch's bidirectional LSTM over packed rows."""
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    from ptft.model.text.recurrent import RecurrentLayer

    torch.manual_seed(0)
    ours, theirs = (
        RecurrentLayer(nn.LSTM, 5, 4, bidirectional=True),
        nn.LSTM(5, 4, bidirectional=True, batch_first=True),
    )
    with torch.no_grad():
        for name, parameter in ours.forwards.named_parameters():
            theirs.get_parameter(name).copy_(parameter)
            theirs.get_parameter(f"{name}_reverse").copy_(ours.backwards.get_parameter(name))
    features, lengths = torch.randn(3, 6, 5), torch.tensor([6, 2, 4])
    packed = pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    inside = (torch.arange(6)[None] < lengths[:, None])[..., None]
    torch.testing.assert_close(ours(features, lengths) * inside, expected, atol=1e-6, rtol=1e-5)


# --- Documents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "output"), OF_TOKENS)
@EAGER_AND_SDPA
def test_changing_a_document_changes_no_logit_of_another(name, output, attention):
    model = build(name, spec_of(output, documents=True)).eval()
    model.set_attention(attention)
    tokens, mask, types = batch(rows=2, length=15)
    document = torch.tensor([[1] * 6 + [2] * 7 + [0] * 2, [1] * 3 + [2] * 4 + [3] * 8])
    mask = (document > 0).long()
    other = torch.where(document == 2, (tokens + 9) % 40, tokens)
    with torch.no_grad():
        before = tensors(model(tokens, mask, types, document))[0]
        after = tensors(model(other, mask, types, document))[0]
    unchanged = (document != 2) & (document > 0)
    assert torch.equal(before[unchanged], after[unchanged])
    assert not torch.allclose(before[document == 2], after[document == 2], atol=1e-3)
    assert before.isfinite().all()


@pytest.mark.parametrize(("name", "output"), OF_TOKENS)
@EAGER_AND_SDPA
def test_a_document_in_a_block_is_read_as_if_alone(name, output, attention):
    model = build(name, spec_of(output, documents=True)).eval()
    model.set_attention(attention)
    tokens, mask, types = batch(rows=1, length=14)
    document = torch.tensor([[1] * 6 + [2] * 8])
    with torch.no_grad():
        together = tensors(model(tokens, mask, types, document))[0]
        for part in (slice(0, 6), slice(6, 14)):
            alone = tensors(model(tokens[:, part], mask[:, part], types[:, part]))[0]
            torch.testing.assert_close(together[:, part], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["Roberta", "DistilBert"])
def test_documents_of_other_architectures_are_isolated_too(tmp_path, family):
    folder = text_folder(tmp_path, family)
    model = build("text/transformers", spec_of("masked", documents=True), name=str(folder)).eval()
    tokens, mask, types = batch(rows=1, length=14)
    document = torch.tensor([[1] * 6 + [2] * 8])
    with torch.no_grad():
        together = model(tokens, mask, types, document)
        torch.testing.assert_close(
            together[:, 6:], model(tokens[:, 6:], mask[:, 6:], types[:, 6:]), atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("name", ["text/gpt_nano", "text/bert_mini"])
@pytest.mark.parametrize("documents", [False, True])
def test_a_causal_model_sees_nothing_of_what_follows(name, documents):
    model, (tokens, mask, types) = build(name, spec_of("causal", documents=documents)).eval(), batch(length=12)
    document = (torch.ones_like(tokens),) if documents else ()
    other = tokens.clone()
    other[:, 7:] = (other[:, 7:] + 5) % 40
    with torch.no_grad():
        before, after = model(tokens, mask, types, *document), model(other, mask, types, *document)
    torch.testing.assert_close(before[:, :7], after[:, :7], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(before[:, 7:], after[:, 7:], atol=1e-3)


# --- Chosen tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "output"), OF_TOKENS)
def test_chosen_tokens_have_the_logits_they_have_among_all(name, output):
    model, given = build(name, spec_of(output)).eval(), batch()
    chosen = torch.rand(3, 12, generator=torch.Generator().manual_seed(0)) < 0.3
    with torch.no_grad():
        whole, part, none = (
            tensors(model(*given)),
            tensors(model(*given, None, chosen)),
            tensors(model(*given, chosen=torch.zeros_like(chosen))),
        )
    torch.testing.assert_close(part[0], whole[0][chosen], atol=1e-6, rtol=1e-5)
    assert none[0].shape == (0, whole[0].shape[-1])
    torch.testing.assert_close(part[1:], whole[1:])


def test_the_next_token_is_told_with_a_cache_as_without(tmp_path):
    model, (tokens, mask, types) = build("text/gpt_nano", spec_of("causal")).eval(), batch(rows=2)
    with torch.no_grad():
        expected, cache = model(tokens, mask, types), None
        for place in range(12):
            logits, cache = model.next_token(tokens[:, place : place + 1], cache)
            torch.testing.assert_close(logits, expected[:, place], atol=1e-5, rtol=1e-4)


# --- Small pieces -----------------------------------------------------------------------------------------------------


def test_positions_and_masks_are_as_on_paper():
    document = torch.tensor([[1, 1, 2, 2, 2, 0], [1, 2, 2, 3, 0, 0]])
    assert document_positions(document).tolist() == [[0, 1, 0, 1, 2, 0], [0, 0, 1, 0, 0, 1]]
    assert token_positions(torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])).tolist() == [
        [0, 0, 0, 1, 2],
        [0, 1, 2, 2, 2],
    ]
    mask = document_mask(document[:1, :4], causal=True)[0, 0]
    assert mask.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert document_mask(document, causal=False).any(dim=-1).all()


@pytest.mark.parametrize(
    ("device", "precision", "num_tokens", "dropout", "way"),
    [
        ("cuda", "bf16", 128, 0.1, "sdpa"),
        ("cpu", "fp32", 512, 0.1, "eager"),
        ("cpu", "bf16", 128, 0.0, "eager"),
        ("cpu", "fp32", 128, 0.0, "sdpa"),
        ("cpu", "bf16", 1024, 0.0, "sdpa"),
    ],
)
def test_the_way_of_attention_is_a_rule(device, precision, num_tokens, dropout, way):
    assert quickest_attention(device, precision, num_tokens=num_tokens, dropout=dropout) == way


def test_a_network_tells_its_rule_and_refuses_what_it_has_not():
    model = build("text/bert_mini", spec_of())
    assert model.best_attention("cpu", "fp32") == "eager" and model.best_attention("cuda", "fp32") == "sdpa"
    with pytest.raises(ConfigError, match=r"engine\.attention=nothing"):
        model.set_attention("nothing")
