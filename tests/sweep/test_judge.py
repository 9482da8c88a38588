"""The judge: what the filter decides is what the balls say, and a single wrong number is found."""

from __future__ import annotations

import math
import random

import pytest
import torch

from polyref.errors import PolyrefError
from polyref.grades import Grade
from polyref.nn.functional import poly_cross_entropy
from polyref.reference.ball import enclosure, evaluate_balls
from polyref.spec import Spec
from polyref.sweep import hearing as hearings
from polyref.sweep.hearing import Candidates, Hearing
from polyref.sweep.judge import Judge
from polyref.sweep.space import Space
from polyref.sweep.special import IMPOSSIBLE_OTHER, IMPOSSIBLE_TARGET, UNBOUNDED, UNDEFINED, judge_special
from polyref.sweep.tally import Tally, empty

from . import subjects

GRADES = list(Grade)
SPECS = [Spec(epsilon=(1.0,)), Spec(epsilon=(-1.0,)), Spec(epsilon=(1.0,), gamma=2.0)]


def places(space: Space, count: int) -> list[int]:
    rng = random.Random(11)
    fmt = space.format
    found = [rng.randrange(space.size) for _ in range(count)]
    for _ in range(count):  # most bit patterns are far from where anything happens
        a, b = (fmt.encode(fmt.round(rng.gauss(0, 8))) for _ in range(2))
        found.append(a if space.kind == "margins" else a << fmt.bits | b)
    return [p for p in found if all(map(math.isfinite, space.numbers(p)))]


def wrong_in_every_way(exact: float, fmt, rng: random.Random) -> float:
    """A number that may be observed where ``exact`` is right: near it, far from it, or none."""
    nearest = fmt.round(exact)
    after = fmt.after(nearest) if math.isfinite(nearest) else nearest
    before = fmt.before(nearest) if math.isfinite(nearest) else nearest
    factor = fmt.round(nearest * (1 + rng.uniform(-40, 40) * fmt.unit_roundoff)) if math.isfinite(nearest) else nearest
    some = [nearest, nearest, after, before, fmt.after(after) if after < math.inf else after, factor, factor]
    return rng.choice([*some, 0.0, -nearest, math.nan, math.inf, fmt.round(2.0 * nearest)])


@pytest.mark.parametrize(
    ("kind", "name", "spec"),
    [
        *(("margins", "bfloat16", spec) for spec in SPECS),
        *(("pairs", "binary16", spec) for spec in SPECS),
        ("margins", "binary32", SPECS[1]),
        ("pairs", "bfloat16", SPECS[1]),
    ],
    ids=lambda v: v if isinstance(v, str) else f"{v.epsilon}-{v.gamma}",
)
def test_the_filter_never_says_otherwise_than_the_balls(kind, name, spec, one_thread):
    space, rng = Space(kind, name), random.Random(1)
    judge = Judge(space, spec)
    asked: list[tuple[str, int]] = []
    certify = judge.certified

    for place in places(space, 40):
        balls = evaluate_balls(space.case(place, spec), bits=120, floor=-400, max_bits=1 << 14)
        value, slope = float(enclosure(balls.value[0])), float(enclosure(balls.gradient[0][1]))
        seen = [wrong_in_every_way(v, space.format, rng) for v in (value, -slope, slope)]
        logits = torch.tensor([space.numbers(place)], dtype=torch.float64)
        hearing = Hearing(judge)
        rows = torch.tensor([seen], dtype=torch.float64)
        hearing.add(place, logits, rows[:, 0], rows[:, 1:])
        for quantity, observed in (("value", seen[:1]), ("gradient", seen[1:])):
            tally = hearing.result()[quantity]
            ulps, ratio, grade = certify(place, quantity, observed)
            if (grade, ulps, sum(tally.counts[1])) == (Grade.ACCURATE, 1.0, 1):
                grade = Grade.FAITHFUL  # less than one by too little for the balls' figure, which is rounded up
            context = (space.name(place), space.numbers(place), quantity, observed)
            assert sum(tally.counts[GRADES.index(grade)]) == 1, (context, tally.counts, grade)
            assert tally.first[GRADES.index(grade)] == place
            assert tally.ulps_at_most >= ulps, context
            assert tally.ratios_at_most >= ratio * (1 - 1e-9), context
            asked.append((quantity, tally.by_balls))
    assert sum(n for _, n in asked) < len(asked) / 4  # and it decides nearly all of them by itself


