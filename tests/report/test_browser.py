"""The pages in a real browser: charts are drawn and answer, nothing else happens, and everybody can use them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from history.example import run, write
from selftest.test_report import FAILED

from polyref.compare import compare_documents
from polyref.history import runs, series
from polyref.report import compared_html, history_html, html, selftest_html
from polyref.report.document import Document, Error, Sample, Series

from .browser import Tab, chromium, opened
from .example import build, finding
from .hostile import hostile
from .test_scatter import observations

COMMAND = 'polyref check losses/poly.py:Loss --case \'{"logits": [["0x1.0p+1"]]}\'   --seed 0 ' + "# " * 3000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def document() -> Document:
    """Two formats far apart, with an error of 0, one beyond its tolerance, one that is infinite and one that is NaN."""
    thin = Series(
        format="binary32",
        device="cpu",
        samples=[
            Sample(-60.0, 0, 1, [60.00000762939453, -0.0, 1e-45], Error(0.25, 2.0), Error(0.5, 4.0)),
            Sample(-3.0, 1, 0, [0.1, 3.0], Error(0.0, 2.0), Error(0.5, math.inf)),
            Sample(0.0, 0, 1, [0.10000000149011612, 0.10000000149011612], Error(9.0, 2.0), Error(0.5, 4.0)),
            Sample(90.0, 0, 0, [90.0, 0.0], Error(0.75, 2e9), None),
        ],
    )
    other = Series(
        format="bfloat16",
        device="cpu",
        samples=[
            Sample(-30.0, 0, 0, [-30.0, 0.0], Error(900.0, 1000.0), Error(math.nan, 4.0)),
            Sample(30.0, 0, 0, [30.0, 0.0], Error(math.inf, 1000.0), Error(700.0, 1000.0)),
        ],
    )
    return build(series=[thin, other])


def case(tab: Tab, chart: int = 0) -> dict[str, str]:
    """What stands below a chart."""
    parts = tab.page.locator("figure.errors").nth(chart).locator(".case span")
    return dict(zip(parts.locator("i").all_text_contents(), parts.locator("b").all_text_contents(), strict=True))


def point_at(tab: Tab, log_odds: float, ulp: float, chart: int = 0) -> None:
    """Bring the pointer to a place in a chart that is not zoomed."""
    data = json.loads(tab.page.locator("#chart-data").text_content())
    axes = data["charts"][chart]
    place = tab.page.locator("figure.errors .u-over").nth(chart)
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    (left, right), (bottom, top) = axes["x"], axes["y"]
    y = axes["infinite"] if not ulp < math.inf else math.log10(ulp) if ulp else axes["zero"]
    across, up = (math.asinh(log_odds / data["bend"]) - left) / (right - left), (y - bottom) / (top - bottom)
    tab.page.mouse.move(box["x"] + across * box["width"], box["y"] + (1 - up) * box["height"])


def pixels(tab: Tab, chart: int = 0) -> list[int]:
    """For each of the first three colours of a format how many pixels of a chart have it."""
    return tab.page.evaluate(  # type: ignore[no-any-return]
        """(chart) => {
            const drawn = document.querySelectorAll("figure.errors canvas")[chart];
            const canvas = document.createElement("canvas");
            Object.assign(canvas, { width: drawn.width, height: drawn.height });
            const copy = canvas.getContext("2d", { willReadFrequently: true });
            copy.drawImage(drawn, 0, 0);
            const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
            const style = getComputedStyle(document.documentElement);
            return [0, 1, 2].map((k) => {
                const hex = style.getPropertyValue(`--s${k}`).trim();
                const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
                let n = 0;
                for (let i = 0; i < data.length; i += 4) {
                    n += data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255;
                }
                return n;
            });
        }""",
        chart,
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_format_is_drawn_in_its_colour(browser: Any, tmp_path: Path, scheme: str) -> None:
    with opened(browser, html.render(document()), tmp_path, color_scheme=scheme) as tab:
        for chart in (0, 1):
            first, second, none = pixels(tab, chart)
            assert first > 30
            assert second > 30
            assert none == 0
        before = tab.page.evaluate("document.querySelector('canvas').toDataURL()")
        tab.page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
        tab.until("(old) => document.querySelector('canvas').toDataURL() !== old", before)
        assert min(pixels(tab)[:2]) > 30
        tab.assert_quiet()


def test_a_point_tells_its_exact_case(browser: Any, tmp_path: Path) -> None:
    given = document()
    with opened(browser, html.render(given), tmp_path) as tab:
        for each in given.series:
            for sample in each.samples:
                for chart, error in enumerate((sample.value, sample.gradient)):
                    if error is None:
                        continue
                    point_at(tab, sample.log_odds, error.ulp, chart)
                    told = case(tab, chart)
                    assert told["format"] == each.format
                    logits = [float(z) for z in told["logits"].strip("[]").split(", ")]
                    assert [z.hex() for z in logits] == [float(z).hex() for z in sample.logits]
                    assert told["target"] == f"{sample.target} (of {len(sample.logits)} classes)"
                    assert told["parameters"] == ("ε = -1, γ = 0" if sample.spec else "ε = 1, γ = 0")
                    shown = told["error"].replace("∞", "inf").removesuffix(" ulp")
                    assert float(shown) == error.ulp or (math.isnan(error.ulp) and shown == "NaN")
        point_at(tab, 0.0, 9.0)
        assert {k: case(tab)[k] for k in ("Pt", "error", "tolerance", "error / tolerance")} == {
            "Pt": "0.5",
            "error": "9 ulp",
            "tolerance": "2 ulp",
            "error / tolerance": "4.5",
        }
        assert tab.page.locator(".case .beyond b").first.text_content() == "4.5"
        point_at(tab, -60.0, 0.25)
        assert case(tab)["Pt"] == "8.76×10⁻²⁷"
        assert case(tab)["logits"] == "[60.00000762939453, -0, 1e-45]"
        point_at(tab, 90.0, 0.75)
        assert case(tab)["Pt"] == "1 − 8.19×10⁻⁴⁰"
        assert case(tab)["tolerance"] == "2.00×10⁹ ulp"
        point_at(tab, -3.0, 0.5, chart=1)
        assert case(tab, 1)["tolerance"] == "none, nothing is bounded"
        tab.assert_quiet()


def test_the_worst_case_is_told_first(browser: Any, tmp_path: Path) -> None:
    with opened(browser, html.render(document()), tmp_path) as tab:
        assert (case(tab)["error"], case(tab)["error / tolerance"]) == ("∞ ulp", "∞")
        assert case(tab, 1)["error"] == "NaN ulp"


def test_the_keyboard_steps_through_the_points(browser: Any, tmp_path: Path) -> None:
    with opened(browser, html.render(document()), tmp_path) as tab:
        plot = tab.page.locator(".plot").first
        plot.focus()
        seen = []
        for key in (
            "ArrowDown",
            "Home",
            "ArrowRight",
            "ArrowRight",
            "ArrowRight",
            "ArrowRight",
            "ArrowLeft",
            "ArrowUp",
        ):
            tab.page.keyboard.press(key)
            seen.append((case(tab)["format"], case(tab)["Pt"]))
        far, left, middle, right = "8.76×10⁻²⁷", "0.0474", "0.5", "1 − 8.19×10⁻⁴⁰"
        assert seen == [
            ("binary32", right),
            ("binary32", far),
            ("binary32", left),
            ("binary32", middle),
            ("binary32", right),
            ("binary32", right),
            ("binary32", middle),
            ("bfloat16", "9.36×10⁻¹⁴"),
        ]
        tab.page.keyboard.press("Escape")
        assert case(tab)["error"] == "∞ ulp"
        assert tab.page.evaluate("document.activeElement === document.body")
        tab.assert_quiet()


def test_the_legend_switches_a_format_on_and_off(browser: Any, tmp_path: Path) -> None:
    with opened(browser, html.render(document()), tmp_path) as tab:
        figure = tab.page.locator("figure.errors").first
        button = figure.get_by_role("button", name="bfloat16")
        assert button.get_attribute("aria-pressed") == "true"
        before = pixels(tab)
        button.click()
        assert button.get_attribute("aria-pressed") == "false"
        assert case(tab)["format"] == "binary32"
        assert pixels(tab)[0] > 30
        assert pixels(tab)[1] == 0
        point_at(tab, 30.0, math.inf)
        assert case(tab)["format"] == "binary32"
        figure.get_by_role("button", name="binary32").click()
        assert case(tab) == {}
        button.focus()
        tab.page.keyboard.press("Enter")
        assert case(tab)["format"] == "bfloat16"
        figure.get_by_role("button", name="binary32").click()
        assert pixels(tab) == before
        tab.assert_quiet()


def test_zoom_by_dragging_and_back(browser: Any, tmp_path: Path) -> None:
    with opened(browser, html.render(document()), tmp_path) as tab:
        before = pixels(tab)
        reset = tab.page.locator(".reset").first

        def zoom() -> None:
            point_at(tab, -50.0, 300.0)
            tab.page.mouse.down()
            point_at(tab, 0.0, 1500.0)
            point_at(tab, 10.0, 0.01)
            tab.page.mouse.up()
            reset.wait_for(state="visible")

        assert not reset.is_visible()
        zoom()
        assert pixels(tab) != before
        assert pixels(tab)[1] == 0  # bfloat16 lies outside
        reset.click()
        assert not reset.is_visible()
        assert pixels(tab) == before
        zoom()
        box = tab.page.locator(".u-over").first.bounding_box()
        tab.page.mouse.dblclick(box["x"] + 5, box["y"] + box["height"] / 2)
        reset.wait_for(state="hidden")
        assert pixels(tab) == before
        tab.assert_quiet()


@pytest.mark.parametrize("api", ["of the browser", "missing", "refusing"])
def test_the_button_copies_the_whole_command(browser: Any, tmp_path: Path, api: str) -> None:
    source = html.render(build(findings=[finding("a", "violated", reproduce=COMMAND)]))
    with opened(browser, source, tmp_path) as tab:
        write = {
            "of the browser": "(text) => { globalThis.written = text; return Promise.resolve(); }",
            "missing": "undefined",
            "refusing": "() => Promise.reject(new Error('no'))",
        }[api]
        tab.page.evaluate(f"Object.defineProperty(navigator, 'clipboard', {{ value: {{ writeText: {write} }} }})")
        status = tab.page.locator(".copied [role=status]")
        assert status.text_content() == ""
        button = tab.page.get_by_role("button", name="Copy the command")
        button.focus()
        tab.page.keyboard.press("Enter")
        status.get_by_text("Copied", exact=True).wait_for()
        assert tab.page.evaluate("document.activeElement.textContent") == "Copy"
        if api == "of the browser":
            assert tab.page.evaluate("globalThis.written") == COMMAND
        else:
            tab.page.evaluate("document.body.append(document.createElement('textarea'))")
            tab.page.locator("textarea").focus()
            tab.page.keyboard.press("Control+V")
            assert tab.page.locator("textarea").input_value() == COMMAND
        tab.assert_quiet()


def test_without_scripts_there_is_no_button_and_a_word_for_the_charts(browser: Any, tmp_path: Path) -> None:
    with opened(browser, html.render(build(series=[])), tmp_path) as tab:
        assert tab.page.locator("figure.errors, .plot").count() == 0
        tab.assert_quiet()
    (tmp_path / "off.html").write_text(html.render(document()), "utf-8")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "off.html").as_uri())
    assert page.locator("button:visible").count() == 0
    assert page.locator("noscript p").is_visible()
    assert page.get_by_text("Grades of every regime").is_visible()
    context.close()


def moved() -> Document:
    """The example with a law newly broken, and other errors."""
    grades = [msgspec.structs.replace(g, histogram=[(b, n + 7) for b, n in g.histogram]) for g in build().grades]
    return build(findings=[finding("shift-invariance", "violated", ratio=5.0)], grades=grades)


PAGES = {
    "audit": lambda: html.render(document()),
    "hostile audit": lambda: html.render(hostile()),
    "index": lambda: html.render_index([(build(), "a.html", "a.json"), (hostile(), "b.html", None)]),
    "comparison": lambda: compared_html.render(compare_documents(build(), hostile())),
    "comparison of grades": lambda: compared_html.render(compare_documents(build(), moved())),
    "self-test": lambda: selftest_html.render(FAILED),
}


@pytest.mark.parametrize("name", PAGES)
def test_nothing_of_a_document_runs_and_nothing_leaves_the_page(browser: Any, tmp_path: Path, name: str) -> None:
    with opened(browser, PAGES[name](), tmp_path) as tab:
        for details in tab.page.locator("details").all():
            details.locator("summary").first.click()
        for button in tab.page.locator("button:visible").all():
            button.click()
        tab.page.mouse.wheel(0, 3000)
        tab.assert_quiet()


@pytest.mark.parametrize(
    "bad", ["<img src='https://example.org/a.png'>", "<p onclick='1'>", "<script>taken = 1</script>"]
)
def test_a_page_that_does_more_is_noticed(browser: Any, tmp_path: Path, bad: str) -> None:
    with (
        opened(browser, html.render(document()).replace("</main>", f"{bad}</main>"), tmp_path) as tab,
        pytest.raises(AssertionError),
    ):
        tab.assert_quiet()


def test_code_of_a_document_would_be_noticed_without_the_policy_too(browser: Any, tmp_path: Path) -> None:
    source = re.sub(r"<meta http-equiv[^>]*>", "", html.render(document()))
    for bad in ("<script>taken = 1</script>", "<script>alert(1)</script>"):
        with (
            opened(browser, source.replace("</main>", f"{bad}</main>"), tmp_path) as tab,
            pytest.raises(AssertionError),
        ):
            tab.assert_quiet()
    with opened(browser, re.sub(r"<meta http-equiv[^>]*>", "", html.render(hostile())), tmp_path) as tab:
        tab.assert_quiet()  # escaping alone is enough


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, tmp_path: Path, name: str, scheme: str) -> None:
    with opened(browser, PAGES[name](), tmp_path, color_scheme=scheme) as tab:
        tab.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert tab.violations() == []


def test_axe_can_find_something(browser: Any, tmp_path: Path) -> None:
    poor = html.render(document()).replace('aria-label="Value: error in ulps against Pt" ', "").replace("<h1>", "<h5>")
    with opened(browser, poor, tmp_path) as tab:
        assert tab.violations() != []


def test_the_keyboard_reaches_everything(browser: Any, tmp_path: Path) -> None:
    with opened(browser, html.render(document()), tmp_path) as tab:
        reached = set()
        for _ in range(60):
            tab.page.keyboard.press("Tab")
            reached.add(
                tab.page.evaluate(
                    "((e) => e.className || e.getAttribute('href') || e.textContent.trim())(document.activeElement)"
                )
            )
        assert {
            "#finding-1",
            "#finding-2",
            "plot",
            "binary32",
            "bfloat16",
            "Copy",
            "Grades of every regime of Pt",
        } <= reached


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_needs_no_sideways_scroll(browser: Any, tmp_path: Path, name: str) -> None:
    with opened(browser, PAGES[name](), tmp_path, width=380) as tab:
        tab.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 380


def test_a_chart_follows_the_width_of_the_page(browser: Any, tmp_path: Path) -> None:
    with opened(browser, html.render(document()), tmp_path) as tab:
        tab.page.set_viewport_size({"width": 500, "height": 800})
        tab.until("document.querySelector('.uplot').clientWidth <= 470")
        point_at(tab, 0.0, 9.0)
        assert case(tab)["error"] == "9 ulp"
        assert min(pixels(tab)[:2]) > 30
        tab.assert_quiet()


def test_paper_has_charts_and_no_buttons(browser: Any, tmp_path: Path) -> None:
    with opened(browser, html.render(document()), tmp_path, color_scheme="dark") as tab:
        tab.page.emulate_media(media="print")
        assert tab.page.locator("figure.errors canvas:visible").count() == 2
        assert tab.page.locator(".reset:visible, .copied button:visible").count() == 0
        assert tab.page.get_by_role("button", name="binary32").first.is_visible()  # the legend
        tab.page.evaluate("addEventListener('afterprint', () => { globalThis.colours = 'printed'; })")
        light = "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()"
        assert tab.page.evaluate(light) == "#1d1e20"
        assert re.match(rb"%PDF-", tab.page.pdf())


def test_a_large_document_is_drawn(browser: Any, tmp_path: Path) -> None:
    source = html.render(observations(6250))
    assert len(source.encode()) < 3e6
    with opened(browser, source, tmp_path) as tab:
        assert min(pixels(tab)) > 300
        assert tab.page.evaluate("performance.getEntriesByName('charts-drawn').length") > 0
        tab.assert_quiet()


@pytest.mark.parametrize(("scheme", "width"), [("light", 380), ("dark", 1000)])
def test_the_page_of_a_history(browser: Any, tmp_path: Path, scheme: str, width: int) -> None:
    runs.add(write(tmp_path, [run(0), run(1, torch="2.14.0")]), db=tmp_path / "h.sqlite", label="nightly")
    source = history_html.render(series.read(tmp_path / "h.sqlite"))
    with opened(browser, source, tmp_path, width=width, color_scheme=scheme) as tab:
        tab.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        tab.assert_quiet()
        assert tab.violations() == []
