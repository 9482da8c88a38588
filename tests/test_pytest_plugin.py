"""Laws as tests: what passes, fails, is skipped and is expected, with the decorator and with ``pytest --polyref``."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from test_readme import blocks

import polyref
from polyref.property import load_properties
from polyref_properties.mutants import textbook

pytest_plugins = "pytester"

COUNT = len(load_properties())

ROOT = Path(__file__).parents[1]
#: A checkout that was not installed since has no entry point.
INSTALLED = any(e.value == "polyref.pytest_plugin" for e in entry_points(group="pytest11"))
PLUGIN = () if INSTALLED else ("-p", "polyref.pytest_plugin")
HEAD = """
import polyref
import torch.nn.functional as F

calls = []

def pt(logits, labels):
    return F.softmax(logits, -1).gather(-1, labels[:, None])[:, 0]

def loss(logits, labels, epsilon=1.0):
    return F.cross_entropy(logits, labels, reduction="none") + epsilon * (1 - pt(logits, labels)) ** 2

def nothing(logits, labels):
    loss(logits, labels)

def raises(logits, labels):
    raise ValueError("no two\\nlines")

QUICK = dict(profile="quick", formats="binary32, bfloat16")
LAWS = ["affine-in-epsilon", "coefficient-j-is-one-over-j-plus-eps", "weight-multiplies-the-whole-loss"]
"""


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """What a session inside of this one imports is forgotten after it, so everything is loaded before, once."""
    polyref.audit(textbook, profile="quick", formats="binary32", properties=["affine-in-epsilon"])


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run pytest on a test module, with the loss under test beside it."""
    monkeypatch.setenv("COLUMNS", "120")

    def one(source: str = "", *options: str) -> pytest.RunResult:
        if source:
            pytester.makepyfile(test_it=HEAD + source)
        return pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", *([] if INSTALLED else ["-p", "polyref.pytest_plugin"]), *options
        )

    return one


def test_the_plugin_is_registered() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"polyref": "polyref.pytest_plugin"}


# --- the decorator --------------------------------------------------------------------------------------------------


def test_one_test_for_each_law(run) -> None:
    result = run(
        """
@polyref.pytest.parametrize(loss, **QUICK, properties=LAWS)
def test_loss(law):
    calls.append(law.id)
    law.check()

def test_all_were_called():
    assert calls == ["returns-a-value", *LAWS]
""",
        "-v", "-rs",
    )  # fmt: skip
    result.assert_outcomes(passed=3, failed=1, skipped=1)
    out = result.stdout.str()
    assert "test_it.py::test_loss[affine-in-epsilon] PASSED" in out
    assert "test_it.py::test_loss[coefficient-j-is-one-over-j-plus-eps] FAILED" in out
    assert "SKIPPED" in out
    assert re.search(r"SKIPPED \[1\] test_it.py:\d+: It has no class weights\.", out)


def test_a_failure_is_the_finding_and_nothing_of_ours(run) -> None:
    result = run(
        """
@polyref.pytest.parametrize(loss, **QUICK, properties=[LAWS[1]])
def test_loss(law):
    law.check()
"""
    )
    result.stdout.fnmatch_lines(
        [
            "✗ coefficient-j-is-one-over-j-plus-eps  series, binary32",
            "  Law        The coefficient of x^(gamma+j) is 1/j + eps_j for every j up to N*",
            "  Subject    The coefficient of x is 1.5 where 1 + eps_1 = 2. The error is not one of rounding in",
            "  Case       binary32 logits [[]0, 0], target 0, epsilon 1, reduction none",
            "  Expected   coefficient of x: 1 + eps_1 = 2",
            "  Observed   coefficient of x: 1.5",
            "  Error      * times the tolerance",
            "  Also in    bfloat16 (*",
            "  Remedy     *",
            "  Reproduce  polyref check test_it.py:loss --property coefficient-j-is-one-over-j-plus-eps --case *",
        ]
    )
    out = result.stdout.str()
    assert "Traceback" not in out
    assert "polyref/pytest.py" not in out
    assert "law.check()" not in out


