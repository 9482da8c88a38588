"""The audit: findings against the record of the gallery, and the document of a whole run."""

from __future__ import annotations

import json
import math
import shlex
from importlib import import_module

import msgspec
import pytest
import right
import torch
from right import entropy, pt
from subject import wild, zoo

from polyref import auditor as audits
from polyref import conduct, records
from polyref.accuracy import Accuracy, measured
from polyref.auditor import (
    PROFILES,
    RETURNS_A_VALUE,
    Options,
    audit,
    audited_formats,
    check_one,
    findings,
)
from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64
from polyref.gallery import entry
from polyref.property import Context, check
from polyref.report import document as doc
from polyref.reproduce import reproduce
from polyref.spec import Spec
from polyref.subject.chance import SeededSubject
from polyref.subject.dialect import WHOLE_LOSS
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.overrides import Forms
from polyref.subject.runner import Death
from polyref.verdict import Verdict
from polyref_properties import ALL
from polyref_properties.mutants import textbook

pytestmark = pytest.mark.usefixtures("one_thread")


def gallery(name: str):
    module, _, attribute = entry(name).target.partition(":")
    return getattr(import_module(module), attribute)


def results(subject, **options):
    runner = LocalSubject(subject)
    return list(findings(runner, identify(runner), Options(**options)))


def violated(given) -> set[str]:
    return {r.law.id for r in given if r.found and r.found.verdict is Verdict.VIOLATED}


