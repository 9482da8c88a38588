"""A history at a terminal and as a page: the numbers are there, and nothing that a subject wrote is more than text."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from report.example import build
from report.hostile import PAYLOAD, hostile
from report.test_html import Page

from polyref import cli
from polyref.history import runs, series
from polyref.report import document as doc
from polyref.report import history_html, history_terminal
from polyref.report.history import Course, Flip, History, Step
from polyref.report.history_chart import chart
from polyref.report.screen import ASCII, plain

from .example import REPLACE, every, run, write


@pytest.fixture
def history(tmp_path: Path) -> History:
    """A step, a flip, an infinity, another torch."""
    worse = {"max_ulp": math.nan, "max_ratio": 1e9}
    documents = [
        run(0),
        run(1, torch="2.14.0"),
        run(2, torch="2.14.0", grade=lambda g: worse if g.quantity == "value" else {}),
    ]
    documents[1] = REPLACE(
        documents[1], findings=[REPLACE(f, verdict="violated", ratio=7.5) for f in documents[1].findings[:1]]
    )
    runs.add(write(tmp_path, documents), db=tmp_path / "h.sqlite", label="nightly")
    return series.read(tmp_path / "h.sqlite")


def test_terminal(history: History) -> None:
    text = plain(lambda console: history_terminal.render(history, console), width=80)
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "losses/poly.py:Poly1CrossEntropyLoss",
        "3 runs, 2026-01-01 to 2026-01-03; polyref 0.1.0; torch 2.13.0+cpu to 2.14.0",
        "Something moved at 2 runs, newest first",
        "2026-01-03 12:00  run 3 (nightly), after run 2 (nightly)",
        "value, binary32: ∞ → NaN ulp, ∞ → 1.00e9 × tolerance",
        "changed: torch 2.13.0+cpu → 2.14.0",
        "worse  eps-zero-is-cross-entropy, binary32: holds → violated, 0.410 → 7.50 × tolerance",
        "better  eps-zero-is-cross-entropy, binary32: violated → holds",
        "! in a trend is an error that is infinite or NaN.",
    ):
        assert " ".join(part.split()) in " ".join(text.split())
    assert text.index("2026-01-03 12:00") < text.index("2026-01-02 12:00")


def test_numbers_that_three_digits_do_not_tell_apart() -> None:
    common = {"quantity": "value", "format": "f", "device": "cpu", "regime": "all", "grade": ("faithful", "faithful")}
    step = Step(ulp=(0.5, math.nextafter(0.5, 1)), ratio=(0.25, 0.25), **common)  # type: ignore[arg-type]
    assert history_terminal.said(step) == "0.5 → 0.5000000000000001 ulp, 0.250 × tolerance"
    flip = Flip(law="a", format="", device="cuda", verdict=("not_applicable", "holds"), ratio=(None, 0.5))
    assert history_terminal.said(flip) == "not applicable → holds"
    assert (history_terminal.law_of(flip), flip.direction) == ("a, cuda", "changed")


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([1.0, 1.0, 1.0], "▁▁▁"),
        ([1.0, 1.001], "▁▁"),
        ([1.0, 10.0, 100.0], "▁▅█"),
        ([0.0, 1.0, math.inf, math.nan], "▁▁!!"),
        ([math.inf], "!"),
        ([5e-324, 1.7e308], "▁█"),
        ([1.0, 100.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], "█▁▁▁▁"),
    ],
)
def test_trends(values: list[float], bars: str) -> None:
    course = Course(first=0.0, last=0.0, best=0.0, worst=0.0, best_run=1, worst_run=1, trend=[(v, v) for v in values])
    assert history_terminal.spark(course, 5) == bars
    assert len({*"▁▂▃▄▅▆▇█"} & {*ASCII}) == 8


def test_page(history: History) -> None:
    source = history_html.render(history)
    page = Page(source)
    assert source == history_html.render(history)
    assert not set(page.tags) & {"script", "img", "link", "iframe", "object", "embed", "form", "base", "image", "use"}
    names = {attribute for _, attribute, _ in page.attributes}
    assert not any(n.startswith("on") for n in names)
    assert not names & {"style", "src", "srcset", "action", "href", "xlink:href"}
    assert "http" not in source.replace('http-equiv="', "")
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    for labels in page.values("aria-labelledby"):
        assert set(labels.split()) <= set(ids)
    flat = " ".join(page.text.split())
    for part in (
        "Something moved at 2 runs",
        "2 of 6 broken",
        "value, binary32: worst error, run after run",
        "run 2: torch 2.13.0+cpu → 2.14.0",
        "eps-zero-is-cross-entropy, binary32 holds → violated, 0.410 → 7.50 × tolerance",
        "∞ → NaN ulp, ∞ → 1.00×10⁹ × tolerance",
        "NaN",
    ):
        assert part in flat
    assert source.count('class="strip course"') == 4


def test_hostile_strings_stay_text(tmp_path: Path) -> None:
    one = hostile()
    one = REPLACE(one, settings=REPLACE(one.settings, started="2026-01-01T00:00:00Z"))
    two = REPLACE(
        one,
        settings=REPLACE(one.settings, started="2026-01-02T00:00:00Z"),
        environment=REPLACE(one.environment, machine=f"other {PAYLOAD}"),
        findings=[REPLACE(f, verdict="inconclusive") for f in one.findings],
        grades=[REPLACE(g, max_ulp=77.0) for g in one.grades],
    )
    runs.add(write(tmp_path, [one, two]), db=tmp_path / "h.sqlite", label=PAYLOAD)
    history = series.read(tmp_path / "h.sqlite")
    source = history_html.render(history)
    page = Page(source)
    assert not set(page.tags) & {"script", "img"}
    assert "&lt;script&gt;" in source
    assert "{{ 7 * 191 }}" in page.text
    text = plain(lambda console: history_terminal.render(history, console))
    listed = plain(lambda console: history_terminal.list_runs(runs.runs(tmp_path / "h.sqlite"), console))
    for shown in (source, text, listed):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066\u200b\ufeff]", shown)
        assert "⟨U+202E⟩" in "".join(shown.split())
    assert "[red]no[/red]" in text


def test_a_history_of_many_moves_stays_small(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_html, "MOST_MOVES", 6)
    monkeypatch.setattr(history_html, "MOST_LINES", 4)
    (target,) = history.targets
    move = target.moves[0]
    crowded = REPLACE(move, steps=move.steps * 10)
    many = REPLACE(history, targets=[REPLACE(target, moves=[crowded] * 2000)])
    page = Page(history_html.render(many))
    assert page.tags.count("article") == 6
    assert "and 1,994 earlier runs in the document" in page.text
    assert f"and {10 * len(move.steps) - 4:,} more in the document" in page.text
    text = plain(lambda console: history_terminal.render(many, console))
    assert "and 1,990 earlier runs: --json FILE has them all" in text


@pytest.mark.parametrize(
    "trend",
    [
        [(0.5, 0.5)],
        [(0.0, 0.0), (1e300, 1e300)],
        [(1.0, math.inf)],
        [(math.nan, math.nan)],
        [(5e-324, 1.7e308), (math.inf, math.nan), (2.0, 3.0)],
        [(1.0, 2.0)] * 120,
    ],
)
def test_every_line_is_inside_the_chart(trend: list[tuple[float, float]], history: History) -> None:
    one = history.targets[0].series[0]
    course = REPLACE(one.ulp, trend=trend)
    drawn = chart(REPLACE(one, ulp=course, ratio=course, shifts=[]))
    for line in drawn.lines:
        for path in filter(None, (line.path, line.band)):
            for letter, numbers in re.findall(r"([MLHV])([^MLHVZ]*)", path):
                values = [float(v) for v in numbers.split()]
                across, up = (values[:1], values[1:]) if letter in "MLH" else ([], values)
                assert all(drawn.left <= v <= drawn.right + 0.1 for v in across)
                assert all(drawn.top <= v <= drawn.bottom for v in up)
        assert bool(line.band) == any(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in trend)
    assert 2 <= len(drawn.ticks) <= 7
    assert all(t.label for t in drawn.ticks)
    assert any(t.label == "1" and t.y == drawn.one for t in drawn.ticks)


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Done]:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("POLYREF_HISTORY", str(tmp_path / "kept.sqlite"))

    def one(*argv: object) -> Done:
        code = cli.run(["history", *map(str, argv)])
        return Done(code, *capsys.readouterr())

    return one


def test_commands(command: Callable[..., Done], tmp_path: Path) -> None:
    paths = write(tmp_path, [run(0), run(1, grade=every(max_ulp=9.0))])
    assert command("show").code == 2
    done = command("add", *paths, "--label", "first")
    assert (done.code, done.err) == (0, "")
    assert "run 2  2026-01-02 12:00" in done.out
    assert "2 runs added" in done.out
    again = " ".join(command("add", paths[0]).out.split())
    assert "run-000.json is there already, as run 1: not added again" in again
    assert "is as it was" in again
    listed = command("list").out
    assert listed.index("2026-01-02") < listed.index("2026-01-01")
    assert listed.count("first") == 2
    html, json = tmp_path / "out" / "h.html", tmp_path / "out" / "h.json"
    done = command("show", "--format", "binary32", "--quantity", "value", "--html", html, "--json", json)
    assert (done.code, done.err) == (0, "")
    assert "gradient" not in done.out
    assert "value, binary32" in html.read_text()
    assert b'"polyref-history/1"' in json.read_bytes()
    assert "removed run 1" in command("remove", 1).out
    assert "no run of" in command("remove", 1).err
    assert command("remove", 2).code == 0
    assert (command("show").code, command("list").code) == (3, 0)


def test_a_report_never_replaces_the_history(command: Callable[..., Done], tmp_path: Path) -> None:
    command("add", *write(tmp_path, [run(0)]))
    db, link = tmp_path / "kept.sqlite", tmp_path / "link"
    link.symlink_to(db)
    before = db.read_bytes()
    for option in ("--html", "--json"):
        for path in (db, link):
            done = command("show", option, path)
            assert done.code == 2
            assert "is the history itself: name another file for the report" in done.err
    assert db.read_bytes() == before


def test_each_error_is_one_line(command: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "kept.sqlite").write_text("no database")
    paths = write(tmp_path, [build()])
    for argv in (["show"], ["list"], ["add", *paths], ["remove", "1"], ["add", tmp_path / "no.json"], ["add"], ["x"]):
        done = command(*argv)
        assert done.code == 2
        assert done.out == ""
        assert done.err.startswith("polyref: ")
        assert done.err.count("\n") == 1
    assert (tmp_path / "kept.sqlite").read_text() == "no database"


def test_no_heavy_library_is_loaded(tmp_path: Path) -> None:
    (path,) = write(tmp_path, [run(0)])
    db, html = str(tmp_path / "h.sqlite"), str(tmp_path / "h.html")
    code = f"""
import sys
from polyref import cli
for argv in (["add", {str(path)!r}], ["show", "--html", {html!r}], ["list"], ["remove", "1"]):
    assert cli.run(["history", *argv, "--db", {db!r}]) == 0
heavy = {{n.partition(".")[0] for n in sys.modules}} & {{"torch", "numpy", "scipy", "hypothesis", "flint", "mpmath"}}
sys.exit(f"loaded {{sorted(heavy)}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert doc.read(path) == run(0)