def test_expected_failures(run) -> None:
    result = run(
        """
@polyref.pytest.parametrize(loss, **QUICK, properties=LAWS, expected_failures={LAWS[1]: "squared on purpose"})
def test_expected(law):
    law.check()

@polyref.pytest.parametrize(loss, **QUICK, properties=LAWS[:1], expected_failures={LAWS[0]: "but it is"})
def test_unexpected_pass(law):
    law.check()
""",
        "-rxf",
    )
    result.assert_outcomes(passed=3, failed=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "XFAIL test_it.py::test_expected[[]coefficient-j-is-one-over-j-plus-eps] - squared on purpose",
            "FAILED test_it.py::test_unexpected_pass[[]affine-in-epsilon] - [[]XPASS(strict)] but it is",
        ]
    )


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("expected_failures={'affine-in-epsilo': 'r'}", "no law of test_it.py:loss is called 'affine-in-epsilo': *"),
        (
            "expected_failures={LAWS[2]: 'r'}",
            "'weight-multiplies-the-whole-loss' does not apply to test_it.py:loss (it has no class weights): "
            "take it out of expected_failures",
        ),
        ("expected_failures={LAWS[0]: ' '}", "the reason for 'affine-in-epsilon' is ' ': say why *"),
        ("seed=1, formats='binary33'", "unknown format 'binary33': *"),
        ("timeout=3.0", "timeout and memory need a process of its own for test_it.py:loss: *"),
    ],
)  # fmt: skip
def test_what_is_stale_fails_when_tests_are_collected(run, options: str, line: str) -> None:
    result = run(
        f"""
@polyref.pytest.parametrize(loss, properties=LAWS, {options})
def test_loss(law):
    law.check()
"""
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ERROR collecting test_it.py*", f"polyref.pytest.parametrize: {line}"])
    assert "Traceback" not in result.stdout.str()


def test_what_cannot_be_called_is_one_failure_of_one_line(run) -> None:
    result = run(
        """
@polyref.pytest.parametrize(raises, **QUICK, properties=LAWS, expected_failures={LAWS[0]: "whatever"})
def test_raises(law):
    law.check()

@polyref.pytest.parametrize(nothing, **QUICK, properties=LAWS)
def test_nothing(law):
    law.check()

@polyref.pytest.parametrize("gone.py:loss", **QUICK, properties=LAWS)
def test_gone(law):
    law.check()

@polyref.pytest.parametrize(nothing, properties=LAWS, expected_failures={"returns-a-value": "a stub"})
def test_stub(law):
    law.check()
""",
        "-rsx",
    )
    result.assert_outcomes(failed=3, skipped=12, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "*test_raises[[]returns-a-value]*",
            "raises: no way of calling it works. Tried *ValueError: no two*",
            "*test_nothing[[]returns-a-value]*",
            "nothing returns None: its body has no return value",
            "*test_gone[[]returns-a-value]*",
            "target 'gone.py:loss': there is no file 'gone.py' in *",
            "SKIPPED * not tried: see returns-a-value",
            "XFAIL *returns-a-value* - a stub",
        ]
    )


def test_a_subject_of_the_test_module_in_a_process_of_its_own(run) -> None:
    """That process imports the test module too, and starts no further one."""
    result = run(
        """
@polyref.pytest.parametrize(loss, **QUICK, properties=LAWS[:2], isolated=True, expected_failures={LAWS[1]: "squared"})
def test_loss(law):
    law.check()
"""
    )
    result.assert_outcomes(passed=2, xfailed=1)


