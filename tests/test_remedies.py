"""Remedies: in whose words, and which of two."""

from __future__ import annotations

from dataclasses import replace

import pytest

from polyref import remedies
from polyref.remedies import remedy, worded
from polyref.subject.dialect import WHOLE_LOSS
from polyref.verdict import Outcome, Verdict
from polyref_properties import ALL

LAWS = {law.id: law for law in ALL}
OTHER = replace(WHOLE_LOSS, known=False, remedy="Mend the formula.")
BROKEN = Outcome(Verdict.VIOLATED, 2.0)
TORCHS = ("detach", "torch", ".to(", "new_zeros", "register_buffer", "contiguous", "reduction='none'")


def test_the_table_is_about_laws_that_there_are():
    assert {*remedies._OTHERWISE, *(law for law, _ in remedies._ONE)} <= LAWS.keys()


@pytest.mark.parametrize("framework", ["jax", "tensorflow", "numpy"])
def test_no_other_framework_is_spoken_to_in_torchs_words(framework):
    only_torchs = {"deep-copy-is-the-same", "state-dict-carries-everything", "compiled-is-the-same", "autocast"}
    only_torchs |= {"weights-follow-the-module"}
    texts = {law.id: worded(law, framework).remedy for law in ALL if law.id not in only_torchs}
    assert {law: text for law, text in texts.items() if any(word in text for word in TORCHS)} == {}
    assert not any("{" in text for text in texts.values())


def test_torch_and_laws_of_others_keep_their_words():
    law = LAWS["gradient-is-that-of-the-value"]
    assert worded(law, "torch") is law
    other = replace(law, id="of-another-package")
    assert worded(other, "jax") is other
    assert "jax.lax.stop_gradient" in worded(law, "jax").remedy


@pytest.mark.parametrize(
    ("law", "formula"),
    [
        ("value-matches-the-reference", True),
        ("gradient-signs", True),
        ("ties", True),
        ("classes-before-places", False),
        ("n-equal-to-c-is-not-confused", False),
        ("deterministic", False),
        ("half-precision-follows-the-wide-result", False),
    ],
)
def test_a_deviation_of_the_formula_is_no_remedy_for_a_shape(law, formula):
    assert remedy(LAWS[law], BROKEN, OTHER) == ("Mend the formula." if formula else LAWS[law].remedy)
    assert remedy(LAWS[law], BROKEN, WHOLE_LOSS) == LAWS[law].remedy
    assert remedy(LAWS[law], replace(BROKEN, remedy="This."), OTHER) == "This."


def test_no_law_speaks_of_nan_where_none_need_be_seen():
    assert {law.id for law in ALL if "NaN" in law.remedy} == {"nan-in-nan-out"}
