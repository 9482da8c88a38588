"""Who is wrong: mutants on the whole-loss law, neighbours in the family on the other laws."""

from __future__ import annotations

import pytest

from polyref.case import Case
from polyref.formats import BINARY32, named
from polyref.spec import Reduction, Spec
from polyref.vectors import specs
from polyref.vectors.results import results
from polyref.vectors.rivals import Answer, Beyond, Rival, rivals

ROW = Case(Spec(epsilon=(1.0,)), BINARY32, ((0.5, -1.0, 2.0),), (0,), (0.5, 2.0, 1.5))


@pytest.fixture(scope="module")
def mutants() -> dict[str, Rival]:
    return {r.name: r for r in rivals([specs.parse("epsilon=1")])}


def beyond(rival: Rival, case: Case) -> Beyond | None:
    return rival.beyond(case, results(case))


def test_what_a_mutant_spoils(mutants: dict[str, Rival]) -> None:
    assert beyond(mutants["squared-term"], ROW) == Beyond(True, True)
    # The value of a detached part is right.
    assert beyond(mutants["polynomial-detached"], ROW) == Beyond(False, True)
    # Weights of 1 are on the whole loss, wherever they are.
    assert beyond(mutants["weight-on-cross-entropy-only"], ROW) == Beyond(True, True)
    unweighted = Case(ROW.spec, ROW.format, ROW.logits, ROW.target)
    assert beyond(mutants["weight-on-cross-entropy-only"], unweighted) == Beyond(False, False)


def test_what_shows_beside_the_numbers_of_one_call_is_not_asked(mutants: dict[str, Rival]) -> None:
    assert not mutants.keys() & {"state-kept", "compiled-differs", "noise-added", "curvature-halved"}
    assert len(mutants) > 100
    # They say what is wrong, and are those that the laws are tested with.
    assert mutants["squared-term"].defect == "eps (1 - Pt)^2"


@pytest.mark.parametrize("fmt", ["e4m3", "e5m2"])
def test_what_torch_does_not_compute_in_is_computed_wide(mutants: dict[str, Rival], fmt: str) -> None:
    narrow = Case(Spec(epsilon=(2.0,)), named(fmt), ((0.0, 16.0),), (0,))
    answer = mutants["negated"].answer(narrow)
    assert answer is not None
    assert answer.value is not None
    assert answer.value[0] == -results(narrow).rounded.value[0]
    seen = beyond(mutants["negated"], narrow)
    assert seen is not None
    assert seen.value


@pytest.mark.parametrize("text", ["weighting=ce_only", "link=sigmoid", "reduction=mean_over_samples"])
def test_no_mutant_claims_another_law(mutants: dict[str, Rival], text: str) -> None:
    case = Case(specs.parse(text), BINARY32, ((0.5, -1.0, 2.0),), (0,))
    assert all(r.answer(case) is None for r in mutants.values())
    assert not {r.name for r in rivals([case.spec])} & mutants.keys()


NEIGHBOURS = [
    ("weighting=ce_only", {"weight-on-both", "pt-rescaled", "epsilon-negated", "no-polynomial", "sigmoid-link"}),
    ("weighting=rescaled_p,gamma=2", {"weight-on-both", "no-focal-factor", "focal-exponent-off"}),
    ("link=sigmoid,alpha=0.25", {"softmax-link", "no-alpha", "alpha-reversed", "alpha-elsewhere"}),
    ("weighting=ce_only,reduction=mean", {"mean-over-rows", "mean-not-divided"}),
    ("weighting=ce_only,reduction=sum", {"sum-divided"}),
    ("reduction=mean_over_samples", {"mean-over-weights"}),
    ("epsilon=1:2,link=sigmoid", {"first-term-alone", "last-term-first"}),
    ("weighting=ce_only,smoothing=0.125", {"no-smoothing", "more-smoothing"}),
]


@pytest.mark.parametrize(("text", "names"), NEIGHBOURS)
def test_neighbours_are_wrong_where_they_differ(text: str, names: set[str]) -> None:
    case = Case(specs.parse(text), BINARY32, ((0.5, -1.0, 2.0), (1.0, 0.25, 0.0)), (0, 1), (0.5, 2.0, 1.5))
    found = {r.name: b for r in rivals([case.spec]) if (b := beyond(r, case)) is not None}
    assert names <= {name for name, b in found.items() if b.value}
    # A spec that is the same one answers nothing.
    own = {"ce_only": "weight-on-the-logarithm", "rescaled_p": "pt-rescaled"}.get(str(case.spec.weighting))
    assert own not in found


def test_every_neighbour_is_wrong_somewhere() -> None:
    shown = set[str]()
    for text, _ in NEIGHBOURS:
        case = Case(specs.parse(text), BINARY32, ((0.5, -1.0, 2.0), (1.0, 0.25, 0.0)), (0, 1), (0.5, 2.0, 1.5))
        shown |= {r.name for r in rivals([case.spec]) if any(beyond(r, case) or ())}
    (every,) = ({r.name for r in rivals([specs.parse("link=sigmoid")])},)
    assert shown == every


def test_the_right_answer_is_beyond_nothing_and_a_wrong_shape_is() -> None:
    found = results(ROW)

    def says(value: object, gradient: object) -> Beyond | None:
        return Rival("r", "d", lambda _: Answer(value, gradient)).beyond(ROW, found)  # type: ignore[arg-type]

    value, gradient = found.rounded.value, found.rounded.gradient
    assert says(value, gradient) == Beyond(False, False)
    assert says((*value, 0.0), gradient) == Beyond(True, False)
    assert says(None, None) == Beyond(True, True)
    assert says(value, (gradient[0][:2],)) == Beyond(False, True)
    assert Rival("r", "d", lambda _: None).beyond(ROW, found) is None


def test_a_little_beyond_is_left_alone() -> None:
    """What is beyond the tolerance by less than twice may be within it on another processor."""
    found = results(ROW)
    unit = float(BINARY32.ulp(found.exact.value[0].mid))
    for times, expected in ((1.5, False), (2.5, True)):
        seen = found.rounded.value[0] + times * found.tolerance.value[0] * unit
        rival = Rival("r", "d", lambda _, seen=seen: Answer((seen,), found.rounded.gradient))  # type: ignore[misc]
        assert rival.beyond(ROW, found) == Beyond(expected, False)


def test_reductions_that_torch_has_are_claimed(mutants: dict[str, Rival]) -> None:
    for reduction in (Reduction.SUM, Reduction.MEAN):
        case = ROW.with_spec(reduction=reduction)
        assert beyond(mutants["squared-term"], case) == Beyond(True, True)


def test_the_textbook_is_beyond_nothing_on_every_input() -> None:
    """The model bounds right implementations: a vector that accuses one would be wrong."""
    from polyref.selftest import registry
    from polyref.subject.chance import SeededSubject
    from polyref.vectors.draw import candidates

    variant = registry.harmless()[registry.TEXTBOOK]
    subject = SeededSubject(variant.loss, name="textbook", convention=variant.convention)

    def answer(case: Case) -> Answer:
        seen = subject.observe(case)
        return Answer(seen.value, seen.gradient)

    textbook = Rival("textbook", "nothing", answer)
    for fmt, text in zip(map(named, ("binary64", "binary16", "bfloat16")), specs.DEFAULT[1::5], strict=True):
        for c in candidates(fmt, [specs.parse(text)], 1):
            found = results(c.case)
            seen = textbook.beyond(c.case, found)
            assert seen == Beyond(False, False), c
