"""The self-test fails when it must, and only then."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from polyref.errors import UsageError
from polyref.formats import BFLOAT16, BINARY32, BINARY64
from polyref.options import AUDITED
from polyref.property import LawFailed
from polyref.report import selftest as doc
from polyref.selftest.run import formats_named
from polyref.selftest.work import AUDIT_EXAMPLES
from polyref.spec import Reduction
from polyref.verdict import Outcome, Verdict
from polyref_properties.mutants import CLAIMED, CONVENTION, Mutant, Variant
from polyref_properties.mutants.base import Textbook

from .planted import RIGHT, SUMS, VALUE, Endless, LeavesEarly, NegativeZero, SignFlipped, mutant, plain, run, world

pytestmark = pytest.mark.usefixtures("one_thread")


def pair(d: doc.SelfTest, law: str, subject: str) -> doc.Pair:
    return next(p for p in (*d.kills, *d.variant_trials) if (p.law, p.subject) == (law, subject))


def test_all_is_well(monkeypatch):
    world(monkeypatch)
    d = run()
    assert d.failures == []
    assert d.exit_code == 0
    assert d.settings.complete
    assert [m.expected for m in d.mutants] == [["binary64", "binary32"]] * 2
    assert [set(m.effect) for m in d.mutants] == [{"binary64", "binary32"}] * 2
    killed = pair(d, VALUE.id, "sign-flipped").trials["binary64"]
    assert killed.verdict == "killed"
    assert killed.examples >= 1
    assert killed.ratio > 1
    assert killed.observed
    survived = pair(d, VALUE.id, "normaliser-detached").trials["binary32"]
    assert (survived.verdict, survived.examples, survived.observed) == ("survived", 12, "")
    assert survived.ratio <= 1
    # A law that an audit judges in the widest format is tried in the others too, on what it sees there.
    assert pair(d, SUMS.id, "textbook").trials["binary32"].verdict == "survived"
    assert pair(d, SUMS.id, "normaliser-detached").trials["binary32"].verdict == "killed"
    assert pair(d, SUMS.id, "textbook").trials["binary32"].examples == AUDIT_EXAMPLES
    assert set(pair(d, SUMS.id, "sign-flipped").trials) == {"binary64"}


def test_the_seed_determines_the_document(monkeypatch):
    world(monkeypatch)

    def timeless(seed):
        d = run(seed=seed)
        laws = [msgspec.structs.replace(law, seconds={}) for law in d.laws]
        settings = msgspec.structs.replace(d.settings, seconds=0.0, started="")
        return msgspec.structs.replace(d, laws=laws, settings=settings)

    first = timeless(3)
    assert doc.dumps(timeless(3)) == doc.dumps(first)
    assert timeless(4).kills != first.kills


def test_a_mutant_that_no_law_kills_is_named(monkeypatch):
    world(monkeypatch, mutants=mutant("unseen", Textbook))
    d = run()
    assert d.exit_code == 1
    [failure] = d.failures
    assert (failure.kind, failure.subject, failure.format) == ("survived", "unseen", "binary64")
    assert failure.text == "No law kills unseen in binary64, although it computes another formula."


def test_a_mutant_must_die_where_its_effect_exceeds_the_tolerance(monkeypatch):
    """Weights that are lost show in every format, and the one law of this world sees nothing."""

    class WeightLost(Textbook):
        def keep(self, _):
            super().keep(None)

    world(monkeypatch, laws=(replace(VALUE, check=lambda *_: Outcome.of(0.5)),), mutants=mutant("lost", WeightLost))
    found = [f for f in run().failures if f.kind == "survived" and f.subject == "lost"]
    assert [f.format for f in found] == ["binary64", "binary32"]
    # A weight of zero makes an exact zero, which has no tolerance.
    assert found[0].text == "No law kills lost in binary64, although its effect is infinite."


def test_lost_digits_are_due_only_where_digits_are_lost(monkeypatch):
    class InBinary32(Textbook):
        def per_sample(self, z, y):
            return super().per_sample(z.float(), y).to(z.dtype)

    world(monkeypatch, mutants=mutant("single", InBinary32, "numerical"))
    d = run(formats=(BINARY64, BINARY32))
    assert next(m for m in d.mutants if m.name == "single").expected == ["binary64"]
    assert d.failures == []


def test_lost_digits_that_nobody_ever_sees_are_named(monkeypatch):
    world(monkeypatch, mutants=mutant("no-mutant", Textbook, "numerical"))
    assert run().failures == []
    [failure] = run(formats=AUDITED).failures
    assert (failure.kind, failure.format) == ("survived", None)
    assert failure.text == "No law kills no-mutant in any format."


def test_behaviour_must_show_in_every_format_but_where_it_is_right(monkeypatch):
    planted = mutant("kept", Textbook, "behaviour") | mutant("right", Textbook, "behaviour", right_in=("binary32",))
    world(monkeypatch, mutants=planted)
    found = {(f.subject, f.format) for f in run().failures}
    assert found == {("kept", "binary64"), ("kept", "binary32"), ("right", "binary64")}


def test_a_time_out_is_no_kill(monkeypatch):
    world(monkeypatch, laws=(VALUE,), mutants=mutant("endless", Endless))
    d = run(patience=0.2, formats=(BINARY64,))
    trial = pair(d, VALUE.id, "endless").trials["binary64"]
    assert (trial.verdict, trial.examples) == ("timed_out", 1)
    assert next(m for m in d.mutants if m.name == "endless").effect == {"binary64": None}
    survived = [f for f in d.failures if f.subject == "endless"]
    assert [f.kind for f in survived] == ["survived"]
    assert "not measured in time" in survived[0].text
    assert "1 ran out of time" in survived[0].text
    assert pair(d, VALUE.id, "sign-flipped").trials["binary64"].verdict == "killed"


def test_an_exception_is_a_kill(monkeypatch):
    world(monkeypatch, mutants=mutant("early", LeavesEarly))
    d = run()
    assert pair(d, VALUE.id, "early").trials["binary64"].observed == "ArithmeticError: three is too many"
    assert d.failures == []


@pytest.mark.parametrize("convention", [CONVENTION, None])
def test_an_accused_variant_is_named_with_its_case(monkeypatch, convention):
    accused = Variant("odd", "is wrong", SignFlipped, convention, CLAIMED)
    world(monkeypatch, variants=(RIGHT, accused))
    d = run(formats=(BINARY64,))
    assert d.exit_code == 1
    [failure] = [f for f in d.failures if f.kind == "accused"]
    assert (failure.subject, failure.law, failure.format) == ("odd", VALUE.id, "binary64")
    assert failure.text.startswith(f"{VALUE.id} accuses the harmless variant odd: ")
    assert failure.case.startswith("binary64 logits [")


def test_a_variant_that_is_called_in_its_own_way(monkeypatch):
    unusable = Variant("three", "takes three arguments", lambda a, _, __: a)
    world(monkeypatch, variants=(RIGHT, Variant("plain", "a function", plain), unusable))
    d = run(formats=(BINARY64, BFLOAT16))
    assert [(f.kind, f.subject) for f in d.failures] == [("unusable", "three")]
    assert [v.computes[:9] for v in d.variants[:2]] == ["w [x^gamm", "CE + eps "]
    assert pair(d, VALUE.id, "plain").trials["bfloat16"].verdict == "survived"
    # Cases are not drawn for it alone in a format that no audit judges the law in.
    assert set(pair(d, SUMS.id, "plain").trials) == {"binary64"}


def test_the_right_implementation_is_held_to_the_tolerance_too(monkeypatch):
    world(monkeypatch, variants=(replace(RIGHT, loss=SignFlipped),))
    accused = {(f.law, f.format) for f in run(formats=(BINARY64,)).failures if f.kind == "accused"}
    assert accused == {(None, "binary64"), (VALUE.id, "binary64")}


def test_a_law_that_does_not_kill_its_own_mutant_is_named(monkeypatch):
    world(monkeypatch, laws=(VALUE, replace(SUMS, mutants=("sign-flipped",))))
    toothless = [f for f in run().failures if f.kind == "toothless"]
    # It is judged in the widest format only.
    assert [(f.law, f.subject, f.format) for f in toothless] == [(SUMS.id, "sign-flipped", "binary64")]
    assert toothless[0].text == "gradient-sums-to-zero does not kill its own mutant sign-flipped in binary64: survived."


def test_a_law_that_does_not_apply(monkeypatch):
    world(monkeypatch, laws=(VALUE, replace(SUMS, applies=lambda *_: "it is Monday")))
    d = run()
    assert pair(d, SUMS.id, "sign-flipped") == doc.Pair(
        law=SUMS.id, subject="sign-flipped", reason="it is Monday", trials={}
    )
    toothless = [f for f in d.failures if f.kind == "toothless"]
    assert toothless[0].text.endswith("in binary64: does not apply, it is Monday.")


def test_a_few_laws_or_mutants_only(monkeypatch):
    world(monkeypatch, mutants=mutant("unseen", Textbook))
    d = run(laws=(SUMS.id,))
    # Who survives one law may be killed by another.
    assert d.failures == []
    assert not d.settings.complete
    d = run(mutants=("unseen",))
    assert [f.subject for f in d.failures] == ["unseen"]
    assert [m.name for m in d.mutants] == ["unseen"]


def test_nothing_measured(monkeypatch):
    world(monkeypatch, laws=(replace(VALUE, check=lambda *_: Outcome(Verdict.INCONCLUSIVE, 0.0)),))
    d = run(mutants=("normaliser-detached",), laws=(VALUE.id,))
    assert [t.verdict for p in d.kills for t in p.trials.values()] == ["inconclusive"] * 2
    assert msgspec.structs.replace(d, failures=[]).exit_code == 3


def test_an_expensive_law_gets_few_examples_and_mutants_and_a_laws_own_mutants_get_an_audits(monkeypatch):
    never = replace(VALUE, check=lambda *_: Outcome.of(0.5), mutants=("sign-flipped",))
    world(monkeypatch, laws=(never, replace(never, id="limited", limit=3)))
    d = run(formats=(BINARY64,))
    examples = {(p.law, p.subject): p.trials["binary64"].examples for p in d.kills if p.trials}
    assert examples == {
        (VALUE.id, "sign-flipped"): AUDIT_EXAMPLES,
        (VALUE.id, "normaliser-detached"): 12,
        ("limited", "sign-flipped"): 3,
    }


def test_the_same_answers_are_not_compared_again_and_zeros_are_told_apart(monkeypatch):
    checked = []

    def check(case, context):
        checked.append((context.runner.name, context.observe(case).value))
        return VALUE.check(case, context)

    world(
        monkeypatch,
        laws=(replace(VALUE, check=check),),
        mutants=mutant("same", Textbook) | mutant("minus", NegativeZero),
    )
    d = run(formats=(BINARY64,), examples=40)
    names = [name for name, _ in checked]
    assert names.count("textbook") == 40
    assert "same" not in names
    assert pair(d, VALUE.id, "same").trials["binary64"].examples == 12
    assert pair(d, VALUE.id, "minus").trials["binary64"].examples == 40
    minus = [value for name, value in checked if name == "minus"]
    assert 0 < len(minus) < 40
    assert all(0.0 in value for value in minus)


def test_a_law_that_raises_ends_it(monkeypatch):
    def check(*_):
        raise KeyError("k")

    world(monkeypatch, laws=(replace(VALUE, check=check),))
    with pytest.raises(LawFailed, match="itself raised KeyError"):
        run()


def test_numbers_that_a_narrow_format_lacks(monkeypatch):
    def between(case, context):
        replace(case, logits=((1 + 2**-30,) * case.classes,) * len(case.logits))
        return Outcome.of(0.5)

    world(monkeypatch, laws=(replace(SUMS, check=between),))
    d = run(formats=(BINARY64, BFLOAT16))
    trials = pair(d, SUMS.id, "textbook").trials
    assert {f: t.verdict for f, t in trials.items()} == {"binary64": "survived", "bfloat16": "inconclusive"}


def test_a_mutant_of_another_convention(monkeypatch):
    convention = replace(CONVENTION, reductions=("mean",), formats=("binary64",))
    claims = replace(CLAIMED, spec=replace(CLAIMED.spec, reduction=Reduction.MEAN))
    planted = Mutant("mean-only", "planted", SignFlipped, "semantic", convention, claims)
    world(monkeypatch, mutants={"mean-only": planted})
    d = run()
    assert d.failures == []
    assert {f: t.verdict for f, t in pair(d, VALUE.id, "mean-only").trials.items()} == {"binary64": "killed"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"laws": ("value-match",)},
            "no law is called 'value-match': choose value-matches-the-reference or gradient-sums-to-zero",
        ),
        ({"mutants": ("flipped",)}, "no mutant is called 'flipped': choose sign-flipped or normaliser-detached"),
        ({"examples": 0}, "--examples 0 is not allowed: give at least 1"),
        ({"jobs": -1}, "--jobs -1 is not allowed: give at least 1"),
    ],
)
def test_what_cannot_be_asked_for(monkeypatch, options, says):
    world(monkeypatch)
    with pytest.raises(UsageError) as caught:
        run(**options)
    assert str(caught.value) == says


def test_formats_by_name():
    assert formats_named(()) == ()
    assert formats_named(("bfloat16", "binary64")) == (BINARY64, BFLOAT16)
    with pytest.raises(UsageError, match=r"no format is called 'e5m2'"):
        formats_named(("e5m2",))
