"""What is read out of a history: steps where they were planted and nowhere else, and the documents' numbers."""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from report.example import build, finding

from polyref.case import Case
from polyref.errors import NothingMeasured, UsageError
from polyref.history import runs, series, store
from polyref.report import history as doc
from polyref.report.document import Document, Grade
from polyref.report.history import Change, Flip, Series, Step

from .example import REPLACE, every, run, write

TARGET = build().subject.target


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "h.sqlite"


def kept(db: Path, documents: list[Document], *, order: list[int] | None = None) -> doc.Target:
    """The documents added one after the other, and what is read of them."""
    paths = write(db.parent, documents)
    for i in order or range(len(paths)):
        runs.add([paths[i]], db=db)
    return series.read(db).targets[0]


def at(where: str, **changes: float | str) -> Callable[[Grade], dict[str, float | str]]:
    """Changes one grade, the one of this quantity, format and regime."""
    return lambda g: dict(changes) if f"{g.quantity} {g.format} {g.regime}" == where else {}


def test_nothing_moves_where_nothing_changes(db: Path) -> None:
    target = kept(db, [run(i) for i in range(5)])
    assert (target.runs, target.moves) == (5, [])
    assert [(s.quantity, s.format, s.device, s.regime, s.runs) for s in target.series] == [
        (quantity, format, "cpu", "all", 5) for quantity in ("value", "gradient") for format in ("binary32", "bfloat16")
    ]
    assert not any(s.shifts for s in target.series)
    assert target.first.started == "2026-01-01T12:00:00Z"
    assert target.last.started == "2026-01-05T12:00:00Z"


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]])
def test_steps_are_found_where_they_were_planted(order: list[int], db: Path) -> None:
    """Whatever the order in which the runs were added, the one of their times counts."""
    worse = at("value bfloat16 all", max_ulp=2.5, max_ratio=0.9, grade="textbook")
    tiny = at("gradient binary32 all", max_ulp=math.nextafter(0.77 * 2.75, 9))
    broken = [finding("a", "violated", ratio=3.0), *build().findings]
    held = [finding("a", "holds", ratio=0.5), *build().findings]
    target = kept(
        db,
        [
            run(0, findings=held),
            run(1, findings=held),
            run(2, findings=held, grade=worse, torch="2.14.0", machine="another"),
            run(3, findings=broken, grade=worse, torch="2.14.0", machine="another", seed=5),
            run(4, findings=broken, torch="2.14.0", machine="another", seed=5),
            run(5, findings=broken, grade=tiny, torch="2.14.0", machine="another", seed=5),
        ],
        order=order,
    )
    five, four, three, two = target.moves
    days = [(m.before.started[8:10], m.run.started[8:10]) for m in target.moves]
    assert days == [("05", "06"), ("04", "05"), ("03", "04"), ("02", "03")]
    common = {"device": "cpu", "regime": "all"}
    assert two.steps == [
        Step(
            quantity="value",
            format="bfloat16",
            grade=("faithful", "textbook"),
            ulp=(0.31 * 2.75, 2.5),
            ratio=(0.31, 0.9),
            **common,
        )
    ]
    assert (two.flips, two.steps[0].direction) == ([], "worse")
    assert two.changed == [
        Change(what="torch", old="2.13.0+cpu", new="2.14.0"),
        Change(what="machine", old="x86_64", new="another"),
    ]
    assert three.flips == [
        Flip(law="a", format="binary32", device="cpu", verdict=("holds", "violated"), ratio=(0.5, 3.0))
    ]
    assert (three.steps, three.flips[0].direction) == ([], "worse")
    assert three.changed == [Change(what="seed", old="0", new="5")]
    assert (four.changed, four.flips) == ([], [])
    assert [s.direction for s in four.steps] == ["better"]
    assert (five.flips, len(five.steps)) == ([], 1)
    assert five.steps[0].ratio == (0.77, 0.77)
    assert five.steps[0].direction == "worse"
    shifts = {(s.column, c.what) for one in target.series for s in one.shifts for c in s.changed}
    assert shifts == {(2, "torch"), (2, "machine")}


def test_courses(db: Path) -> None:
    ulps = [3.0, 1.0, 7.0, 1.0, 7.0, 2.0]
    documents = [run(i, grade=every(max_ulp=u, max_ratio=u / 8, case={"n": u})) for i, u in enumerate(ulps)]
    target = kept(db, documents)
    for one in target.series:
        assert (one.ulp.first, one.ulp.last, one.ulp.best, one.ulp.worst) == (3.0, 2.0, 1.0, 7.0)
        assert (one.ulp.best_run, one.ulp.worst_run) == (2, 3)
        assert one.ulp.trend == [(u, u) for u in ulps]
        assert one.ratio.trend == [(u / 8, u / 8) for u in ulps]
        assert one.worst_case == {"n": 7.0}


