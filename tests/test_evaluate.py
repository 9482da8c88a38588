"""``polyref eval``: numbers as people write them, honest digits, and a view that says how the loss adds up."""

from __future__ import annotations

import io
import json
import math
from fractions import Fraction
from typing import Any

import pytest

from polyref.case import Case
from polyref.errors import UsageError
from polyref.evaluate import MOST_DIGITS, EngineName, Evaluation, as_json, evaluate, parse_number, parse_numbers
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Format, named
from polyref.report.evaluation import show
from polyref.report.screen import Screen
from polyref.spec import Link, Reduction, Spec, Weighting

E4M3 = named("e4m3")
DOUBLY_ROUNDED = "0x1.0000010000000000000001p0"


def case(*logits: float, target: int = 0, weight: Any = None, fmt: Format = BINARY64, **spec: Any) -> Case:
    return Case(Spec(**spec), fmt, (logits,), (target,), weight)


def evaluated(given: Case, digits: int = 40, engine: EngineName = "ball") -> Evaluation:
    return evaluate(given, digits=digits, engine=engine)


def view(given: Case, digits: int = 12, width: int = 80) -> str:
    stream = io.StringIO()
    show(evaluated(given, digits), Screen(file=stream, width=width))
    return stream.getvalue()


PAPER = case(2.0, 0.5, 1.0, target=1)
CASES = {
    "paper": PAPER,
    "cancelled": case(2.0, 0.5, 1.0, target=1, epsilon=(-1.0,)),
    "near certainty": case(40.0, -3.5, 1.0, epsilon=(-1.0, -0.5)),
    "beyond binary64": case(1000.0, 2.0),
    "certainly wrong": case(0.0, 800.0, gamma=0.5),
    "focal, weighted": case(1.0, 2.0, 3.0, target=2, weight=(1.0, 2.0, 3.0), gamma=2.0, weighting=Weighting.RESCALED_P),
    "sigmoid": case(3.0, 1.0, 2.0, target=1, link=Link.SIGMOID, reduction=Reduction.SUM, gamma=2.0),
    "impossible class": case(-math.inf, 0.25, 0.0, target=1),
    "one class": case(3.0),
    "subnormal": case(5e-324, 0.0),
}


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fmt", "value"),
    [
        ("2", BINARY64, 2.0),
        (" -0.5 ", BINARY64, -0.5),
        ("+1e3", BINARY64, 1000.0),
        (".5", BINARY64, 0.5),
        ("0x1.8p+1", BINARY64, 3.0),
        ("-0X.8P1", BINARY64, -1.0),
        ("0x10", BINARY64, 16.0),
        ("0x1p-1074", BINARY64, 5e-324),
        ("5e-324", BINARY64, 5e-324),
        ("2e-324", BINARY64, 0.0),
        ("1e-400", BINARY64, 0.0),
        ("1e-999999", BINARY64, 0.0),
        ("0.1", BINARY64, 0.1),
        ("0.1", BINARY32, 0.10000000149011612),
        ("0.1", BINARY16, 0.0999755859375),
        ("0.1", BFLOAT16, 0.10009765625),
        ("0.1", E4M3, 0.1015625),
        ("65504", BINARY16, 65504.0),
        ("65519.99", BINARY16, 65504.0),
        ("-inf", BINARY16, -math.inf),
        # Half an ulp of binary32 and a little more: rounded once it goes up, by way of binary64 it would go down.
        (DOUBLY_ROUNDED, BINARY32, 1.0 + 2.0**-23),
        ("1.000000059604644775390625000001", BINARY32, 1.0 + 2.0**-23),
    ],
)
def test_numbers_are_rounded_once(text: str, fmt: Format, value: float) -> None:
    assert parse_number(text, fmt, "logit") == value


@pytest.mark.parametrize("text", ["-0", "-0.0", "-0x0p0", "-1e-400", "-1e-9999"])
def test_the_sign_of_zero_is_kept(text: str) -> None:
    assert math.copysign(1.0, parse_number(text, BINARY64, "logit")) == -1.0