def margins_heard(subject, spec=SPECS[0], *, gradient=True, name="bfloat16"):
    """All margins of a format, answered by a subject, before a judge."""
    space = Space("margins", name)
    hearing = Hearing(Judge(space, spec))
    logits = space.logits(0, space.size).requires_grad_()
    value = subject(logits, torch.zeros(space.size, dtype=torch.int64), *spec.epsilon, reduction="none")
    slopes = torch.autograd.grad(value, logits, torch.ones_like(value))[0].double() if gradient else None
    hearing.add(0, logits.detach().double(), value.detach().double(), slopes)
    return space, hearing.result()


def test_a_single_wrong_number_is_found_by_its_place(one_thread):
    space, sound = margins_heard(subjects.textbook, gradient=False)
    _, found = margins_heard(subjects.planted, gradient=False)
    spot = space.format.encode(subjects.SPOT)
    assert space.name(spot) == "0x4123"
    for counts, before in zip(found["value"].counts, sound["value"].counts, strict=True):
        assert abs(sum(counts) - sum(before)) <= 1
    # Certainly right predictions of the textbook's form are off by more: where it is exact, two ulps stand out.
    right = Hearing(Judge(space, SPECS[0]))
    logits = space.logits(spot - 100, spot + 100)
    exact = [
        float(enclosure(evaluate_balls(space.case(p, SPECS[0]), bits=60, floor=-200, max_bits=4096).value[0]))
        for p in range(spot - 100, spot + 100)
    ]
    rounded = torch.tensor([space.format.round(v) for v in exact], dtype=torch.float64)
    rounded[100] = space.format.after(space.format.after(rounded[100].item()))
    right.add(spot - 100, logits.double(), rounded, None)
    worst = right.result()["value"].ulps[0]
    assert (worst.place, worst.size > 1.5) == (spot, True)
    assert found["value"].judged == sound["value"].judged == 65536 - 256


def test_what_overflows_is_broken_and_what_the_textbook_does_is_not(one_thread):
    space, sound = margins_heard(subjects.textbook)
    _, found = margins_heard(subjects.without_max)
    bad = [GRADES.index(Grade.DEGRADED), GRADES.index(Grade.BROKEN)]
    for quantity in ("value", "gradient"):
        assert not any(sum(sound[quantity].counts[g]) for g in bad)
        assert sum(found[quantity].counts[GRADES.index(Grade.BROKEN)]) > 1000
        first = found[quantity].first[GRADES.index(Grade.BROKEN)]
        assert math.isfinite(space.numbers(first)[0])
    assert math.isinf(found["value"].ulps_at_most)


def test_ranges_merge_to_the_same_in_any_order(one_thread):
    space, judge = Space("margins", "bfloat16"), Judge(Space("margins", "bfloat16"), SPECS[0])
    tallies: list[Tally] = []
    for start in range(0, space.size, 1 << 14):
        hearing = Hearing(judge)
        logits = space.logits(start, start + (1 << 14))
        value = subjects.textbook(logits, torch.zeros(1 << 14, dtype=torch.int64), 1.0, "none")
        hearing.add(start, logits.double(), value.double(), None)
        tallies.append(hearing.result()["value"])
    a, b, c, d = tallies
    assert a.merged(b).merged(c.merged(d)) == d.merged(c).merged(b).merged(a)
    assert a.merged(empty(len(Grade), len(a.counts[0]))) == a


