"""The best spans, against a plain search over all of them."""

import itertools

import pytest
import torch

from ptft.task.text.spans import best_spans, masked_logits


def made(seed=0, batch=5, length=9):
    generator = torch.Generator().manual_seed(seed)
    allowed = torch.rand(batch, length, generator=generator) < 0.7
    allowed[:, 0] = False
    allowed[:, 3] = True
    return torch.randn(batch, length, 2, generator=generator), allowed


@pytest.mark.parametrize("longest", [1, 3, 30])
@pytest.mark.parametrize("count", [1, 4])
def test_the_best_spans_are_those_of_a_search_over_all(longest, count):
    logits, allowed = made()
    found = best_spans(logits, allowed, longest, count)
    for row in range(len(logits)):
        places = allowed[row].nonzero()[:, 0].tolist()
        spans = [
            (float(logits[row, i, 0].double() + logits[row, j, 1].double()), i, j)
            for i, j in itertools.product(places, places)
            if i <= j < i + longest
        ]
        best = sorted(spans, key=lambda span: -span[0])[:count]
        assert found.score[row, : len(best)].tolist() == pytest.approx([score for score, _, _ in best])
        assert list(zip(found.start[row].tolist(), found.end[row].tolist(), strict=True))[: len(best)] == [
            (i, j) for _, i, j in best
        ]
        assert (found.score[row, len(best) :] == -torch.inf).all()
        assert float(found.null[row]) == pytest.approx(float(logits[row, 0].double().sum()))
        pairs = torch.tensor(
            [float(logits[row, i, 0] + logits[row, j, 1]) for i, j in itertools.product(places, places)]
        )
        assert float(found.log_total[row]) == pytest.approx(float(pairs.logsumexp(0)), abs=1e-5)


def test_padding_changes_no_span():
    logits, allowed = made(1)
    longer = torch.cat([logits, torch.full((5, 6, 2), 50.0)], dim=1)
    found = best_spans(longer, torch.cat([allowed, torch.zeros(5, 6, dtype=torch.bool)], dim=1), 4)
    for name, values in vars(best_spans(logits, allowed, 4)).items():
        assert torch.equal(vars(found)[name], values)


def test_a_window_without_text_has_no_span():
    found = best_spans(torch.randn(2, 5, 2), torch.zeros(2, 5, dtype=torch.bool), 3)
    assert (found.score == -torch.inf).all() and (found.log_total == -torch.inf).all()


def test_only_the_text_and_the_first_token_can_be_chosen():
    logits, allowed = made(2)
    masked = masked_logits(logits, allowed)
    assert torch.equal(masked.isfinite().all(-1)[:, 1:], allowed[:, 1:]) and masked[:, 0].isfinite().all()
