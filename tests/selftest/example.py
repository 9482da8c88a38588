"""A self-test document with something of everything."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from report.example import build as audit

from polyref.report.selftest import Failure, Law, Mutant, Pair, SelfTest, Settings, Trial, Variant

FORMATS = ["binary64", "bfloat16"]
LAWS = ("one", "two", "three")


def trials(*words: str) -> dict[str, Trial]:
    """Trials in the formats, each a letter and a number of examples: k3 is a kill by the third."""
    verdicts = {"k": "killed", "s": "survived", "i": "inconclusive", "t": "timed_out"}
    found = {}
    for name, word in zip(FORMATS, words, strict=False):
        if word:
            ratio, seen = (2e14, "0.25") if word[0] == "k" else (0.5, "")
            found[name] = Trial(verdicts[word[0]], int(word[1:]), ratio, seen)
    return found


def pair(law: str, subject: str, *words: str, reason: str = "") -> Pair:
    return Pair(law=law, subject=subject, reason=reason, trials=trials(*words))


def build(**changes: Any) -> SelfTest:
    """The example, with fields replaced by ``changes``."""
    document = SelfTest(
        environment=audit().environment,
        settings=Settings(
            seed=0,
            examples=25,
            formats=FORMATS,
            complete=True,
            patience=10.0,
            jobs=2,
            seconds=12.5,
            started="2026-01-01T00:00:00+00:00",
        ),
        laws=[
            Law(
                id=name,
                theme="values" if name == "three" else "series",
                statement=f"Law {name}.",
                formats="each" if name == "one" else "widest",
                mutants=["alpha"],
                seconds={"binary64": 1.5, "bfloat16": 0.5},
            )
            for name in LAWS
        ],
        mutants=[
            Mutant(
                name=name,
                theme=theme,
                kind=kind,
                defect=f"{name} is wrong",
                effect={"binary64": math.inf, "bfloat16": None if name == "gamma" else 0.5},
                expected=["binary64"],
            )
            for name, theme, kind in (
                ("alpha", "formula", "semantic"),
                ("beta", "formula", "semantic"),
                ("gamma", "parts", "numerical"),
            )
        ],
        variants=[Variant(name="textbook", oddity="nothing", computes="CE + eps x")],
        failures=[],
        kills=[
            pair("one", "alpha", "s25", "k4"),
            pair("two", "alpha", "k3", "s25"),
            pair("three", "alpha", "k1", "k1"),
            pair("one", "beta", "k10", "t3"),
            pair("two", "beta", "i25", "i25"),
            pair("three", "beta", reason="it takes no class weights"),
            pair("one", "gamma", "k30", "s25"),
            pair("two", "gamma", "k2"),
            pair("three", "gamma"),
        ],
        variant_trials=[pair(law, "textbook", "s25", "s25") for law in LAWS],
    )
    return msgspec.structs.replace(document, **changes)


def failure(**changes: Any) -> Failure:
    """A failure of a kind."""
    given = {
        "kind": "survived",
        "subject": "beta",
        "law": None,
        "format": "binary64",
        "text": "No law kills beta in binary64.",
        "case": "",
    }
    return Failure(**(given | changes))
