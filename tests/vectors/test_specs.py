"""Specs as texts."""

from __future__ import annotations

import pytest

from polyref.errors import UsageError
from polyref.spec import Link, Reduction, Spec, Weighting
from polyref.vectors import specs

MEAN, SIGMOID = Reduction.MEAN, Link.SIGMOID


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("", Spec()),
        ("epsilon=-1,gamma=2,weighting=both,reduction=mean", Spec(epsilon=(-1.0,), gamma=2.0, reduction=MEAN)),
        (" epsilon = 1:-0.5 , smoothing = 0x1p-3 ", Spec(epsilon=(1.0, -0.5), smoothing=0.125)),
        ("weighting=ce_only", Spec(weighting=Weighting.CE_ONLY)),
        ("link=sigmoid,alpha=0.25,alpha_on_polynomial=yes", Spec(link=SIGMOID, alpha=0.25, alpha_on_polynomial=True)),
        ("polynomial_link=sigmoid,polynomial_gamma=2", Spec(polynomial_link=Link.SIGMOID, polynomial_gamma=2.0)),
    ],
)  # fmt: skip
def test_a_text_stands_for_a_spec(text: str, spec: Spec) -> None:
    assert specs.parse(text) == spec
    assert specs.parse(specs.text_of(spec)) == spec


def test_the_usual_ones_are_written_as_they_are_said() -> None:
    assert [specs.text_of(specs.parse(text)) for text in specs.DEFAULT] == list(specs.DEFAULT)
    found = [specs.parse(text) for text in specs.DEFAULT]
    assert {e for s in found for e in s.epsilon} >= {-1.0, -0.5, 0.0, 1.0, 2.0}
    assert {s.gamma for s in found} == {0.0, 0.5, 2.0}
    assert {s.reduction for s in found} == {Reduction.NONE, Reduction.SUM, Reduction.MEAN}
    assert any(len(s.epsilon) == 3 for s in found)
    assert any(s.smoothing for s in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epsilom=1", "no parameter is called 'epsilom': choose epsilon"),
        ("epsilon", "epsilon has no value: write epsilon=..."),
        ("gamma=", "gamma has no value"),
        ("gamma=1,gamma=2", "gamma is given twice: give it once"),
        ("gamma=x", "gamma 'x' is no number: write it in decimal or as 0x1.8p+1"),
        ("gamma=-1", "gamma -1.0 is not allowed"),
        ("epsilon=1:", "epsilon '' is no number"),
        ("weighting=half", "weighting 'half' is not known: choose one of both, ce_only, rescaled_p"),
        ("alpha_on_polynomial=true", "alpha_on_polynomial 'true' is not known: choose yes or no"),
        ("smoothing=2", "smoothing 2.0 is not allowed"),
    ],
)
def test_a_mistake_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        specs.parse(text)
    assert str(refused.value).startswith(f"spec {text!r}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
