"""The document of a self-test, and what is drawn from it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from report.hostile import PAYLOAD
from report.test_html import Page

from polyref.errors import UsageError
from polyref.report import selftest as doc
from polyref.report import selftest_html as html
from polyref.report import selftest_summary as summary
from polyref.report import selftest_terminal as terminal
from polyref.report import structs
from polyref.report.screen import Screen

from .example import build, failure, pair

FAILED = build(
    failures=[
        failure(),
        failure(
            kind="accused", subject="textbook", law="one", text="one accuses textbook.", case="binary64 logits [0]"
        ),
    ]
)


def test_round_trip(tmp_path: Path) -> None:
    for document in (build(), FAILED):
        doc.write(document, tmp_path / "s.json")
        assert doc.read(tmp_path / "s.json") == document


def test_a_line_for_each_pair() -> None:
    data = doc.dumps(build())
    assert list(json.loads(data))[:3] == ["schema", "environment", "settings"]
    lines = data.decode().splitlines()
    assert '{"law":"two","subject":"gamma","reason":"","trials":{"binary64":["killed",2,2e14,"0.25"]}},' in [
        line.replace("200000000000000.0", "2e14") for line in lines
    ]
    assert '"inf"' in data.decode()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.replace("selftest/1", "selftest/9"), "has the schema 'polyref-selftest/9'"),
        (lambda t: t.replace('"killed"', '"slain"'), "is no self-test document"),
        (lambda t: t[:-20], "is no whole JSON file"),
    ],
)
def test_what_is_no_document(tmp_path: Path, change: Any, says: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(change(doc.dumps(build()).decode()))
    with pytest.raises(UsageError) as caught:
        doc.read(path)
    assert f"{path} {says}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_type_is_told() -> None:
    with pytest.raises(TypeError, match="does not follow polyref-selftest/1"):
        doc.dumps(build(settings=msgspec.structs.replace(build().settings, seed="x")))


def test_exit_codes() -> None:
    assert build().exit_code == 0
    assert FAILED.exit_code == 1
    assert build(kills=[pair("one", "alpha", "i25", "t3")], variant_trials=[]).exit_code == 3


def test_what_it_comes_to() -> None:
    d = build()
    assert summary.trials(d) == {
        "killed": 7, "survived": 3, "inconclusive": 2, "timed_out": 1, "not_applicable": 2, "not_tried": 3,
    }  # fmt: skip
    assert summary.killers(d) == {"alpha": ["one", "two", "three"], "beta": ["one"], "gamma": ["one", "two"]}
    assert summary.alone(d) == {"beta": "one"}
    assert summary.redundant(d) == ["two", "three"]
    assert summary.slowest(d, 1) == [("one", 2.0)]
    # alpha: 1 by the law that needs the fewest, 25 + 3 in an audit, kills by 3 and 1; beta: 10, 10, 10.
    assert summary.cost(d) == summary.Cost(fewest=5.5, audit=19.0, kill=3, largest=(10, "beta"))
    assert summary.cost(build(kills=[])) == summary.Cost(None, None, None, None)


def printed(d: doc.SelfTest, width: int = 80) -> str:
    stream = io.StringIO()
    terminal.render(d, Screen(file=stream, width=width))
    return stream.getvalue()


def test_the_terminal() -> None:
    out = printed(build())
    assert "✓ Every mutant is killed wherever that is due" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["binary64", "3", "3", "3", "3"] in rows
    assert ["bfloat16", "3", "0", "1", "0"] in rows
    assert "7 killed, 3 survived, 2 inconclusive, 1 timed out, 2 not applicable, 3 not tried" in " ".join(out.split())
    assert "beta (one)" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    out = printed(FAILED)
    assert "✗ 2 failures: 3 laws, 3 mutants, 2 formats" in out
    assert re.search(r"survived +No law kills beta in binary64\.", out)
    assert re.search(r"accused +one accuses textbook\.\n +binary64 logits \[0\]\n", out)
    few = build(settings=msgspec.structs.replace(build().settings, complete=False))
    assert "✓ Nothing failed: 3 laws" in printed(few)
    assert "? Nothing was measured: " in printed(build(kills=[], variant_trials=[]))


def poisoned(value: Any, key: str = "") -> Any:
    closed = {"schema", "verdict", "formats", "kind", "expected", "binary64", "bfloat16"}
    if isinstance(value, str):
        return value if key in closed else f"{value} {PAYLOAD}"
    if isinstance(value, dict):
        return {k: poisoned(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(v, key) for v in value]
    return value


def hostile() -> doc.SelfTest:
    """The failed example with the payload in every open string."""
    plain = poisoned(structs.plain(FAILED))
    for p in (*plain["kills"], *plain["variant_trials"]):
        p["trials"] = {f: [*t[:3], f"{t[3]} {PAYLOAD}"] for f, t in p["trials"].items()}
    return doc.loads(json.dumps(plain).encode())


@pytest.mark.parametrize("d", [build(), FAILED, hostile(), build(mutants=[], kills=[], variants=[], variant_trials=[])])
def test_the_page_is_well_formed_and_self_contained(d: doc.SelfTest) -> None:
    source = html.render(d)
    assert source == html.render(d)
    page = Page(source)
    assert not set(page.tags) & {"script", "img", "link", "iframe", "object", "embed", "form", "base", "svg", "a"}
    names = {name for _, name, _ in page.attributes}
    assert not any(n.startswith("on") for n in names)
    assert not names & {"style", "src", "href"}
    assert "url(" not in page.style
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert any(f"style-src 'sha256-{digest}'" in v for v in page.values("content"))
    for char in "\x1b\x00\u202e\u200b":
        assert char not in source


def test_the_matrix() -> None:
    page = Page(html.render(build()))
    titles = page.values("title")
    assert (
        "one · alpha\nbinary64: survived 25 examples, error up to 0.500 × tolerance\n"
        "bfloat16: killed after 4 examples, error 2.00×10¹⁴ × tolerance, 0.25"
    ) in titles
    assert "three · beta\nnot applicable: it takes no class weights" in titles
    assert (
        "two · gamma\nbinary64: killed after 2 examples, error 2.00×10¹⁴ × tolerance, 0.25\nbfloat16: not tried"
        in titles
    )
    classes = [v for tag, name, v in page.attributes if (tag, name) == ("i", "class")]
    assert classes.count("k5") == 2  # in the legend, and gamma by the thirtieth example of one
    assert classes.count("qt") == 2
    assert [v for tag, _, v in page.attributes if tag == "th" and v == "failed"] == []
    assert [v for tag, _, v in Page(html.render(FAILED)).attributes if tag == "th" and v == "failed"] == ["failed"] * 2


def test_a_hostile_page_shows_what_it_was_given() -> None:
    page = Page(html.render(hostile()))
    assert "<script>alert(1)</script>" in page.text
    assert any("<script>alert(1)</script>" in title for title in page.values("title"))
    assert "⟨U+202E⟩" in page.text
    out = printed(hostile())
    assert "\x1b[95m" not in out
    assert "⟨U+001B⟩" in out