def test_many_runs_share_columns(db: Path, tmp_path: Path) -> None:
    """Columns hold every run once, in the order of time."""
    rng, n = random.Random(1), 3 * doc.COLUMNS - 7
    ulps = [rng.random() for _ in range(n)]
    ulps[200] = math.nan
    documents = [run(i, grade=every(max_ulp=u)) for i, u in enumerate(ulps[:1])]
    runs.add(write(tmp_path, documents), db=db)
    with closing(sqlite3.connect(db)) as connection, connection:
        for i, u in enumerate(ulps[1:], start=1):
            connection.execute(
                "INSERT INTO run SELECT ?, ?, target, name, printf('%06d', ?), label, environment, profile, seed,"
                " formula, outcome, verdict FROM run WHERE id = 1",
                (i + 1, str(i), 300000 + i),
            )
            connection.execute(
                "INSERT INTO grade SELECT series, ?, grade, ?, max_ratio, worst_case FROM grade WHERE run = 1",
                (i + 1, "nan" if math.isnan(u) else u),
            )
    (target,) = series.read(db).targets
    for one in target.series:
        trend = one.ulp.trend
        assert len(trend) == doc.COLUMNS
        stretches = [ulps[-(-n * c // doc.COLUMNS) : -(-n * (c + 1) // doc.COLUMNS)] for c in range(doc.COLUMNS)]
        for (low, high), stretch in zip(trend, stretches, strict=True):
            finite = [v for v in stretch if not math.isnan(v)]
            assert low == min(finite)
            assert math.isnan(high) if len(finite) < len(stretch) else high == max(stretch)
    assert len(target.moves) == n - 1


def test_a_run_that_did_not_measure_is_skipped(db: Path) -> None:
    """A grade is compared with that of the last run which had it."""
    worse = at("value bfloat16 all", max_ulp=9.0)
    target = kept(
        db,
        [run(0), run(1, grades=[g for g in build().grades if g.format == "binary32"]), run(2, grade=worse)],
    )
    (move,) = target.moves
    assert (move.before.id, move.run.id) == (1, 3)
    assert {s.format: s.runs for s in target.series} == {"binary32": 3, "bfloat16": 2}


def test_what_is_asked_for(db: Path) -> None:
    paths = write(db.parent, [run(0), run(0, target="other:Loss"), run(1, grade=every(max_ulp=50.0))])
    runs.add(paths, db=db)
    assert [t.target for t in series.read(db).targets] == [TARGET, "other:Loss"]
    (target,) = series.read(db, target=TARGET, quantities=("gradient",), formats=("bfloat16",), regimes=True).targets

    def key(s: Series | Step) -> tuple[str, str, str]:
        return s.quantity, s.format, s.regime

    wanted = [("gradient", "bfloat16", g.regime) for g in build().grades[:7]]
    assert [key(s) for s in target.series] == wanted
    assert [key(s) for s in target.moves[0].steps] == wanted
    (other,) = series.read(db, target="other:Loss").targets
    assert (other.runs, other.moves) == (1, [])
    for options, line in (
        ({"target": "other:Los"}, r"no target in .*h.sqlite is called 'other:Los': choose other:Loss"),
        ({"quantities": ("values",)}, "no quantity is called 'values': choose value"),
        ({"formats": ("binary16",)}, "no format in .* is called 'binary16': choose binary32"),
    ):
        with pytest.raises(UsageError, match=line):
            series.read(db, **options)  # type: ignore[arg-type]


def test_a_history_without_runs(db: Path) -> None:
    with store.writing(db, create=True):
        pass
    with pytest.raises(NothingMeasured, match=r"has no run: polyref history add RUN.json adds one"):
        series.read(db)
    assert runs.runs(db) == []


def test_devices_are_series_of_their_own(db: Path) -> None:
    cuda = [*build().grades, *(REPLACE(g, device="cuda") for g in build().grades)]
    target = kept(db, [run(0), run(1, grades=cuda)])
    assert target.moves == []
    assert [(s.device, s.runs) for s in target.series] == [("cpu", 2), ("cpu", 2), ("cuda", 1), ("cuda", 1)] * 2


def test_the_document_is_read_back(db: Path) -> None:
    documents = [run(0), run(1, grade=every(max_ulp=math.inf, max_ratio=math.inf), torch=None)]
    kept(db, documents)
    history = series.read(db, regimes=True)
    assert doc.loads(doc.dumps(history)) == history
    case = history.targets[0].series[0].worst_case
    assert case is not None
    assert Case.from_json(case) == Case.from_json(build().grades[0].case or {})
    with pytest.raises(UsageError, match="this polyref reads 'polyref-history/1'"):
        doc.loads(b'{"schema": "polyref-history/2"}')


@pytest.mark.parametrize(
    ("ulp", "ratio", "grade", "direction"),
    [
        ((1.0, 2.0), (0.5, 0.5), ("faithful", "faithful"), "worse"),
        ((1.0, 2.0), (0.5, 0.4), ("faithful", "faithful"), "changed"),
        ((2.0, 1.0), (0.5, 0.4), ("accurate", "faithful"), "better"),
        ((1.0, 1.0), (0.5, 0.5), ("accurate", "broken"), "worse"),
        ((math.inf, math.nan), (math.inf, math.inf), ("broken", "broken"), "worse"),
        ((math.nan, math.inf), (math.nan, math.nan), ("broken", "broken"), "better"),
        ((1.0, 1.0), (0.5, 0.5), ("what", "ever"), "changed"),
    ],
)
def test_directions(
    ulp: tuple[float, float], ratio: tuple[float, float], grade: tuple[str, str], direction: str
) -> None:
    step = Step(quantity="value", format="f", device="cpu", regime="all", grade=grade, ulp=ulp, ratio=ratio)
    assert step.direction == direction


def test_another_processor_and_another_choice_are_told(db: Path) -> None:
    worse = at("value bfloat16 all", max_ulp=2.5, grade="textbook")
    other = run(1, grade=worse, processor="Another CPU")
    other = REPLACE(other, settings=REPLACE(other.settings, init={"epsilon": "2.0"}))
    (move,) = kept(db, [run(0), other], order=[0, 1]).moves
    assert move.changed == [
        Change(what="machine", old="x86_64", new="x86_64, Another CPU"),
        Change(what="profile", old="default, num_classes=3", new="default, epsilon=2.0"),
    ]
