"""Laws of how a case is handed over: what may be refused, what a NaN may do, and what each law says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64
from polyref.property import Context, check
from polyref.search import search
from polyref.spec import Reduction, Spec
from polyref.subject.local import LocalSubject
from polyref.subject.observation import Observation
from polyref.verdict import Verdict, describe
from polyref_properties import ALL
from polyref_properties.mutants import CLAIMED, CONVENTION, all_mutants
from polyref_properties.mutants.base import Textbook

pytestmark = pytest.mark.usefixtures("one_thread")

LAWS = {law.id: law for law in ALL}
PLAIN = Spec(epsilon=(1.0,), reduction=Reduction.NONE)
ROWS = Case(PLAIN, BINARY64, ((0.5, -1.0), (2.0, 0.25), (1.0, 1.0), (-3.0, 0.0)), (0, 1, 1, 0))


def context(loss=Textbook, fmt=BINARY64, **changes):
    return Context(LocalSubject(loss, convention=replace(CONVENTION, **changes)), CLAIMED, fmt)


def single(*row, target=0, **spec):
    return Case(replace(PLAIN, **spec), BINARY64, (row,), (target,))


class Strict(Textbook):
    """Takes contiguous logits (N, C) of numbers, and nothing else."""

    def forward(self, logits, labels):
        if logits.dim() != 2 or not logits.is_contiguous() or not logits.isfinite().all():
            raise ValueError("contiguous finite logits (N, C) are needed")
        return super().forward(logits, labels)


@pytest.mark.parametrize("law", ["row-without-a-batch", "classes-before-places", "layout-does-not-matter"])
def test_a_refusal_is_inconclusive(law):
    case = single(0.5, -1.0) if law == "row-without-a-batch" else ROWS
    assert check(LAWS[law], case, context()).verdict is Verdict.HOLDS
    assert check(LAWS[law], case, context(Strict)).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("law", ["nan-in-nan-out", "infinite-logit-is-no-number"])
def test_an_exception_is_as_good_as_a_nan(law):
    found = check(LAWS[law], replace(ROWS, target=(1, 1, 1, 0)), context(Strict))
    assert (found.verdict, found.observed) == (Verdict.HOLDS, "an exception")


def test_classes_are_second_where_there_are_as_many_places():
    square = replace(ROWS, logits=ROWS.logits[:2], target=(0, 1))
    found = check(LAWS["classes-before-places"], square, context(all_mutants()["class-axis-last"].loss))
    assert found.verdict is Verdict.VIOLATED
    assert found.explanation.startswith("Logits of shape (1, 2, 2) have other losses than the same 2 rows")
    flat = context(type("Flat", (Textbook,), {"forward": lambda self, z, y: Textbook.forward(self, z, y).flatten()}))
    assert check(LAWS["classes-before-places"], square, flat).observed == "a result of shape (2,)"


def test_a_column_has_one_axis_more():
    def column(self, logits, labels):
        return Textbook.forward(self, logits, labels)[:, None]

    columns = context(type("Column", (Textbook,), {"forward": column}), result="column")
    assert check(LAWS["classes-before-places"], ROWS, columns).verdict is Verdict.HOLDS


def test_a_gradient_that_is_cut_off_in_one_shape_is_missed():
    class Detached(Textbook):
        def forward(self, logits, labels):
            losses = super().forward(logits, labels)
            return losses.detach() if logits.dim() == 1 else losses

    found = check(LAWS["row-without-a-batch"], single(0.5, -1.0), context(Detached))
    assert found.verdict is Verdict.VIOLATED
    assert found.observed.startswith("none: the value is cut off")


def test_what_a_finding_says_of_large_logits():
    law, broken = LAWS["largest-logits"], context(all_mutants()["normaliser-rounded"].loss)
    found = search(law, broken, examples=40, seed=1)
    assert len(found.case.logits) == 1
    assert found.outcome.explanation == "The loss of logits as large as binary64 has them is not that of the formula."


@pytest.mark.parametrize("gamma", [0.25, 0.5, 0.75])
def test_certainty_leaves_the_textbook_a_gradient(gamma):
    case = single(1000.0, 0.0, gamma=gamma)
    law = LAWS["small-gamma-at-certainty"]
    assert check(law, case, context()).verdict is Verdict.HOLDS
    found = check(law, case, context(all_mutants()["plain-power"].loss))
    assert (found.verdict, found.observed) == (Verdict.VIOLATED, "dl/dz_0 = nan")
    # The model bounds no derivative there, so the gradient's own law is silent.
    gradient = LAWS["gradient-matches-the-reference"]
    assert check(gradient, case, context(all_mutants()["plain-power"].loss)).verdict is Verdict.INCONCLUSIVE


def test_the_power_of_the_textbook_is_the_power():
    x = torch.tensor([0.0, 2.0**-1074, 1e-30, 0.5, 1.0], dtype=torch.float64)
    for gamma in (0.25, 0.5, 1.0, 2.0):
        assert torch.equal(Textbook(gamma=gamma).power(x), x**gamma)


def test_a_nan_stays_in_its_row():
    def spreads(self, logits, labels):
        return Textbook.forward(self, logits, labels) + 0 * logits.mean()

    found = check(LAWS["nan-in-nan-out"], ROWS, context(type("Spreads", (Textbook,), {"forward": spreads})))
    assert found.explanation == "A NaN among the logits of one row makes the loss of another row NaN."
    hidden = check(LAWS["nan-in-nan-out"], ROWS, context(all_mutants()["nan-to-num"].loss))
    assert hidden.explanation == "A NaN among the logits is hidden: the loss is a number."


def test_the_format_of_another_dtype_is_named():
    found = check(LAWS["dtype-is-kept"], ROWS, context(all_mutants()["half-in-binary64"].loss))
    assert (found.expected, found.observed) == ("binary16 for logits in binary16", "binary64")


class Slow:
    """A runner whose subject takes the compiler too long."""

    name, convention = "slow", CONVENTION

    def afresh(self):
        pass

    def observe(self, _, **asked):
        compiled = asked["manner"].mode == "compiled"
        return Observation(killed="timeout") if compiled else Observation(value=(0.0,) * 4)


def test_a_slow_compiler_is_no_defect_of_the_loss():
    assert check(LAWS["compiled-is-the-same"], ROWS, Context(Slow(), CLAIMED, BINARY64)).verdict is Verdict.INCONCLUSIVE


def test_autocast_is_judged_in_binary32():
    law = LAWS["autocast"]
    wide = replace(CONVENTION, formats=("binary64",))
    assert law.applies(wide, CLAIMED) == "it does not take binary32"

    def narrow(self, logits, labels):
        assert logits.dtype == torch.float32
        return Textbook.forward(self, logits.bfloat16(), labels)

    # Everything in bfloat16 is as near as bfloat16 allows.
    assert check(law, ROWS, context(type("Narrow", (Textbook,), {"forward": narrow}))).verdict is Verdict.HOLDS


def test_sixteen_bits_are_compared_with_a_wider_format():
    law = LAWS["half-precision-follows-the-wide-result"]
    assert law.applies(replace(CONVENTION, formats=("binary64", "binary32")), CLAIMED)
    assert law.applies(replace(CONVENTION, formats=("binary16", "bfloat16")), CLAIMED)
    assert check(law, replace(ROWS, format=BINARY16), context(fmt=BINARY16)).verdict is Verdict.INCONCLUSIVE
    # 0.1 of binary64 is a number of neither.
    assert check(law, single(0.1, 0.0), context()).verdict is Verdict.INCONCLUSIVE
    assert check(law, single(1e5, 0.0), context()).verdict is Verdict.INCONCLUSIVE
    only_wide = single(2.0**100, 0.0)
    assert check(law, only_wide, context()).verdict is Verdict.HOLDS
    assert not BINARY16.contains(2.0**100)
    assert BFLOAT16.contains(2.0**100)
    found = check(law, single(4.0, 0.0, target=1), context(all_mutants()["scaled-up"].loss))
    assert found.observed == "value 0 = inf in binary16"
    for fmt in (BINARY16, BFLOAT16):  # asked for alone, its cases are its own
        assert search(law, context(fmt=fmt), examples=20).verdict is Verdict.INCONCLUSIVE


def test_state_goes_with_the_state_dict_and_the_copy():
    weighted = replace(ROWS, weight=(2.0, 1.0))
    for law, name in (
        ("state-dict-carries-everything", "weight-left-out-of-the-state"),
        ("deep-copy-is-the-same", "copy-resets-epsilon"),
    ):
        case = weighted.with_spec(epsilon=(2.0,))
        assert check(LAWS[law], case, context()).verdict is Verdict.HOLDS
        assert check(LAWS[law], case, context(all_mutants()[name].loss)).verdict is Verdict.VIOLATED

    def function(logits, labels):
        return F.cross_entropy(logits, labels, reduction="none")

    plain = LocalSubject(function).convention
    assert LAWS["deep-copy-is-the-same"].applies(plain, CLAIMED) == "it is a function, and has no state to copy"
    assert LAWS["state-dict-carries-everything"].applies(plain, CLAIMED)


def test_an_infinite_logit_of_the_only_class_says_nothing():
    assert check(LAWS["infinite-logit-is-no-number"], single(0.0), context()).verdict is Verdict.INCONCLUSIVE


SMALLEST = {
    ("row-without-a-batch", "row-as-a-batch"): "binary64 logits [0, 0], target 0, epsilon 1, reduction none",
    (
        "classes-before-places",
        "mean-over-places",
    ): "binary64 logits [0, 0; 0, 0], target 0; 0, epsilon 1, reduction none",
    ("nan-in-nan-out", "nan-to-num"): "binary64 logits [0, 0], target 0, epsilon 1, reduction none",
    ("ties", "three-decimals"): "binary64 logits [0, 0], target 0, epsilon 1, reduction none",
    ("deterministic", "noise-added"): "binary64 logits [0, 0], target 0, epsilon 1, reduction none",
    ("dtype-is-kept", "result-in-binary32"): "binary64 logits [0, 0], target 0, epsilon 1, reduction none",
    ("small-gamma-at-certainty", "plain-power"): (
        "binary64 logits [40, 0], target 0, epsilon 1, gamma 0.5, reduction none"
    ),
}


@pytest.mark.parametrize(("law", "name"), list(SMALLEST))
def test_violations_shrink(law, name):
    found = search(LAWS[law], context(all_mutants()[name].loss), examples=40, seed=1)
    assert describe(found.case) == SMALLEST[law, name]


def test_impossible_classes_are_never_the_target():
    law = LAWS["impossible-classes"]
    seen = []
    search(replace(law, check=lambda case, c: seen.append(case) or law.check(case, c)), context(), examples=40)
    assert all(case.logits[0][case.target[0]] > -math.inf for case in seen)
    assert sum(-math.inf in case.logits[0] for case in seen) > 20


def test_every_number_of_autocast_is_one_of_bfloat16():
    law, seen = LAWS["autocast"], []
    search(replace(law, check=lambda case, c: seen.append(case) or law.check(case, c)), context(), examples=40)
    assert all(BFLOAT16.contains(z) and BINARY32.contains(z) for case in seen for row in case.logits for z in row)
    assert max(abs(z) for case in seen for row in case.logits for z in row) > 89
