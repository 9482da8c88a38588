"""The report in Markdown: it fits a comment, and nothing that a subject wrote is more than text in it.

What a parser makes of it is judged, not the source: GitHub's own rules are those of markdown-it's preset for it.
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from polyref.report import markdown, summary
from polyref.report.document import Document
from polyref.report.github import block, code, prose, shortened

from .example import build, finding
from .hostile import MARKS, PAYLOADS, hostile
from .kinds import COMMITTED, DOCUMENTS, committed, crowded, gated

GFM = MarkdownIt("gfm-like", {"linkify": False})
TAGS = {"h3", "p", "code", "pre", "strong", "b", "sub", "ul", "li", "details", "summary"} | {
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
#: What GitHub would make a mention, a reference, a link or an emoji of, outside of code.
FOUND = re.compile(r"@\w|#\d|\bgh-\d|://|\bwww\.|:[\w+-]+:", re.IGNORECASE)
SPACE = "\u200b"


class Page(HTMLParser):
    """What a browser sees: the tags in their order, and the text outside and inside of code."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.prose, self.code = "", ""
        self._open: list[str] = []
        self.feed(GFM.render(source))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "code" in self._open:
            self.code += data
        else:
            self.prose += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_but_text_comes_out_and_it_fits(name: str) -> None:
    source = markdown.render(DOCUMENTS[name]())
    assert source == markdown.render(DOCUMENTS[name]())
    assert len(source) <= markdown.LARGEST < 65_536
    source.encode()
    page = Page(source)
    assert set(page.tags) <= TAGS
    assert page.attributes == [("code", "class", "language-sh")] * page.tags.count("pre")
    assert page.tags.count("h3") == 1
    assert page.tags.count("table") <= 1
    assert not FOUND.search(page.prose)
    assert not any(ord(c) < 32 and c != "\n" for c in source)


@pytest.mark.parametrize("payload", [*PAYLOADS, *MARKS])
def test_a_payload_changes_no_structure(payload: str) -> None:
    assert Page(markdown.render(hostile(payload))).tags == Page(markdown.render(hostile("x"))).tags


def test_a_payload_is_shown_as_it_is() -> None:
    page = Page(markdown.render(hostile("<i>@octocat</i> [l](http://e) \u202e")))
    assert "<i>@octocat</i> [l](http://e) ⟨U+202E⟩" in page.prose.replace(SPACE, "")
    assert "<i>@octocat</i> [l](http://e) ⟨U+202E⟩" in page.code


def escaped(text: str) -> str:
    """As markdown-it writes text."""
    return html.escape(text, quote=False).replace('"', "&quot;")


