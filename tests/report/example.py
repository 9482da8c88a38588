"""A document with something of everything: two formats, every verdict, every grade, infinities."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from polyref.case import Case
from polyref.formats import BINARY64, named
from polyref.report.document import (
    Attempt,
    Convention,
    Dialect,
    Document,
    Environment,
    Error,
    Finding,
    Grade,
    GradeName,
    Quantity,
    Sample,
    Series,
    Settings,
    Subject,
    Verdict,
)
from polyref.spec import Reduction, Spec

REGIMES = ("Pt < 2^-64", "2^-64 to 2^-16", "2^-16 to 2^-4", "2^-4 to 1/2", "1/2 to 1 - 2^-4", "1 - 2^-4 to 1")

CASE = Case(
    spec=Spec(epsilon=(1.0,), reduction=Reduction.MEAN),
    format=named("binary32"),
    logits=((2.0, 0.5, 1.0),),
    target=(1,),
)


def build(*, formats: tuple[str, ...] = ("binary32", "bfloat16"), **changes: Any) -> Document:
    """The example, with fields of the document replaced by ``changes``."""
    document = Document(
        subject=Subject(
            name="Poly1CrossEntropyLoss",
            target="losses/poly.py:Poly1CrossEntropyLoss",
            file="losses/poly.py",
            line=12,
            summary="Poly-1 cross-entropy after Leng et al., with class weights.",
            framework="torch",
        ),
        environment=Environment(
            polyref="0.1.0",
            python="3.11.7",
            torch="2.13.0+cpu",
            numpy="2.4.6",
            mpmath="1.3.0",
            flint="0.9.0",
            platform="Linux-6.1-x86_64",
            machine="x86_64",
            cpu_threads=2,
            device="cpu",
        ),
        settings=Settings(
            seed=0,
            profile="default",
            examples=48210,
            formats=list(formats),
            seconds=31.4,
            started="2026-03-01T12:00:00Z",
            init={"num_classes": "3"},
            call={},
        ),
        convention=Convention(
            text="Poly1CrossEntropyLoss(num_classes=C, epsilon=ε, weight=w, reduction=r)(logits, labels)",
            kind="class",
            order="logits first",
            labels="class index",
            result="scalar, or (N,) with reduction none",
            parameters={"epsilon": "epsilon", "classes": "num_classes", "weight": "weight", "reduction": "reduction"},
            defaults={"epsilon": "1.0", "reduction": "'mean'"},
            reductions=["none", "mean", "sum"],
            formats=list(formats),
            attempts=[
                Attempt(call="Poly1CrossEntropyLoss()(logits, labels)", outcome="TypeError: num_classes is missing"),
                Attempt(call="Poly1CrossEntropyLoss(num_classes=3)(logits, labels)", outcome="works"),
            ],
        ),
        dialect=Dialect(
            formula="w CE + ε (1 − Pt)²",
            epsilon=1.0,
            reduction="mean",
            weighting="ce_only",
            residual=3.1e-16,
            link="softmax",
            gamma=0.0,
            deviation="The exponent is fixed at 2, whatever j is.",
            remedy="Raise 1 − Pt to j in the term of epsilon_j.",
            notes=[
                "The polynomial term starts at (1 − Pt)², so ε does not touch the first coefficient.",
                "At ε = −1 and a class weight w below 1 the minimum lies at Pt = w: training stops there.",
            ],
        ),
        findings=_findings(),
        grades=[g for q in ("value", "gradient") for f in formats for g in _grades(q, f)],
        specs=[Case(Spec(epsilon=(e,)), BINARY64, ((0.0,),), (0,)).to_json()["spec"] for e in (1.0, -1.0)],
        series=[series(f) for f in formats],
    )
    return msgspec.structs.replace(document, **changes)


def series(format: str, *, device: str = "cpu", rows: int = 14) -> Series:
    """The samples of one format, from certainly wrong to certainly right, one of them without bounds."""
    samples = []
    for i in range(rows):
        log_odds = named(format).round(80.0 * (i - rows // 2) / rows)
        wrong = math.inf if i == rows - 1 else 0.25 * (1 + i % 3)
        gradient = None if i == 0 else Error(wrong, math.inf if i == 1 else 4.0 + i)
        samples.append(Sample(log_odds, i % 2, i % 3, [log_odds, 0.0, -1.5], Error(0.5, 2.0), gradient))
    return Series(format=format, device=device, samples=samples)


def finding(property: str, verdict: Verdict, **changes: Any) -> Finding:
    """A finding with plausible fields."""
    fields: dict[str, Any] = {
        "property": property,
        "theme": "series",
        "verdict": verdict,
        "statement": f"The law called {property.replace('-', ' ')} is kept.",
        "formula": "ℓ = CE + ε (1 − Pt)",
        "citation": "Leng et al., ICLR 2022, equation 5 (arXiv 2204.12511)",
        "explanation": "",
        "remedy": "",
        "format": "binary32",
        "device": "cpu",
        "case": None,
        "case_text": "",
        "expected": "",
        "observed": "",
        "ratio": 0.41,
        "examples": 400,
        "reproduce": "",
    }
    return Finding(**(fields | {"property": property, "verdict": verdict} | changes))


def _findings() -> list[Finding]:
    shown = (
        "logits  [[2.0, 0.5, 1.0]]\n"
        "        [[0x1.0p+1, 0x1.0p-1, 0x1.0p+0]]\n"
        "target  [1]\n"
        "epsilon 1.0 (0x1.0p+0)   reduction mean   binary32"
    )
    return [
        finding("eps-zero-is-cross-entropy", "holds"),
        finding(
            "coefficient-j-is-one-over-j-plus-eps",
            "violated",
            statement="The coefficient of (1 − Pt)^j in the expansion of the loss is 1/j + ε_j, for every j up to N.",
            formula="ℓ = Σ_j (1/j + ε_j) (1 − Pt)^j",
            explanation="The measured coefficients are 1.000 and 1.500: ε was added to the second term, not the first.",
            remedy="Use epsilon * (1 - pt) in place of epsilon * (1 - pt) ** 2.",
            case=CASE.to_json(),
            case_text=shown,
            expected="2.82412440094185636",
            observed="2.70355415",
            ratio=3.4e5,
            examples=17,
            reproduce="polyref audit losses/poly.py:Poly1CrossEntropyLoss --init num_classes=3"
            " --law coefficient-j-is-one-over-j-plus-eps --format binary32 --seed 0",
        ),
        finding(
            "extreme-logits-stay-finite",
            "violated",
            theme="saturation",
            statement="Where the exact loss is a number of the format, the subject returns a finite one.",
            formula="|ℓ| ≤ largest ⟹ result finite",
            citation="IEEE 754-2019, section 7.4",
            explanation="log(softmax) is −inf as soon as a probability underflows; the exact loss is 104.",
            remedy="Take log_softmax, or F.cross_entropy, in place of the logarithm of a probability.",
            case=CASE.to_json(),
            case_text="logits  [[0.0, 104.0]]\n        [[0x0.0p+0, 0x1.ap+6]]\ntarget  [0]",
            expected="105",
            observed="inf",
            ratio=math.inf,
            examples=3,
            reproduce="polyref audit losses/poly.py:Poly1CrossEntropyLoss --law extreme-logits-stay-finite",
        ),
        finding("shift-invariance", "holds", theme="symmetries"),
        finding("gradient-sums-to-zero", "holds", theme="gradients"),
        finding("value-matches-the-reference", "holds", theme="values", format="bfloat16"),
        finding(
            "second-derivative-matches-the-reference",
            "inconclusive",
            theme="values",
            explanation="the subject ran out of its 30 seconds after 12 of 400 cases",
            ratio=None,
        ),
        finding(
            "ignored-rows-contribute-nothing",
            "not_applicable",
            theme="labels",
            explanation="the subject has no ignore_index",
            format=None,
            ratio=None,
            examples=0,
        ),
        finding(
            "soft-target-is-the-expectation",
            "not_applicable",
            theme="labels",
            explanation="the subject takes class indices only",
            format=None,
            ratio=None,
            examples=0,
        ),
    ]


_WORD: dict[tuple[Quantity, str], tuple[GradeName, float]] = {
    ("value", "binary64"): ("textbook", 0.93),
    ("value", "binary32"): ("broken", math.inf),
    ("value", "binary16"): ("degraded", 7.2),
    ("value", "bfloat16"): ("faithful", 0.31),
    ("gradient", "binary64"): ("accurate", 0.44),
    ("gradient", "binary32"): ("textbook", 0.77),
    ("gradient", "binary16"): ("correctly rounded", 0.22),
    ("gradient", "bfloat16"): ("correctly rounded", 0.19),
}


def _grades(quantity: Quantity, format: str) -> list[Grade]:
    word, ratio = _WORD[quantity, format]
    common: dict[str, Any] = {"quantity": quantity, "format": format, "device": "cpu", "case": CASE.to_json()}
    histogram = [(0.5, 2100), (1.0, 1507), (4.0, 310), (64.0, 12), (math.inf, 1)]
    every = Grade(
        **common,
        regime="all",
        grade=word,
        max_ulp=ratio * 2.75,
        max_ratio=ratio,
        examples=3930,
        histogram=histogram,
    )
    parts = []
    for i, regime in enumerate(REGIMES):
        worst = ratio if i == 0 else 0.62 / (i + 1) + 0.01 * len(format)
        parts.append(
            Grade(
                **common,
                regime=regime,
                grade=word if i == 0 else "faithful",
                max_ulp=worst * 2.75,
                max_ratio=worst,
                examples=655,
                histogram=[(0.5, 500), (1.0, 155)],
            )
        )
    return [every, *parts]
