"""Another formula and lost precision are told apart by how the difference moves with the format."""

from __future__ import annotations

import pytest
import torch
from right import entropy, pt

from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64
from polyref.spec import Spec
from polyref.subject.course import course, growth
from polyref.subject.dialect import Dialect
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_exponent_is_measured():
    formats = (BINARY64, BINARY32, BINARY16, BFLOAT16)
    assert growth(dict.fromkeys(formats, 0.25)) == pytest.approx(0.0, abs=1e-12)
    assert growth({f: 40 * f.unit_roundoff for f in formats}) == pytest.approx(1.0)
    assert growth({f: 1 / f.unit_roundoff for f in formats}) == pytest.approx(-1.0)
    assert growth({BINARY64: 1.0}) is None


def squared(logits, labels, epsilon=1.0):
    return entropy(logits, labels) + epsilon * (1 - pt(logits, labels)) ** 2


def rough(logits, labels, epsilon=1.0):
    """The right formula, with a number of 512 in between that loses nine bits of each format."""
    loss = entropy(logits, labels) + epsilon * (1 - pt(logits, labels))
    return (loss + 512.0) - 512.0


def test_another_formula_does_not_shrink():
    (note,) = identify(LocalSubject(squared)).notes
    assert "in binary64, " in note
    assert note.endswith("it does not shrink with the unit roundoff, so this is another formula, not lost precision.")


def test_lost_precision_shrinks():
    nearest = Dialect("", Spec(epsilon=(1.0,)), settable=frozenset({"epsilon"}))
    note = course(LocalSubject(rough), nearest, rounds=False)
    assert note.endswith("it shrinks with the unit roundoff, so this is lost precision, not another formula.")


def test_a_fixed_number_of_digits_does_not_shrink():
    def rounded(logits, labels, epsilon=1.0):
        return entropy(logits, labels) + epsilon * (1 - pt(logits, labels)).to(torch.float16).to(logits)

    (note,) = identify(LocalSubject(rounded)).notes
    assert note.endswith("as a step rounds to a fixed number of digits.")


def test_nothing_is_said_of_one_format():
    def only_double(logits, labels, epsilon=1.0):
        if logits.dtype != torch.float64:
            raise TypeError("double only")
        return squared(logits, labels, epsilon)

    assert identify(LocalSubject(only_double)).notes == ()