def test_the_subject_is_called_and_identified_once(run, monkeypatch: pytest.MonkeyPatch) -> None:
    from polyref.pytest import identify

    seen: list[object] = []
    monkeypatch.setattr("polyref.pytest.identify", lambda runner: seen.append(runner) or identify(runner))
    result = run(
        """
@polyref.pytest.parametrize(loss, **QUICK, properties=LAWS, expected_failures={LAWS[1]: "squared"})
def test_loss(law):
    law.check()
"""
    )
    result.assert_outcomes(passed=2, skipped=1, xfailed=1)
    assert len(seen) == 1


def test_the_tests_around_it_keep_their_state(run) -> None:
    run(
        """
import torch

@polyref.pytest.parametrize(loss, **QUICK, properties=LAWS[:1], expected_failures={"returns-a-value": "for its call"})
def test_loss(law):
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    try:
        law.check()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.rand(()) == expected
"""
    ).assert_outcomes(passed=1, failed=1)


def test_the_example_of_the_readme(run, pytester: pytest.Pytester) -> None:
    (example,) = [b for b in blocks("python") if "polyref.pytest" in b]
    pytester.makepyfile(test_example=example)
    some = "returns or decreasing or shift or weights-follow or affine"
    run("", "-k", some).assert_outcomes(passed=3, skipped=1, xfailed=1, deselected=COUNT - 4)


# --- the option -----------------------------------------------------------------------------------------------------


def test_a_target_without_a_test_file(run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(theirs=HEAD, test_other="def test_other(): raise AssertionError")
    result = run(
        "", "--polyref", "theirs.py:loss", "--polyref", "gone.py:loss", "--polyref-profile", "quick",
        "--polyref-formats", "binary32", "-v", "-k", "affine or coefficient-j or returns",
    )  # fmt: skip
    result.assert_outcomes(passed=2, failed=2, skipped=2, deselected=2 * COUNT - 4)
    result.stdout.fnmatch_lines(
        [
            "polyref[[]theirs.py:loss]::returns-a-value PASSED*",
            "polyref[[]theirs.py:loss]::coefficient-j-is-one-over-j-plus-eps FAILED*",
            "polyref[[]gone.py:loss]::returns-a-value FAILED*",
            "*polyref[[]theirs.py:loss]::coefficient-j-is-one-over-j-plus-eps*",
            "✗ coefficient-j-is-one-over-j-plus-eps  series, binary32",
            "  Reproduce  polyref check theirs.py:loss *",
        ],
    )


def test_targets_beside_the_tests_of_a_path(run) -> None:
    result = run("def test_mine(): pass", "--polyref", "gone.py:loss", "-k", "mine or returns", "test_it.py")
    result.assert_outcomes(passed=1, failed=1, deselected=COUNT)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--polyref-formats", "binary33"), "polyref: unknown format 'binary33': *"),
        (("--polyref-profile", "slow"), "*argument --polyref-profile: invalid choice: 'slow'*"),
        (("--polyref-seed", "x"), "*argument --polyref-seed: invalid int value: 'x'*"),
    ],
)
def test_an_option_that_cannot_be_used(run, options: tuple[str, ...], line: str) -> None:
    result = run("", "--polyref", "a:b", *options)
    assert result.ret in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    assert line.startswith("*") or "Traceback" not in result.stdout.str()
    (result.stdout if line.startswith("polyref") else result.stderr).fnmatch_lines([line])


def test_without_the_option_nothing_is_added(run) -> None:
    run("def test_mine(): pass").assert_outcomes(passed=1)


def test_several_processes_agree_on_the_tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(
        test_it=HEAD
        + """
@polyref.pytest.parametrize(loss, **QUICK, properties=LAWS)
def test_loss(law):
    law.check()
"""
    )
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    plugin = [] if INSTALLED else ["-p", "polyref.pytest_plugin"]
    result = pytester.runpytest_subprocess(
        "-n", "2", *plugin, "--polyref", "gone.py:loss", "-k", "not series", "test_it.py"
    )
    result.assert_outcomes(passed=2, failed=2, skipped=1 + COUNT)