@pytest.mark.parametrize(
    "text", ["", "a", "1.2.3", "0x", "0xg", "0x1p", "1;2", "3 1", "[3", "1e", "0x1p99999999", "--1"]
)
def test_no_number(text: str) -> None:
    with pytest.raises(UsageError, match=r"logit '.*' is no number: write it in decimal or as 0x1.8p\+1"):
        parse_number(text, BINARY64, "logit")


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan"])
def test_nan_is_no_number(text: str) -> None:
    with pytest.raises(UsageError, match=r"logit is '.*', which is no number of binary64: give a number"):
        parse_number(text, BINARY64, "logit")


@pytest.mark.parametrize(
    ("text", "fmt", "largest"),
    [
        ("1e400", BINARY64, "1.797"),
        ("-1e999999", BINARY64, "1.797"),
        ("0x1p1024", BINARY64, "1.797"),
        ("65520", BINARY16, "65504.0"),
        ("500", E4M3, "448.0"),
    ],
)
def test_what_is_beyond_the_format_is_said_to_be(text: str, fmt: Format, largest: str) -> None:
    with pytest.raises(UsageError, match=f"is beyond {fmt.name}, whose largest number is {largest}"):
        parse_number(text, fmt, "logit")


def test_lists() -> None:
    assert parse_numbers("1, 0x1p-1 ,-inf", BINARY64, "logit") == (1.0, 0.5, -math.inf)
    assert parse_numbers("  ", BINARY64, "epsilon") == ()
    with pytest.raises(UsageError, match="logit '' is no number"):
        parse_numbers("1,,2", BINARY64, "logit")


# --- digits ---------------------------------------------------------------------------------------------------------


def test_the_values_of_the_paper() -> None:
    data = json.loads(as_json(evaluated(PAPER, 20)))
    assert list(data) == ["value", "gradient", "pt", "engine"]
    assert data["value"]["mid"] == "2.8241244009418563571"
    assert data["engine"] == "ball"
    assert [g["mid"][:8] for g in data["gradient"]] == ["0.716679", "-0.98033", "0.263651"]
    assert data["pt"]["mid"] == "0.14024438316608848452"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("engine", ["ball", "series"])
def test_the_radius_is_honest(name: str, engine: EngineName) -> None:
    exact = json.loads(as_json(evaluated(CASES[name], 150)))
    for digits in (1, 2, 7, 40):
        found = json.loads(as_json(evaluated(CASES[name], digits, engine)))
        for some, more in zip(pairs(found), pairs(exact), strict=True):
            mid, rad = Fraction(some["mid"]), Fraction(some["rad"])
            assert abs(mid - Fraction(more["mid"])) <= rad + Fraction(more["rad"])
            # Half a unit of the last digit that is printed is its rounding; what the engine adds is far less.
            assert rad <= abs(mid) * Fraction(10) ** (1 - digits) * Fraction(51, 100)
            assert len(some["mid"].partition("e")[0].replace(".", "").lstrip("-0")) in (0, digits)


def pairs(data: dict[str, Any]) -> list[dict[str, str]]:
    return [data["value"], data["pt"], *data["gradient"]]


@pytest.mark.parametrize("digits", [1000, 5000])
def test_many_digits_are_the_same_from_both_engines(digits: int) -> None:
    given = case(2.0, 0.5, 1.0, target=1, epsilon=(-1.0, 0.1), gamma=1.5)
    ball, series = (json.loads(as_json(evaluated(given, digits, engine))) for engine in ("ball", "series"))
    assert len(ball["value"]["mid"].lstrip("-0.").replace(".", "")) == digits
    assert pairs(ball) == [p | {"rad": q["rad"]} for p, q in zip(pairs(series), pairs(ball), strict=True)]


@pytest.mark.parametrize("digits", [0, -1, MOST_DIGITS + 1, 10**9])
def test_digits_that_cannot_be_had(digits: int) -> None:
    with pytest.raises(UsageError, match=f"^{digits} digits cannot be had: ask for 1 to 100000$"):
        evaluated(PAPER, digits)


