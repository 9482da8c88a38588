"""What certain and undecided predictions cost, and what follows from it."""

from __future__ import annotations

import pytest
import torch
from right import log_softmax_once

from polyref.subject import Convention
from polyref.subject.plausible import guess_about_inputs, judged, per_element
from polyref.subject.trial import Trials, trial_case
from subject import wild

CASE = trial_case()


def judgement(subject, **convention):
    trials = Trials(subject, device="cpu", trying=lambda _: None)
    return judged(trials, Convention("loss", "function", **convention), CASE)


def test_a_loss_is_plausible():
    seen = judgement(log_softmax_once)
    assert (seen.plausible, seen.negated) == (True, False)
    assert seen.words == "a certain right prediction costs 0, a certain wrong one 61"
    weighted = judgement(lambda z, y: log_softmax_once(z, y) * torch.tensor([0.1, 1.0, 2.0, 5.0])[y])
    assert weighted.plausible


def test_a_score_is_a_loss_with_its_sign_turned():
    seen = judgement(wild.negated)
    assert (seen.plausible, seen.negated) == (True, True)


@pytest.mark.parametrize(
    "accident",
    [
        lambda z, y: log_softmax_once(z.softmax(1), y),  # a second softmax: certainty costs something
        lambda z, y: (z.softmax(1) * y[:, None]).sum(1),  # labels as numbers
        lambda z, y: -z.gather(1, y[:, None])[:, 0],  # no softmax at all
        lambda z, y: -z.clip(1e-7, 1).log().gather(1, y[:, None])[:, 0],  # logits for probabilities, cut off
        lambda z, _: z.sum(1) * 0 + 1,
        lambda z, _: z.sum(1) * float("nan"),
    ],
)
def test_accidents_are_not(accident):
    seen = judgement(accident)
    assert not seen.plausible
    assert not seen.negated


def test_the_undecided_tell_what_the_certain_do_not():
    seen = judgement(lambda z, y: -z.clip(1e-7, 1).log().gather(1, y[:, None])[:, 0])
    assert seen.words == "a certain right prediction costs 0, a certain wrong one 16.1, and undecided ones 0 and 16.1"


def test_probabilities_of_two_classes_each():
    def trial(subject, **convention):
        trials = Trials(subject, device="cpu", trying=lambda _: None)
        return per_element(trials, Convention("loss", "function", labels="one_hot", **convention), CASE)

    assert trial(torch.nn.functional.binary_cross_entropy)
    assert not trial(lambda p, q: -(q * p.log()).sum(1))
    assert not trial(lambda p, q: -(q * (p / p.sum(1, keepdim=True)).log()).sum(1))


def test_a_guess_about_the_inputs():
    def guess(subject):
        trials = Trials(subject, device="cpu", trying=lambda _: None)
        return guess_about_inputs(trials, Convention("loss", "function"), CASE)

    assert guess(wild.guesses) == "lie in [0, 1]"
    assert guess(wild.guesses_from_sum) == "lie in [0, 1] and sum to 1"
    assert guess(log_softmax_once) is None
    assert guess(lambda z, y: log_softmax_once(z, y, 2.0).mean()) is None