NASTY = st.text(
    st.sampled_from("`*_~[]()<>!|\\&#;@:/.$-+=>{}\"' \t\r\n0123abwgh\x00\u202e\u200bé") | st.characters(), max_size=60
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(NASTY)
def test_any_text_is_that_text(text: str) -> None:
    shown = escaped(shortened(text, 600))
    assert GFM.render(f"x {prose(text)}").replace(SPACE, "") == f"<p>{f'x {shown}'.strip()}</p>\n"
    alone = GFM.render(prose(text)).replace(SPACE, "")
    assert alone == (f"<p>{shown}</p>\n" if shown else "")
    cells = f"| a | b |\n| --- | --- |\n| {prose(text)} | y |"
    assert f"<td>{shown}</td>\n<td>y</td>" in GFM.render(cells).replace(SPACE, "")
    inside = Page(f"<details><summary>{prose(text)}</summary>\n\nx\n\n</details>")
    assert inside.tags == ["details", "summary", "p"]
    assert inside.prose.replace(SPACE, "").startswith(shortened(text, 600))
    assert not FOUND.search(html.unescape(prose(text)))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(NASTY)
def test_any_code_is_that_code(text: str) -> None:
    shown = shortened(text, 600)
    if shown:
        assert GFM.render(f"x {code(text)}") == f"<p>x <code>{escaped(shown)}</code></p>\n"
    (token,) = GFM.parse(block(text, "sh"))
    assert (token.type, token.info) == ("fence", "sh")
    assert token.content.count("\n") == 1


@pytest.mark.parametrize("name", COMMITTED)
def test_what_the_committed_audits_say(name: str) -> None:
    document = committed(name)
    source = markdown.render(document)
    page = Page(source)
    assert len(source) < 25_000
    assert summary.headline(document)[1:] in page.prose
    for f in document.violated:
        assert f.property in page.prose
        assert f.reproduce in page.code
    folded = len(summary.broken(document)) + bool(document.dialect.notes) + bool(document.having("holds"))
    folded += bool(document.having("inconclusive")) + bool(document.having("not_applicable"))
    assert page.tags.count("details") == folded
    # What stands open: a title, three lines, the grades with their legend, and a line for each fold.
    assert len(re.sub(r"</summary>.*?</details>", "", source, flags=re.DOTALL).split("\n")) < 60


def test_it_opens_on_the_answer_and_ends_with_the_environment() -> None:
    source = markdown.render(build())
    page = Page(source)
    text = page.prose + page.code
    order = ["2 of 6 laws are broken", "The exponent is fixed at 2", "binary32", "ε was added to the second term"]
    order += ["Error 3.40×10⁵ times the tolerance", "Use epsilon * (1 - pt)", "could not be decided", "torch 2.13.0"]
    places = [page.prose.replace(SPACE, "").index(word) for word in order]
    assert places == sorted(places)
    assert source.splitlines()[0] == "### ✗ polyref: 2 of 6 laws are broken"
    assert source.splitlines()[-1].startswith("<sub>polyref 0.1.0; torch 2.13.0+cpu; Python 3.11.7")
    for word in ("w CE + ε (1 − Pt)²", "2.82412440094185636", "--law coefficient-j-is-one-over-j-plus-eps --format"):
        assert word in text
    assert "| value | **broken**, ∞&nbsp;ulp | faithful, 0.853&nbsp;ulp |" in source


def test_a_law_broken_in_several_formats_is_told_once_with_every_command() -> None:
    found = [
        finding("a-law", "violated", format=f, ratio=r, reproduce=f"polyref check --case {f}", case_text=f"case of {f}")
        for f, r in (("bfloat16", 10.9), ("binary64", 4e14), ("binary32", 7.4e5))
    ]
    page = Page(markdown.render(build(findings=found)))
    assert page.prose.count("a-law") == 1
    assert "a-law (binary64, binary32, bfloat16)" in page.prose
    assert "case of binary64" in page.code
    assert "Also in binary32 (7.40×10⁵ times the tolerance), bfloat16 (10.9)" in page.prose
    assert re.findall(r"--case (\w+)", page.code) == ["binary64", "binary32", "bfloat16"]


def test_what_has_no_room_is_counted() -> None:
    page = Page(markdown.render(crowded(400)))
    kept = page.code.count("polyref check")
    assert 20 < kept < 400
    assert f"{400 - kept} more broken laws left out" in page.prose
    assert "polyref audit losses/poly.py:Poly1CrossEntropyLoss" in page.code
    assert page.prose.index("left out") > page.prose.index(f"law-{kept - 1:03}")
    assert f"law-{kept:03}" not in page.prose
    one = Page(markdown.render(build(findings=[finding("a", "violated", reproduce="polyref " + "x" * 9000)])))
    assert "too long for a comment" in one.prose
    assert "xxx" not in one.code


def test_the_limit_holds_where_every_part_is_as_large_as_it_can_be() -> None:
    for payload in ("@" * 5000, "&" * 5000, "\x00" * 5000, "`" * 5000, ":a:" * 2000):
        document = hostile(payload)
        many = [
            msgspec.structs.replace(g, format=f"{f}{payload}", device=f"{d}{payload}")
            for g in document.grades
            for f in range(12)
            for d in range(12)
        ]
        gate = gated(incomparable=payload).gate
        assert gate is not None
        move = msgspec.structs.replace(gate.laws[0], move="new", why=payload, property=payload)
        large: Document = msgspec.structs.replace(
            document,
            gate=msgspec.structs.replace(gate, laws=[move] * 20),
            findings=[*document.findings, *(finding(f"{i}{payload}", "holds") for i in range(100))],
            grades=many,
            dialect=msgspec.structs.replace(document.dialect, notes=[payload] * 100),
        )
        assert len(markdown.render(large)) <= markdown.LARGEST


def test_against_a_baseline() -> None:
    page = Page(markdown.render(gated()))
    assert page.prose.startswith("✗ polyref: precision regressed: 1 grade, 1 recorded row")
    assert page.prose.index("2 moved") < page.prose.index("textbook, 2.12")
    assert "worse: value binary32: faithful → broken, 0.900 → 1.50 ulp" in page.prose
    quiet = Page(markdown.render(gated(worse=False)))
    assert quiet.prose.startswith("✓ polyref: nothing got worse")
    assert " moved" not in quiet.prose


def test_without_a_law() -> None:
    source = markdown.render(build(findings=[], grades=[]))
    assert source.startswith("### ? polyref: nothing was measured\n")
    assert "|" not in source