def test_candidates_keep_the_worst_and_say_how_bad_it_can_be():
    rng = random.Random(0)
    sizes = [rng.random() for _ in range(1000)]
    kept = Candidates()
    for start in range(0, 1000, 100):
        part = torch.tensor(sizes[start : start + 100], dtype=torch.float64)
        kept.add(part, torch.arange(start, start + 100), torch.zeros(100, 1, dtype=torch.float64))
    order = sorted(range(1000), key=lambda i: -sizes[i])
    assert [c.place for c in kept.kept] == order[: hearings._CANDIDATES]
    assert kept.most == max(sizes)
    kept.add(torch.tensor([math.inf]), torch.tensor([5000]), torch.tensor([[math.nan]]))
    assert (kept.most, kept.kept[0].place) == (math.inf, 5000)


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("logits", "law", "good", "bad"),
    [
        ((NAN, 0.0), UNDEFINED, [NAN], [0.0]),
        ((0.0, NAN), UNDEFINED, [NAN], [INF]),
        ((-INF, -INF), UNDEFINED, [NAN], [0.0]),
        ((0.0, -INF), IMPOSSIBLE_OTHER, [0.0], [NAN]),
        ((-INF, 0.0), IMPOSSIBLE_TARGET, [INF], [NAN]),
        ((INF, 0.0), UNBOUNDED, [NAN], [1.0]),
        ((INF, 0.0), UNBOUNDED, [0.0], [INF]),
        ((0.0, INF), UNBOUNDED, [INF], [0.0]),
        ((0.0, -INF), IMPOSSIBLE_OTHER, [0.0, 0.0], [-1.0, 1.0]),
        ((-INF, 0.0), IMPOSSIBLE_TARGET, [-1.0, 1.0], [0.0, NAN]),
        ((NAN, NAN), UNDEFINED, [NAN, 0.0], [0.0, 0.0]),
    ],
)
def test_laws_of_logits_that_are_no_numbers(logits, law, good, bad):
    rows = torch.tensor([logits, logits], dtype=torch.float64)
    tally = empty(len(Grade), 7)
    judge_special(tally, torch.tensor([40, 41]), rows, torch.tensor([good, bad], dtype=torch.float64))
    assert list(tally.special) == [law]
    assert (tally.special[law].kept, tally.special[law].broken, tally.special[law].first) == (1, 1, 41)


def test_where_nothing_bounds_the_tolerance_nothing_is_ranked(one_thread):
    """The gradient of a focal loss with gamma below 1 has no tolerance at certainty; the others keep their order."""
    space, spec = Space("margins", "bfloat16"), Spec(epsilon=(-1.0,), gamma=0.5)
    judge, start, stop = Judge(space, spec), 0x4000, 0x4200
    logits = space.logits(start, stop).requires_grad_()
    target = torch.zeros(stop - start, dtype=torch.int64)
    value = poly_cross_entropy(logits, target, spec.epsilon, gamma=0.5, reduction="none")
    slopes = torch.autograd.grad(value, logits, torch.ones_like(value))[0].double()
    hearing = Hearing(judge)
    hearing.add(start, logits.detach().double(), value.detach().double(), slopes)
    found = hearing.result()["gradient"]
    ratios = [(judge.certified(start + i, "gradient", row)[1], start + i) for i, row in enumerate(slopes.tolist())]
    due = sorted(ratios, key=lambda pair: (-pair[0], pair[1]))
    assert [(w.size, w.place) for w in found.ratios] == due[:3]
    assert found.ratios_at_most < 2 * due[0][0]


def test_every_part_counts_for_the_laws(one_thread):
    """A law that is broken in one part stays so, whatever the next one does."""
    space = Space("pairs", "bfloat16")
    hearing = Hearing(Judge(space, SPECS[0]))
    start = 0x0000_7F80  # (0, inf), and NaN from then on
    for part, answer in ((start, 1.0), (start + 4, NAN), (start + 8, NAN)):
        logits = space.logits(part, part + 4).double()
        hearing.add(part, logits, torch.full((4,), answer, dtype=torch.float64), None)
    special = hearing.result()["value"].special
    assert (special[UNDEFINED].kept, special[UNDEFINED].broken, special[UNDEFINED].first) == (8, 3, start + 1)
    assert (special[UNBOUNDED].kept, special[UNBOUNDED].broken, special[UNBOUNDED].first) == (0, 1, start)


def test_errors_are_polyref_s_own():
    with pytest.raises(PolyrefError):
        Space("margins", "nothing")