def broken(subject, **options) -> set[str]:
    return violated(results(subject, **options))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few examples: which laws can be heard at all is what these tests are about."""
    monkeypatch.setitem(PROFILES, "quick", (5, 5))


@pytest.mark.parametrize("name", ["onehot-cross-entropy", "gather-rescaled"])
def test_the_gallery_breaks_what_is_on_record_in_all_formats(name):
    """These have defects that binary32, in which all entries are held against their baselines, does not show."""
    assert broken(gallery(name), profile="quick") == {d.property_id for d in entry(name).defects}


@pytest.mark.usefixtures("few")
def test_a_law_that_does_not_apply_says_why():
    said = {r.law.id: r.reason for r in results(zoo.plain, profile="quick", formats=(BINARY32,)) if r.found is None}
    assert said["affine-in-epsilon"] == "epsilon cannot be chosen"
    assert said["reductions-agree"] == "it has one reduction only: none"
    assert "decreasing-in-pt" not in said


def fixed(epsilon):
    def loss(logits, labels):
        return entropy(logits, labels) + epsilon * (1 - pt(logits, labels))

    return loss


@pytest.mark.parametrize("epsilon", [1 / 3, -2.0])
def test_a_fixed_epsilon_breaks_no_law(epsilon):
    given = results(fixed(epsilon), profile="quick")
    assert violated(given) == set()
    reasons = {r.law.id: r.reason for r in given}
    low = "its epsilon_1, -2, is below -1/1" if epsilon == -2.0 else ""
    assert reasons["decreasing-in-pt"] == low


def single_precision(logits, labels, epsilon=1.0):
    wide = logits.float()
    return (entropy(wide, labels) + epsilon * (1 - pt(wide, labels))).to(logits)


def test_single_precision_inside_is_said_once():
    found = {
        (r.law.id, r.format.name)
        for r in results(single_precision, profile="quick")
        if r.found and r.found.verdict is Verdict.VIOLATED
    }
    assert found == {("value-matches-the-reference", "binary64"), ("gradient-matches-the-reference", "binary64")}


def test_built_in_weights_break_no_law():
    assert broken(zoo.instance, profile="quick", formats=(BINARY32,)) == set()


UNUSUAL = ("negated", "FromLogits", "labels_by_keyword", "binary_probabilities", "one_logit", "number")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_manner_breaks_no_law(name):
    assert broken(getattr(wild, name), profile="quick", formats=(BINARY32,)) == set()


def negated_and_squared(logits, labels, epsilon=1.0):
    return -(entropy(logits, labels) + epsilon * (1 - pt(logits, labels)) ** 2)


class ClampedFromLogits(wild.FromLogits):
    def __call__(self, y_true, y_pred):
        p = y_pred.softmax(1) if self.from_logits else y_pred
        return wild.of_probabilities(p.clip(1e-3, 1), y_true, self.epsilon)


def detached_by_keyword(*, y_true, y_pred, epsilon=1.0):
    return entropy(y_pred, y_true) + epsilon * (1 - pt(y_pred.detach(), y_true))


def squared_probabilities(y_true, y_pred, epsilon=1.0):
    p = y_pred.gather(1, y_true[:, None])[:, 0]
    return -p.log() + epsilon * (1 - p) ** 2


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("subject", "law"),
    [
        (negated_and_squared, "eps-minus-one-cancels-first-term"),
        (ClampedFromLogits, "value-matches-the-reference"),
        (detached_by_keyword, "gradient-is-that-of-the-value"),
        (squared_probabilities, "eps-minus-one-cancels-first-term"),
    ],
)
def test_a_defect_in_an_unusual_manner_is_found(subject, law):
    assert law in broken(subject, profile="quick", formats=(BINARY32,))


def test_the_same_seed_finds_the_same():
    def found(seed, laws=()):
        given = results(gallery("gather-rescaled"), profile="quick", seed=seed, formats=(BINARY32,), laws=laws)
        return {r.law.id: r.found for r in given}

    some = ("value-matches-the-reference", "shift-invariance")
    once = found(5, laws=some)
    assert found(5, laws=some) == once
    other = found(6, laws=some)
    assert all(other[law] != once[law] for law in some)


@pytest.mark.usefixtures("few")
def test_formats_can_be_restricted():
    options = Options(formats=(BFLOAT16, BINARY32))
    assert audited_formats(LocalSubject(textbook).convention, options) == (BINARY32, BFLOAT16)
    single = LocalSubject(zoo.single_precision)
    assert audited_formats(single.convention, Options()) == (BINARY32,)
    with pytest.raises(UsageError, match="single_precision accepts none of binary16, bfloat16: it takes binary32"):
        audited_formats(single.convention, Options(formats=(BINARY16, BFLOAT16)))
    assert {r.format for r in results(zoo.single_precision, profile="quick")} == {BINARY32}


# --- whole audits, in a child process -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document() -> doc.Document:
    return audit(entry("gather-rescaled").target, Options(profile="quick", seed=2, formats=(BINARY64, BFLOAT16)))


def test_the_document_of_a_defective_subject(document):
    assert document.exit_code == 1
    assert {f.property for f in document.violated} == {d.property_id for d in entry("gather-rescaled").defects}
    assert document.subject.name == "Poly1CrossEntropyLoss"
    assert document.subject.file.endswith("gallery/gather.py")
    assert document.settings.formats == ["binary64", "bfloat16"]
    assert (document.settings.seed, document.settings.profile) == (2, "quick")
    assert document.dialect.formula == "w [CE + (eps/mu) x] + eps (1 - w/mu)"
    assert (document.dialect.weighting, document.dialect.epsilon, document.dialect.reduction) == (
        *("rescaled_p", 1.0),
        "none",
    )
    assert "the constants -0.5, 0, +0.5 stay in the value" in document.dialect.notes[0]
    assert {g.format for g in document.grades} == {"binary64", "bfloat16"}
    assert {(g.quantity, g.regime) for g in document.grades} >= {("value", "all"), ("gradient", "even")}
    rows = sum(g.examples for g in document.grades if g.regime == "all")
    assert document.settings.examples == rows + sum(f.examples for f in document.findings)
    assert [f.verdict for f in document.findings] == sorted(
        (f.verdict for f in document.findings), key=("violated", "inconclusive", "holds", "not_applicable").index
    )


def test_a_finding_can_be_reproduced(document):
    finding = document.violated[0]
    assert finding.case_text
    assert finding.remedy
    words = shlex.split(finding.reproduce)
    assert words[:3] == ["polyref", "check", entry("gather-rescaled").target]
    case = words[words.index("--case") + 1]
    assert Case.from_json(json.loads(case)) == Case.from_json(finding.case)
    outcome = check_one(words[2], words[words.index("--property") + 1], case, Options())
    assert outcome.verdict is Verdict.VIOLATED
    assert (outcome.ratio, outcome.observed) == (finding.ratio, finding.observed)


def test_a_document_is_json(document):
    assert json.loads(msgspec.json.encode(document))["subject"]["target"] == entry("gather-rescaled").target


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> doc.Document:
    """A score with a switch, of which the user says how it is called."""
    file = tmp_path_factory.mktemp("told") / "score.py"
    file.write_text(
        "def score(y_true, y_pred, epsilon=1.0, from_logits=False, scale=1.0):\n"
        "    p = y_pred.softmax(1) if from_logits else y_pred\n"
        "    pt = (y_true * p).sum(1)\n"
        "    return scale * (pt.log() - epsilon * (1 - pt) ** 2)\n"
    )
    forms = Forms(labels="one_hot", inputs="logits", order="labels_first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, "quick", (5, 5))
        return audit(f"{file}:score", Options(profile="quick", formats=(BINARY32,), forms=forms))


def test_the_document_states_the_convention(told):
    assert told.convention.text == "-score(one_hot_labels, logits, epsilon=…, from_logits=True) → (N,)"
    assert told.convention.result == "per sample, its sign turned"
    assert told.convention.untested == {"scale": "1.0"}
    assert told.settings.forms == {"labels": "one_hot", "inputs": "logits", "order": "labels_first"}
    turned = "It returns the loss with its sign turned, to be maximised: a convention."
    assert any(note.startswith(turned) for note in told.dialect.notes)
    assert "Left at their defaults, and not tested: scale=1.0." in told.dialect.notes
    assert "eps x^2" in told.dialect.formula
    assert told.exit_code == 1
    assert doc.loads(doc.dumps(told)) == told


def test_the_forms_that_were_told_are_repeated_in_the_command_that_reproduces(told):
    words = shlex.split(told.violated[0].reproduce)
    assert words[-6:] == ["--labels", "one_hot", "--input", "logits", "--order", "labels_first"]
    law, case = (words[words.index(option) + 1] for option in ("--property", "--case"))
    options = Options(forms=Forms(**told.settings.forms))
    assert check_one(words[2], law, case, options).verdict is Verdict.VIOLATED


def test_overrides_are_repeated_in_the_command_that_reproduces():
    options = Options(init={"epsilon": -1.0}, call={"name": "a b"})
    case = Case(Spec(), BINARY64, ((0.0, 1.0),), (0,))
    words = shlex.split(reproduce("a.py:B", ALL[0].id, case, options))
    assert words[words.index("--init") + 1] == "epsilon=-1.0"
    assert words[words.index("--call") + 1] == "name='a b'"


def test_a_subject_that_returns_nothing_gets_one_finding():
    found = audit(entry("returns-nothing").target, Options(profile="quick"))
    assert found.exit_code == 1
    (finding,) = found.findings
    assert (finding.property, finding.verdict, finding.ratio) == (RETURNS_A_VALUE, "violated", math.inf)
    assert finding.explanation.startswith("Poly1CrossEntropyLoss returns None")
    assert (found.grades, found.dialect.formula) == ([], "nothing: it returns None")


@pytest.mark.parametrize(
    ("law", "case", "says"),
    [
        ("value-matches-the-referense", "{}", "choose value-matches-the-reference"),
        ("value-matches-the-reference", "{", "--case is no JSON"),
        ("value-matches-the-reference", "[]", "--case is no JSON object"),
        ("value-matches-the-reference", "{}", "this is no case document"),
    ],
)
def test_what_cannot_be_checked_again(law, case, says):
    with pytest.raises(UsageError, match=says):
        check_one("polyref.nn.functional:poly_cross_entropy", law, case, Options())


# --- what the course over the formats says ------------------------------------------------------------------------


def _finding(format, verdict, ratio):
    return doc.Finding(
        **dict.fromkeys(("theme", "statement", "formula", "citation", "device", "remedy", "case_text"), ""),
        **dict.fromkeys(("expected", "observed", "reproduce"), ""),
        property="value-matches-the-reference",
        explanation="Off.",
        verdict=verdict,
        format=format,
        case=None,
        ratio=ratio,
        examples=1,
    )


@pytest.mark.parametrize(
    ("wide", "narrow", "says"),
    [
        (("holds", 0.5), ("violated", 3.0), "this is lost precision"),
        (("violated", 1e14), ("violated", 5.0), "not one of rounding in binary64"),
        (("violated", 1e13), ("violated", 0.2), "like u^-1, which is the mark of another formula"),
        (("violated", math.inf), ("violated", 5.0), None),  # a NaN says nothing of the formula
        (("violated", 20.0), ("violated", 5.0), "keeps its size over the formats: this is lost precision"),
    ],
)
def test_precision_and_formula_are_told_apart(wide, narrow, says):
    every = [_finding("binary64", *wide), _finding("bfloat16", *narrow)]
    told = records.with_kind(every[1], every, WHOLE_LOSS)
    assert told.explanation == "Off." if says is None else says in told.explanation
    assert records.with_kind(every[0], every[:1], WHOLE_LOSS).explanation == "Off."


def sums_for_mean(logits, labels, epsilon=1.0, reduction="mean"):
    losses = right.log_softmax_once(logits, labels, epsilon)
    return losses if reduction == "none" else losses.sum()


@pytest.mark.parametrize(("rows", "reduction", "acts"), [(2, "mean", True), (1, "mean", False), (2, "none", False)])
@pytest.mark.parametrize("wide", [("holds", 0.5), ("violated", 20.0)])
def test_a_deviation_that_acts_on_the_case_is_no_lost_precision(rows, reduction, acts, wide):
    dialect = identify(LocalSubject(sums_for_mean))
    assert dialect.deviation == "Reduction mean returns the sum."
    case = Case(Spec(reduction=reduction), BFLOAT16, ((1.0, 0.5),) * rows, (0,) * rows)
    narrow = msgspec.structs.replace(_finding("bfloat16", "violated", 5.0), case=case.to_json())
    told = records.with_kind(narrow, [_finding("binary64", *wide), narrow], dialect).explanation
    assert ("acts on this case: this is not lost precision" in told) is acts
    assert ("this is lost precision" in told) is (not acts and wide[0] == "holds")


# --- what the audit adds to the laws' verdicts --------------------------------------------------------------------


def forgets_epsilon_of_gaussians(logits, labels, epsilon=1.0, reduction="none"):
    """Right but for ten logits with digits that no law draws, as grades do."""
    parts = (800 * logits - (800 * logits).round()).abs() > 1e-3
    graded = logits.shape[-1] == 10 and logits.abs().max() < 1e3 and parts.sum(-1).min() >= 9
    losses = textbook(logits, labels, 0.0 if graded else epsilon)
    return losses.mean() if reduction == "mean" else losses


def test_a_graded_row_beyond_the_tolerance_is_a_finding():
    runner = LocalSubject(forgets_epsilon_of_gaussians)
    dialect = identify(runner)
    options = Options(profile="quick", formats=(BINARY64,), laws=("value-matches-the-reference",))
    held = list(findings(runner, dialect, options))
    assert held[0].found.verdict is Verdict.HOLDS
    accuracy = Accuracy()
    accuracy.record(BINARY64, measured(runner, dialect, BINARY64, options))
    raised = audits._with_graded(held[0], accuracy.grades, runner, dialect)
    assert raised.found.verdict is Verdict.VIOLATED
    assert raised.found.case.classes == 10
    assert audits._with_graded(held[0], [], runner, dialect) is held[0]


def test_one_breakdown_is_one_violation():
    broken_down = [
        msgspec.structs.replace(
            _finding("binary64", "violated", math.inf), property=p, expected="a loss", observed=text
        )
        for p, text in (("a", "TypeError: no"), ("b", "TypeError: no"), ("c", "ValueError: other"))
    ]
    told = records.one_breakdown(broken_down)
    assert [f.verdict for f in told] == ["violated", "inconclusive", "violated"]
    assert told[1].explanation == "Not decided: TypeError: no, see a."


def refuses_one_class(logits, labels, epsilon=1.0):
    assert logits.shape[1] > 1, "two classes at least"
    return textbook(logits, labels, epsilon).mean()


def shares_among_others(logits, labels, epsilon=1.0, smoothing=0.0):
    hot = torch.full_like(logits, smoothing / (logits.shape[1] - 1)).scatter(1, labels[:, None], 1 - smoothing)
    return -(hot * logits.log_softmax(1)).sum(1) + epsilon * (1 - (hot * logits.softmax(1)).sum(1))


#: Some laws of each kind; the others would take long.
SOME = ("dtype-is-kept", "gradient-sums-to-zero", "ties", "smoothing-is-a-soft-target", "classes-before-places")


@pytest.mark.parametrize(
    ("subject", "says", "breaks"),
    [
        (refuses_one_class, "AssertionError: two classes at least", set()),
        (shares_among_others, "ZeroDivisionError", {"smoothing-is-a-soft-target"}),
    ],
)
def test_a_single_class_may_be_refused(subject, says, breaks):
    runner = LocalSubject(subject)
    dialect, options = identify(runner), Options(profile="quick", formats=(BINARY64,), laws=SOME)
    found = [r for r in findings(runner, dialect, options) if r.found is not None]
    assert {r.law.id for r in found if r.found.verdict is Verdict.VIOLATED} == breaks
    assert not [r.law.id for r in found if r.found.verdict is Verdict.INCONCLUSIVE]
    (note,) = [
        n
        for n in audits._notes(runner, dialect, options, chance=audits.drawn_by_chance(runner, dialect, options))
        if "single class" in n
    ]
    assert note.startswith(f"It refuses a single class ({says}")


def raises_on_three_rows(logits, labels, epsilon=1.0):
    if len(logits) == 3:
        raise ValueError("no three")
    return textbook(logits, labels, epsilon)


def test_one_error_breaks_one_law_and_the_others_are_judged_by_the_other_cases():
    laws = ("deterministic", "dtype-is-kept", "nan-in-nan-out", "batch-permutation", "value-matches-the-reference")
    found = {r.law.id: r.found for r in results(raises_on_three_rows, profile="quick", formats=(BINARY64,), laws=laws)}
    (broken_one,) = (f for f in found.values() if f.verdict is Verdict.VIOLATED)
    assert broken_one.outcome.observed == "ValueError: no three"
    assert [f.verdict for f in found.values()].count(Verdict.HOLDS) == 4


def always_raises_on_weights(logits, labels, epsilon=1.0, weight=None):
    if weight is not None and logits.dtype == torch.float64:
        raise ValueError("no weights of doubles")
    return textbook(logits, labels, epsilon, weight)


def test_a_law_that_met_nothing_else_is_open_and_says_where_the_error_is_told():
    runner = LocalSubject(always_raises_on_weights)
    laws = ("scale-of-the-weights", "weight-multiplies-the-whole-loss")
    dialect, options = identify(runner), Options(profile="quick", formats=(BINARY64,), laws=laws)
    told = {f.property: f for f in audits.recorded("t", findings(runner, dialect, options), dialect, options)}
    broken_one, found = sorted(told.values(), key=lambda f: f.verdict != "violated")
    assert broken_one.observed == "ValueError: no weights of doubles"
    assert (found.verdict, found.examples > 0) == ("inconclusive", True)
    assert found.explanation == f"Not decided: {broken_one.observed}, see {broken_one.property}."


def with_dropout(logits, labels, epsilon=1.0):
    return textbook(torch.nn.functional.dropout(logits, 0.1), labels, epsilon).mean()


def test_chance_is_one_finding():
    runner = SeededSubject(with_dropout)
    dialect, options = identify(runner), Options(profile="quick", formats=(BINARY32,))
    told = audits.recorded("t", findings(runner, dialect, options), dialect, options)
    assert [f.property for f in told if f.verdict == "violated"] == ["inputs-untouched-and-repeatable", "deterministic"]
    open_ones = {f.property: f.explanation for f in told if f.verdict == "inconclusive"}
    assert "value-matches-the-reference" in open_ones
    assert len(open_ones) > 20
    assert set(open_ones.values()) == {
        "Its answers are drawn by chance, and the same call gives another one each time."
    }
    assert any(
        "drawn by chance" in n
        for n in audits._notes(runner, dialect, options, chance=audits.drawn_by_chance(runner, dialect, options))
    )


def test_a_law_is_asked_as_if_nothing_had_been_before():
    runner = SeededSubject(with_dropout)
    dialect = identify(runner)
    case = Case(dialect.spec, BINARY32, ((1.0, 2.0, 3.0, 4.0),) * 8, (0,) * 8)
    law = next(law for law in ALL if law.id == "value-matches-the-reference")
    outcomes = [check(law, case, Context(runner, dialect, BINARY32)) for _ in range(2)]
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        (
            False,
            "2 calls ended the process, signal SIGSEGV (2 of the 3 that did). It came after 50 calls in that process",
        ),
        (True, "2 calls ended the process, signal SIGSEGV (2 of the 3 that did)."),
    ],
)
def test_what_ends_a_process_says_whether_the_case_alone_does(ends, says):
    case = Case(Spec(), BINARY32, ((0.0, 1.0),), (0,))
    met = [Death(case, PLAIN, "signal SIGSEGV", calls=50), Death(case, PLAIN, "signal SIGSEGV", calls=70)]
    met.append(Death(case, Manner(empty=True), "timeout"))
    (found,) = conduct.deaths("a.py:b", met, Options(), lambda _: ends)
    assert found.explanation.startswith(says)
    assert ("alone the case does not end one" in found.explanation) is not ends


def test_an_object_in_hand_has_a_name_that_python_can_read():
    case = Case(Spec(), BINARY64, ((0.0, 1.0),), (0,))
    for caption in ("<lambda>", "Poly1(…)"):
        assert reproduce(caption, ALL[0].id, case, Options()).startswith("polyref.check(subject, ")
    assert reproduce("theirs", ALL[0].id, case, Options()).startswith("polyref.check(theirs, ")


def smoothed_by_default(logits, labels, epsilon=1.0, label_smoothing=0.1):
    ce = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="none", label_smoothing=label_smoothing)
    return ce + epsilon * (1 - logits.double().softmax(-1).gather(-1, labels[:, None])[:, 0])


def test_notes_say_what_was_left_out():
    runner = LocalSubject(smoothed_by_default)
    notes = list(audits._notes(runner, identify(runner), Options(), chance=False))
    assert "Its label smoothing is 0.1 by default; it was audited at 0." in notes
