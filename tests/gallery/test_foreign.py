"""Published code of other frameworks: rewritten to behave like the original, and audited with the framework itself."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import replace

import pytest

from polyref.auditor import AUDITED, Options, audit
from polyref.case import Case
from polyref.formats import BINARY32, BINARY64
from polyref.gallery import entry, run
from polyref.grades import Grade, grade_format
from polyref.property import Context, load_properties
from polyref.search import search
from polyref.spec import Spec
from polyref.subject import LocalSubject, NotOffered
from polyref.subject.client import Subject
from polyref.subject.frameworks import install_hint
from polyref.subject.identify import identify
from polyref.verdict import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")

#: The rows of the article.
CASE = Case(Spec(epsilon=(1.0,), gamma=2.0, alpha=0.25), BINARY32, ((2.0, 0.5, 1.0), (0.125, 1.0, 3.0)), (1, 2))
SINGLE = {"rel": 3e-7}
OPTAX = "optax.losses:poly_loss_cross_entropy"


def loaded(target: str, *packages: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a library says while it is imported is not ours
        for name in packages:
            pytest.importorskip(name, reason=f"{name} is not installed: {install_hint(name)}")
        module, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module), attribute)


def published(name: str) -> LocalSubject:
    found = entry(name)
    return LocalSubject(loaded(found.target, found.framework))


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("tensorflow-cross-entropy", "rewrapped-cross-entropy"),
        ("tensorflow-poly-cross-entropy", "rewrapped-cross-entropy"),
        ("tensorflow-focal", "rewrapped-focal"),
        ("tensorflow-mixed-focal", "rewrapped-mixed-focal"),
    ],
)
def test_both_halves_of_the_article_have_the_same_losses(name, twin):
    case = CASE.with_spec(epsilon=(0.0,)) if name == "tensorflow-cross-entropy" else CASE
    seen = published(name).observe(case)
    due = LocalSubject(loaded(entry(twin).target)).observe(case)
    assert seen.value == pytest.approx(due.value, **SINGLE)
    assert (seen.shape, seen.dtype) == ((2,), "binary32")


def test_what_is_in_float32_whatever_the_logits_are():
    wide = replace(CASE, format=BINARY64)
    assert published("tensorflow-focal").observe(wide).dtype == "binary32"
    for name in ("tensorflow-poly-cross-entropy", "tensorflow-mixed-focal"):
        subject = published(name)
        assert subject.convention.formats == ("binary32",)
        with pytest.raises(NotOffered, match="it does not accept binary64"):
            subject.observe(wide)
    certain = replace(CASE, logits=((40.0, 0.0, 0.0),), target=(1,))
    assert published("tensorflow-focal").observe(certain).gradient[0] == (0.0, 0.0, 0.0)  # Pt is clipped


def test_the_rewritten_loss_of_optax_is_that_of_optax():
    original, rewritten = LocalSubject(loaded(OPTAX, "jax", "optax")), published("jax-cross-entropy")
    assert original.convention.text == rewritten.convention.text
    for fmt in AUDITED:
        case = replace(CASE.with_spec(gamma=0.0, alpha=None), format=fmt)
        assert original.observe(case) == rewritten.observe(case)
    impossible = replace(case, logits=((0.0, float("-inf"), 1.0),), target=(0,))
    assert str(original.observe(impossible).value) == str(rewritten.observe(impossible).value) == "(nan,)"


def test_optax_in_a_process_of_its_own():
    loaded(OPTAX, "jax", "optax")
    with Subject.open(OPTAX) as subject:
        dialect = identify(subject)
        assert (subject.convention.framework, dialect.formula) == ("jax", "CE + eps x")
        for fmt in AUDITED:
            graded = grade_format(subject, dialect, fmt, rows=2, seed=0)
            found = {quantity: tally.grade for quantity, regime, tally in graded if regime == "all"}
            assert list(found) == ["value", "gradient"]
            assert not {Grade.DEGRADED, Grade.BROKEN} & set(found.values())
        context, laws = Context(subject, dialect, BINARY32), {law.id: law for law in load_properties()}
        broken = search(laws["impossible-classes"], context, examples=5, shrinks=10)
        assert (broken.verdict, broken.outcome.observed) == (Verdict.VIOLATED, "nan")


@pytest.mark.long
def test_a_whole_audit_of_optax():
    loaded(OPTAX, "jax", "optax")
    found = audit(OPTAX, Options(), quiet=True)
    assert (found.subject.framework, found.dialect.formula) == ("jax", "CE + eps x")
    assert found.environment.framework.startswith("jax ")
    assert any("makes zeros of subnormal results" in note for note in found.dialect.notes)
    assert {f.property for f in found.violated} == {d.property_id for d in entry("jax-cross-entropy").defects}
    overall = {(g.quantity, g.format): g.grade for g in found.grades if g.regime == "all"}
    assert overall == {(quantity, fmt.name): "textbook" for quantity in ("value", "gradient") for fmt in AUDITED}


@pytest.mark.long
def test_every_entry_breaks_what_is_on_record(tmp_path):
    loaded("optax.losses:poly_loss_cross_entropy", "jax", "tensorflow")
    assert run.run(tmp_path, frameworks=("tensorflow", "jax")) == 0