def test_the_ignore_index_is_a_target_out_of_range() -> None:
    with pytest.raises(UsageError, match="target -100 is out of range: with 3 classes give 0 to 2"):
        evaluated(case(1.0, 2.0, 3.0, target=-100))


def test_an_infinite_loss_in_json() -> None:
    data = json.loads(as_json(evaluated(case(-math.inf, 2.0), 5)))
    assert data["value"] == {"mid": "inf", "rad": "0"}
    assert data["pt"] == {"mid": "0.0", "rad": "0"}
    assert data["gradient"][0] == {"mid": "-1.0000", "rad": "0"}


# --- the view -------------------------------------------------------------------------------------------------------


def test_the_view_of_the_paper() -> None:
    assert (
        view(PAPER)
        == """\
logits    2, 0.5, 1   (binary64)
target    class 1 of 3 (counted from 0), softmax
loss      -log Pt + eps x
          with x = 1 - Pt, eps = 1

Pt         0.140244383166  ± 8.92e-14
loss       2.82412440094   ± 1.87e-12
dl/dPt    -8.13041034104   ± 1.82e-12
dl/dz_0    0.716679762473  ± 6.33e-14
dl/dz_1   -0.980331512990  ± 3.66e-13
dl/dz_2    0.263651750517  ± 4.29e-13
rounded   binary64 2.8241244009418565   binary32 2.8241243
          binary16 2.824                bfloat16 2.83

The loss as a series in x = 1 - Pt = 0.859755616834; coefficient 1/j + eps_j
power  coefficient         term  running sum  still to come
x^1    1 + 1 = 2    1.719511234  1.719511234    1.104613167
x^2    1/2          0.369589860  2.089101094    0.735023307
x^3    1/3          0.211837972  2.300939066    0.523185335
x^4    1/4          0.136596665  2.437535731    0.386588670
x^5    1/5          0.093951800  2.531487531    0.292636870
x^6    1/6          0.067312990  2.598800521    0.225323880
x^7    1/7          0.049605189  2.648405710    0.175718691
x^8    1/8          0.037317298  2.685723008    0.138401393
...                              2.824124401  the loss
"""
    )


@pytest.mark.parametrize("name", CASES)
def test_the_view_fits_and_its_sums_are_sums(name: str) -> None:
    text = view(CASES[name])
    assert all(len(line) <= 80 and line == line.rstrip() for line in text.splitlines())
    rows = [line.split() for line in text.splitlines() if line.startswith("x^")]
    if not rows:
        assert "with it every power of x" in text
        return
    terms, sums, rests = (([Fraction(row[i]) for row in rows]) for i in (-3, -2, -1))
    loss = Fraction(next(line for line in text.splitlines() if line.startswith("...")).split()[1])
    unit = Fraction(1, 10**6) * loss
    for i in range(1, len(rows)):
        assert abs(sums[i - 1] + terms[i] - sums[i]) <= 2 * unit
        assert abs(sums[i] + rests[i] - loss) <= 2 * unit


