"""The terminal report: the essentials are there, at any width, and nothing of a subject is taken for markup."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from polyref.report.document import Document, Finding
from polyref.report.progress import progress
from polyref.report.terminal import render, summary_table

from .example import build, finding
from .hostile import hostile

ALL = ("binary64", "binary32", "binary16", "bfloat16")


def text_of(show: Callable[[Console], None], width: int = 80, *, color: bool = False) -> str:
    stream = io.StringIO()
    show(Console(file=stream, width=width, force_terminal=color, color_system="truecolor" if color else None))
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_essentials(width: int) -> None:
    text = text_of(lambda c: render(build(), c), width)
    flat = " ".join(text.split())
    for essential in (
        "✗ 2 of 6 laws are broken",
        "Poly1CrossEntropyLoss",
        "w CE + ε (1 − Pt)²",
        "losses/poly.py:12",
        "1 ✗ coefficient-j-is-one-over-j-plus-eps",
        "the expansion of the loss is 1/j + ε_j",
        "ε was added to the second term",
        "[[2.0, 0.5, 1.0]]",
        "[[0x1.0p+1, 0x1.0p-1, 0x1.0p+0]]",
        "Expected 2.82412440094185636",
        "Observed 2.70355415",
        "3.40e5 times the tolerance",
        "Use epsilon * (1 - pt) in place of epsilon * (1 - pt) ** 2.",
        "∞ times the tolerance",
        "4 laws hold: eps-zero-is-cross-entropy, shift-invariance",
        "second-derivative-matches-the-reference (the subject ran out of its 30 seconds",
        "ignored-rows-contribute-nothing (the subject has no ignore_index)",
        "value binary32 broken ∞ ∞ 3,930",
        "gradient bfloat16 correctly rounded 0.522 0.190 3,930",
        "48,210 examples in 31.4 s, profile default, seed 0",
    ):
        assert essential in flat
    for line in text.splitlines():
        assert cell_len(line) <= min(width, 120) or "Reproduce" in line


def test_the_command_is_one_line_that_can_be_copied() -> None:
    text = text_of(lambda c: render(build(), c))
    command = build().violated[0].reproduce
    assert any(line.endswith(command) for line in text.splitlines())


def test_violated_come_first() -> None:
    text = text_of(lambda c: render(build(), c))
    order = [text.index(word) for word in ("1 ✗", "2 ✗", "4 laws hold", "Could not be decided", "Not applicable")]
    assert order == sorted(order)


def test_other_outcomes() -> None:
    good = build(findings=[finding("a", "holds")], grades=[])
    assert "✓ The one law holds" in text_of(lambda c: render(good, c))
    assert "? Nothing was measured" in text_of(lambda c: render(build(findings=[], grades=[]), c))


@pytest.mark.parametrize("show", [render, lambda d, c: summary_table([d], c)])
def test_a_hostile_subject_stays_text(show: Callable[[Document, Console], None]) -> None:
    text = text_of(lambda c: show(hostile(), c))
    flat = "".join(text.split())
    assert "[red]no[/red]" in flat
    assert ":smile:" in flat
    assert "a⟨U+001B⟩[95mb⟨U+0000⟩c⟨U+007F⟩⟨U+009B⟩d" in flat
    assert "⟨U+202E⟩gnp.exe" in flat
    assert not any(ord(c) < 32 and c != "\n" for c in text)
    # In colour the only escapes are rich's own: none for a link, none that a subject wrote.
    colored = text_of(lambda c: show(hostile(), c), color=True)
    assert "\x1b]8" not in colored
    assert "\x1b[95mb" not in colored


def test_colour_is_used_where_there_is_any() -> None:
    assert "\x1b[" in text_of(lambda c: render(build(), c), color=True)


def test_several_devices_get_a_column() -> None:
    document = build()
    twice = [*document.grades, *(msgspec.structs.replace(g, device="cuda:0") for g in document.grades)]
    text = text_of(lambda c: render(build(grades=twice), c))
    assert "Device" in text
    assert text.count("cuda:0") == 4


def test_summary_table() -> None:
    nothing = build(findings=[], grades=[])
    text = text_of(lambda c: summary_table([build(formats=ALL), build(), nothing], c))
    lines = [line.split() for line in text.splitlines()]
    subjects = [i for i, words in enumerate(lines) if words[1:] == ["losses/poly.py:Poly1CrossEntropyLoss"]]
    verdict = ["2", "of", "6", "broken"]
    assert [lines[i][0] for i in subjects] == ["✗", "✗", "?"]
    assert lines[subjects[0] + 1] == ["textbook", "broken", "degraded", "faithful", *verdict]
    assert lines[subjects[1] + 1] == ["–", "broken", "–", "faithful", *verdict]
    assert lines[subjects[2] + 1] == ["–", "–", "–", "–", "nothing", "measured"]
    assert "breaks coefficient-j-is-one-over-j-plus-eps, extreme-logits-stay-finite" in text
    assert text.count("w CE + ε (1 − Pt)²") == 3
    assert all(cell_len(line) <= 80 for line in text.splitlines())


def test_a_short_target_shares_its_line_with_the_grades() -> None:
    document = build(subject=msgspec.structs.replace(build().subject, target="a:b"))
    row = next(line for line in text_of(lambda c: summary_table([document], c)).splitlines() if "a:b" in line)
    assert row.split() == ["✗", "a:b", "–", "broken", "–", "faithful", "2", "of", "6", "broken"]


def in_each_format(**changes: Any) -> list[Finding]:
    ratios = {"bfloat16": 10.9, "binary64": 3.98e14, "binary16": 89.9, "binary32": 7.4e5}
    return [
        finding(
            "a-law", "violated", format=f, ratio=r, reproduce=f"polyref check {f}", explanation=f"In {f}.", **changes
        )
        for f, r in ratios.items()
    ]


def test_a_law_broken_in_several_formats_is_told_once() -> None:
    text = text_of(lambda c: render(build(findings=in_each_format()), c))
    flat = " ".join(text.split())
    assert "1 ✗ a-law series, binary64" in flat
    assert "2 ✗" not in flat
    assert "Also in binary32 (7.40e5 times the tolerance), binary16 (89.9), bfloat16 (10.9)" in flat
    assert "polyref check binary64" in flat
    assert "polyref check binary32" not in flat


def test_the_device_is_told_where_it_is_not_the_cpu() -> None:
    text = text_of(lambda c: render(build(findings=in_each_format(device="cuda:0")), c))
    assert "1 ✗ a-law  series, binary64, cuda:0" in text
    both = [finding("a-law", "violated", device=d, format="binary32", ratio=2.0) for d in ("cpu", "cuda:0")]
    assert "Also in    binary32 on cuda:0 (2.00 times" in text_of(lambda c: render(build(findings=both), c))


def test_summary_of_nothing() -> None:
    assert "subject" in text_of(lambda c: summary_table([], c))


def test_progress_is_silent_without_a_terminal() -> None:
    def run(console: Console) -> None:
        with progress("audit", total=3, console=console) as meter:
            meter.total(2)
            meter.step("x")
            meter.doing("y")

    assert text_of(run) == ""


def test_progress_shows_plain_text() -> None:
    def run(console: Console) -> None:
        with progress("loss.py:[red]Poly", total=2, console=console) as meter:
            meter.doing("[bold]law\x1b[2J")
            meter.step()
            meter.step("end")

    shown = text_of(run, 120, color=True)
    assert "[red]Poly" in shown
    assert "\x1b[2J" not in shown


def test_progress_passes_errors_on() -> None:
    def run(console: Console) -> None:
        with progress("audit", console=console):
            raise KeyError("x")

    with pytest.raises(KeyError):
        text_of(run, color=True)
