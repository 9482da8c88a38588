"""The HTML report: well-formed, self-contained, the same every time, and deaf to what a subject wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from polyref.errors import UsageError
from polyref.report import html
from polyref.report.chart import chart
from polyref.report.document import Grade
from polyref.report.summary import by_regime

from .example import build, finding
from .hostile import hostile

ALL = ("binary64", "binary32", "binary16", "bfloat16")
VOID = {"meta", "wbr"}


class Page(HTMLParser):
    """Checks that every element is closed in order, and collects what is to be asked about."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.style = ""
        self.scripts: list[str] = []
        self.data = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            if ("type", "application/json") in attrs:
                self.data = "expected"
            else:
                self.scripts.append("")
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        elif self.open and self.open[-1] == "script":
            if self.data == "expected":
                self.data = data
            else:
                self.scripts[-1] += data
        else:
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def index(*documents: object) -> str:
    return html.render_index([(d, f"a{i}.html", f"a{i}.json") for i, d in enumerate(documents)])  # type: ignore[misc]


PAGES: dict[str, Callable[[], str]] = {
    "rich": lambda: html.render(build(formats=ALL)),
    "two formats": lambda: html.render(build()),
    "hostile": lambda: html.render(hostile()),
    "empty": lambda: html.render(build(findings=[], grades=[])),
    "one law": lambda: html.render(build(findings=[finding("a", "holds")])),
    "index": lambda: index(build(formats=ALL), build(), build(findings=[], grades=[])),
    "hostile index": lambda: index(hostile()),
    "empty index": index,
}


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_well_formed_and_self_contained(name: str) -> None:
    source = PAGES[name]()
    page = Page(source)
    assert source == PAGES[name]()
    assert not set(page.tags) & {"img", "link", "iframe", "object", "embed", "form", "base", "image", "use"}
    names = {attribute for _, attribute, _ in page.attributes}
    assert not any(n.startswith("on") for n in names)
    assert not names & {"style", "src", "srcset", "action", "xlink:href"}
    assert "http" not in source.replace('http-equiv="', "").replace("https://github.com/leeoniya/uPlot", "")
    assert not any(re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import)\b|innerHTML|eval\(", s) for s in page.scripts)
    assert "url(" not in page.style
    assert "@import" not in page.style
    for link in page.values("href"):
        assert re.fullmatch(r"#finding-\d+|[\w%./-]+", link)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {v[1:] for v in page.values("href") if v.startswith("#")} <= set(ids)
    for labels in page.values("aria-labelledby"):
        assert set(labels.split()) <= set(ids)


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize(
    ("source", "scripts"),
    [
        (html.render(build()), 3),
        (html.render(hostile()), 3),
        (html.render(build(series=[])), 1),
        (html.render(build(findings=[])), 2),
        (html.render(build(findings=[], series=[])), 0),
        (index(build()), 0),
    ],
)
def test_the_policy_allows_what_the_page_needs_and_nothing_else(source: str, scripts: int) -> None:
    page = Page(source)
    assert len(page.scripts) == scripts
    allowed = f"script-src {' '.join(map(digest, page.scripts))}; " if scripts else ""
    policy = next(v for v in page.values("content") if v.startswith("default-src"))
    assert policy == f"default-src 'none'; style-src {digest(page.style)}; {allowed}base-uri 'none'; form-action 'none'"


def test_no_string_of_a_document_is_in_a_script() -> None:
    assert Page(html.render(hostile())).scripts == Page(html.render(build())).scripts


def test_it_opens_on_the_answer() -> None:
    text = Page(html.render(build())).text
    order = (
        "2 of 6 laws are broken",
        "w CE + ε (1 − Pt)²",
        "Accuracy",
        "Grades of every regime",
        "Error against Pt",
        "28 rows were graded; all are drawn.",
        "Distribution of the error",
        "Broken laws",
        "ε was added to the second term",
        "[[0x1.0p+1, 0x1.0p-1, 0x1.0p+0]]",
        "2.82412440094185636",
        "3.40×10⁵",
        "Use epsilon * (1 - pt)",
        "--law coefficient-j-is-one-over-j-plus-eps",
        "Laws that hold",
        "Not decided",
        "Not applicable",
        "How it is called",
        "TypeError: num_classes is missing",
        "Settings and environment",
        "2.13.0+cpu",
    )
    places = [text.index(word) for word in order]
    assert places == sorted(places)


def test_a_grade_is_a_word_and_a_colour() -> None:
    source = html.render(build())
    assert '<span class="chip correctly-rounded">correctly rounded</span>' in source
    assert '<span class="chip broken">broken</span>' in source


def test_hostile_strings_are_shown_as_they_are() -> None:
    source = html.render(hostile())
    text = Page(source).text
    for shown in (
        "<script>alert(1)</script>",
        "\"><img src=x onerror='alert(1)'>",
        "{{ 7 * 191 }}{% raw %}",
        "[red]no[/red]",
        "a⟨U+001B⟩[95mb⟨U+0000⟩c⟨U+007F⟩⟨U+009B⟩d",
        "⟨U+202E⟩gnp.exe⟨U+2066⟩⟨U+200B⟩⟨U+FEFF⟩",
    ):
        assert shown in text
    assert "1337" not in text
    assert not any(ord(c) < 32 and c != "\n" for c in source)


def test_a_long_command_is_not_cut() -> None:
    long = finding("a", "violated", reproduce="polyref audit " + "x" * 9000, explanation="y" * 9000)
    text = Page(html.render(build(findings=[long]))).text
    assert "x" * 9000 in text
    assert "y" * 9000 not in text


def test_several_devices() -> None:
    document = build()
    twice = [*document.grades, *(msgspec.structs.replace(g, device="cuda:0") for g in document.grades)]
    page = Page(html.render(build(grades=twice)))
    assert "Gradient on cuda:0" in page.text
    assert page.tags.count("figure") == 6
    samples = [*document.series, *(msgspec.structs.replace(s, device="cuda:0") for s in document.series)]
    page = Page(html.render(build(grades=twice, series=samples)))
    assert page.tags.count("figure") == 8
    assert len(json.loads(page.data)["charts"]) == 4


def test_the_distribution_has_all_formats_of_a_quantity_side_by_side() -> None:
    document = build()
    text = "".join(Page(html.render(document)).text.split())
    assert "Valueulpsbinary32bfloat16≤0.52,1002,100≤11,5071,507≤4310310≤641212>6411" in text
    mixed = [
        msgspec.structs.replace(g, histogram=[(2.0, 7)] if g.format == "binary32" else [(math.inf, 9)])
        for g in document.grades
    ]
    text = "".join(Page(html.render(build(grades=mixed))).text.split())
    assert "binary32bfloat16≤270>209" in text


def test_index_links_and_rows() -> None:
    entries = [(build(), "dir/a b.html", "javascript:alert(1)"), (build(findings=[finding("a", "holds")]), "b", "c")]
    page = Page(html.render_index(entries))
    assert page.values("href") == ["dir/a%20b.html", "javascript%3Aalert%281%29", "b", "c"]
    assert "1 of 2 subjects breaks a law" in page.text
    assert "2 of 6 broken" in page.text
    assert "coefficient-j-is-one-over-j-plus-eps, extreme-logits-stay-finite" in page.text


def test_writing(tmp_path: Path) -> None:
    html.write(build(), tmp_path / "out" / "a.html")
    html.write_index([(build(), "a.html", "a.json")], tmp_path / "out" / "index.html")
    assert (tmp_path / "out" / "a.html").read_text("utf-8") == html.render(build())
    with pytest.raises(UsageError, match="it is a folder"):
        html.write(build(), tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        html.write_index([], tmp_path / "out" / "a.html" / "index.html")


def test_reports_are_light() -> None:
    code = (
        "import sys, polyref.report.html, polyref.report.progress, polyref.report.terminal;"
        " print(sorted({'torch', 'hypothesis', 'numpy', 'flint', 'mpmath'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _grades(*ratios: float) -> list[Grade]:
    return [
        msgspec.structs.replace(by_regime(build())[0], regime=f"r{i}", format="binary32", max_ratio=r, max_ulp=r)
        for i, r in enumerate(ratios)
    ]


@pytest.mark.parametrize("ratios", [(0.5,), (0.0, 1e300), (math.inf,), (math.nan, 1e-30), (5e-324, 1e15, math.inf)])
def test_every_mark_is_inside_the_chart(ratios: tuple[float, ...]) -> None:
    grades = _grades(*ratios)
    drawn = chart("Value", grades, ["binary64", "binary32"], scale=grades)
    assert drawn is not None
    assert drawn.left <= drawn.one <= drawn.right <= drawn.width
    assert 2 <= len(drawn.ticks) <= 9
    assert any(t.label == "1" and t.x == drawn.one for t in drawn.ticks)
    assert all(re.fullmatch(r"0\.01|0\.1|1|10|100|∞|10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", t.label) for t in drawn.ticks)
    assert [name for name, _ in drawn.legend] == ["binary32"]
    for row in drawn.rows:
        for mark in row.marks:
            x = float(mark.path[1:].split()[0])
            assert drawn.left - 6 <= x <= drawn.right + 6


def test_a_chart_of_nothing() -> None:
    assert chart("Value", [], ["binary32"], scale=[]) is None


def test_a_long_regime_is_cut_in_the_label_only() -> None:
    grades = [msgspec.structs.replace(_grades(0.5)[0], regime="a regime of a very long name")]
    drawn = chart("Value", grades, ["binary32"], scale=grades)
    assert drawn is not None
    assert drawn.rows[0].label == "a regime of a very …"
    assert drawn.rows[0].marks[0].text.startswith("a regime of a very long name, binary32: 0.500 times")


def test_a_law_broken_in_several_formats_is_told_once_with_every_command() -> None:
    found = [
        finding("a-law", "violated", format=f, ratio=r, reproduce=f"polyref check --case {f}", case_text=f"case of {f}")
        for f, r in (("bfloat16", 10.9), ("binary64", 4e14), ("binary32", 7.4e5))
    ]
    source = html.render(build(findings=found))
    page = Page(source)
    assert source.count('<article class="finding"') == 1
    assert page.values("href") == ["#finding-1"]
    flat = " ".join(page.text.split())
    assert "a-law binary64, binary32, bfloat16" in flat
    assert "binary32 (7.40×10⁵ times the tolerance), bfloat16 (10.9)" in flat
    for f in found:
        assert f.reproduce in flat
        assert f.case_text in flat
    assert flat.index("case of binary64") < flat.index("case of binary32") < flat.index("case of bfloat16")


def test_subjects_of_one_name_are_told_apart_in_the_index() -> None:
    subject = build().subject
    pages = [build(subject=msgspec.structs.replace(subject, target=t)) for t in ("a.b:Loss", "c.d:Loss")]
    text = Page(index(*pages)).text
    assert "a.b:Loss" in text
    assert "c.d:Loss" in text