@pytest.mark.parametrize(
    ("given", "formula", "coefficients"),
    [
        (case(1.0, 2.0, epsilon=()), "-log Pt", ["1", "1/2"]),
        (case(1.0, 2.0, epsilon=(-1.0,)), "-log Pt + eps x", ["1 - 1 = 0", "1/2"]),
        (case(1.0, 2.0, epsilon=(2.0, -0.5)), "-log Pt + eps_1 x + eps_2 x^2", ["1 + 2 = 3", "1/2 - 1/2 = 0", "1/3"]),
        (case(1.0, 2.0, epsilon=(1.0,) * 5), "-log Pt + sum_j eps_j x^j", ["1 + 1 = 2", "1/2 + 1 = 3/2"]),
        (case(1.0, 2.0, epsilon=(0.1,)), "-log Pt + eps x", ["1 + 0.1 = 1.1"]),
        (case(1.0, 2.0, gamma=2.0), "x^gamma (-log Pt) + eps x^(gamma+1)", ["1 + 1 = 2"]),
        (case(1.0, 2.0, weight=(3.0, 1.0)), "w (-log Pt + eps x)", ["3 + 3 = 6", "3/2", "1"]),
        (
            case(1.0, 2.0, weight=(0.5, 1.0), weighting=Weighting.CE_ONLY, epsilon=(-1.0,)),
            "w (-log Pt) + eps x",
            ["1/2 - 1 = -1/2", "1/4"],
        ),
        (
            case(1.0, 2.0, weight=(3.0, 1.0), weighting=Weighting.RESCALED_P),
            "w (-log Pt) + eps (1 - Pt w/mu)",
            ["-1/2", "3 + 3/2 = 9/2", "3/2"],
        ),
    ],
)
def test_the_law_and_its_coefficients(given: Case, formula: str, coefficients: list[str]) -> None:
    lines = view(given).splitlines()
    assert f"loss      {formula}" in lines
    start = next(i for i, line in enumerate(lines) if line.startswith("power")) + 1
    for line, coefficient in zip(lines[start:], coefficients, strict=False):
        assert line.split("  ")[1].strip() == coefficient or f"  {coefficient}  " in line


def test_half_powers() -> None:
    assert [line.split()[0] for line in view(case(1.0, 2.0, gamma=0.5)).splitlines() if line[:2] == "x^"][:2] == [
        "x^1.5",
        "x^2.5",
    ]


def test_every_term_of_a_long_polynomial_is_shown() -> None:
    rows = [line for line in view(case(1.0, 2.0, epsilon=(1.0,) * 12)).splitlines() if line.startswith("x^")]
    assert len(rows) == 14
    assert len([line for line in view(case(1.0, 2.0, epsilon=(1.0,) * 50)).splitlines() if line[:2] == "x^"]) == 20


def test_what_is_exact_says_so() -> None:
    text = view(case(-math.inf, 2.0, target=1))
    assert "Pt         1  exactly" in text
    assert "loss       0  exactly" in text
    assert "dl/dPt    -2  exactly" in text
    assert "with it every power of x" in text


def test_an_infinite_loss() -> None:
    text = view(case(-math.inf, 2.0))
    assert "loss       infinite" in text
    assert "dl/dPt    -infinite" in text
    assert "rounded   binary64 inf " in text
    assert "1.500000000" not in text
    assert text.splitlines()[-1].split() == ["...", "infinite", "the", "loss"]


def test_a_tiny_loss_is_no_zero() -> None:
    text = view(case(1000.0, 2.0), digits=5)
    assert "loss       7.5013e-434  ±" in text
    assert "x = 1 - Pt = 3.75065450499e-434" in text
    assert "binary64 0 " in text


def test_numbers_that_the_format_changed_are_shown_exactly() -> None:
    assert "0.0999755859375 = 0x1.9980000000000p-4, 1   (binary16)" in view(case(0.0999755859375, 1.0, fmt=BINARY16))
    assert "e4m3 2\n" in view(case(1.0, 2.0, fmt=E4M3))


def test_the_sigmoid_link_shows_its_parts() -> None:
    text = view(CASES["sigmoid"])
    assert "summed over the logits" in text
    losses = [Fraction(line.split()[3]) for line in text.splitlines() if line.startswith("loss of")]
    whole = next(Fraction(line.split()[1]) for line in text.splitlines() if line.startswith("loss  ") and "±" in line)
    assert len(losses) == 3
    assert abs(sum(losses) - whole) < Fraction(1, 10**9)
    assert text.splitlines()[-1].endswith("the loss of logit 1")


def test_a_thousand_digits_stay_on_one_line() -> None:
    line = next(line for line in view(PAPER, digits=1000).splitlines() if line.startswith("loss  ") and "±" in line)
    assert len(line.split()[1]) == 1001
