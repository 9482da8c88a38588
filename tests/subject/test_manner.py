"""Manners: the same case, handed over otherwise."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import BINARY32, BINARY64
from polyref.spec import Reduction, Spec
from polyref.subject.client import Subject
from polyref.subject.local import LocalSubject
from polyref.subject.manner import PLAIN, Manner
from polyref_properties.mutants import CONVENTION
from polyref_properties.mutants.base import Textbook

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS = ((0.5, 1.0, -2.0), (3.0, 0.0, 1.5), (0.0, 0.25, 0.0), (1.0, -1.0, 2.0), (2.0, 2.0, 2.0), (-1.0, 0.0, 4.0))
CASE = Case(Spec(epsilon=(1.0,), reduction=Reduction.NONE), BINARY64, ROWS, (0, 1, 2, 2, 1, 0), (0.5, 1.0, 2.0))


def subject(loss=Textbook):
    return LocalSubject(loss, convention=CONVENTION)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3), (3, 2, 1)])
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "strided"])
def test_rows_may_stand_in_any_shape_and_layout(shape, layout):
    plain = subject().observe(CASE)
    seen = subject().observe(CASE, manner=Manner(shape=shape, layout=layout))
    assert seen.value == pytest.approx(plain.value, rel=1e-14)
    assert seen.shape == shape
    assert [pytest.approx(row, rel=1e-13) for row in plain.gradient] == list(seen.gradient)
    assert seen.inputs_untouched


def test_what_the_subject_is_given():
    given = []

    class Spy(Textbook):
        def forward(self, logits, labels):
            given.append((logits, labels))
            return super().forward(logits, labels)

    spy = subject(Spy)
    for manner in (Manner(shape=(2, 3), layout="transposed"), Manner(layout="strided"), Manner(labels=7)):
        spy.observe(CASE, manner=manner)
    (a, b), (c, _), (_, d) = given
    assert a.shape == (2, 3, 3)
    assert b.shape == (2, 3)
    assert not a.is_contiguous()
    assert a[1, :, 2].tolist() == list(ROWS[5])
    assert c.stride() == (6, 2)
    assert d.tolist() == [7, 1, 2, 2, 1, 0]


def test_one_row_without_a_batch_and_no_row_at_all():
    one = Case(CASE.spec, BINARY64, ROWS[:1], (0,))
    seen = subject().observe(one, manner=Manner(shape=()))
    assert seen.shape == ()
    assert seen.value == subject().observe(one).value
    empty = subject().observe(CASE, manner=Manner(empty=True))
    assert (empty.value, empty.shape) == ((), (0,))
    summed = subject().observe(CASE.with_spec(reduction="mean"), manner=Manner(empty=True))
    assert math.isnan(summed.value[0])


def test_equal_rows_may_share_their_memory():
    same = Case(CASE.spec, BINARY64, (ROWS[0],) * 3, (0, 1, 2))
    seen, plain = (subject().observe(same, manner=m) for m in (Manner(layout="expanded"), PLAIN))
    assert seen.value == plain.value
    # All the gradient belongs to the one row there is.
    assert seen.gradient[0] == pytest.approx([sum(column) for column in zip(*plain.gradient, strict=True)])


def test_data_that_no_case_holds():
    seen = subject().observe(CASE, manner=Manner(logit=math.nan))
    assert math.isnan(seen.value[0])
    assert not any(map(math.isnan, seen.value[1:]))
    wrong = subject().observe(CASE, manner=Manner(labels=3))
    assert wrong.error is not None
    unknown = subject().observe(CASE, manner=Manner(reduction="average"))
    assert unknown.error == "ValueError: 'average' is no reduction"


def test_curvature_is_the_hessian_times_the_direction():
    seen = subject().observe(CASE, manner=Manner(curvature=True))
    z = torch.tensor(ROWS, dtype=torch.float64)
    y, w = torch.tensor(CASE.target), torch.tensor(CASE.weight, dtype=torch.float64)

    def loss(z):
        pt = z.softmax(-1).gather(1, y[:, None])[:, 0]
        return (w[y] * (F.cross_entropy(z, y, reduction="none") + 1 - pt)).sum()

    v = torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64).expand(6, 3)
    want = torch.autograd.functional.hvp(loss, z, v)[1]
    torch.testing.assert_close(torch.tensor(seen.curvature, dtype=torch.float64), want)


@pytest.mark.parametrize("mode", ["compiled", "autocast", "copied", "reloaded", "moved"])
def test_modes(mode):
    case = Case(CASE.spec, BINARY32, ROWS, CASE.target, CASE.weight)
    seen, plain = (subject().observe(case, manner=Manner(mode=m)) for m in (mode, "plain"))
    assert seen.error is None
    assert seen.value == pytest.approx(plain.value, rel=0.02 if mode == "autocast" else 1e-6)


def test_what_polyref_cannot_hand_over_is_not_the_subjects_fault():
    def plain(logits, labels):
        return F.cross_entropy(logits, labels, reduction="none")

    function = LocalSubject(plain)
    case = Case(Spec(epsilon=()), BINARY64, ROWS, CASE.target)
    seen = function.observe(case, manner=Manner(mode="reloaded"))
    assert seen.refused
    assert seen.error == "not asked: it is no torch.nn.Module"
    assert function.observe(case, manner=Manner(shape=(5,))).refused


def test_a_manner_travels_to_a_child_process():
    manner = Manner(shape=(3, 2), layout="strided", curvature=True, logit=math.inf)
    assert Manner.from_json(manner.to_json()) == manner
    with Subject.open("polyref_properties.mutants.base:Textbook") as child:
        there = child.observe(CASE, manner=Manner(shape=(3, 2), curvature=True))
    here = subject().observe(CASE, manner=Manner(shape=(3, 2), curvature=True))
    assert there.value == here.value
    assert there.curvature == here.curvature


def test_an_unknown_layout_is_an_error():
    with pytest.raises(UsageError, match="layout 'diagonal' is not known: choose one of contiguous"):
        Manner(layout="diagonal")
