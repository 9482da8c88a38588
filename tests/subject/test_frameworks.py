"""Subjects of numpy, JAX and TensorFlow: exact numbers in, values and gradients out, and laws that can tell."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from dataclasses import replace
from types import FunctionType, ModuleType

import pytest
import torch

from polyref.case import Case
from polyref.cli import run
from polyref.errors import UsageError
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, FORMATS
from polyref.property import Context, check, load_properties, objection
from polyref.search import search
from polyref.spec import Spec
from polyref.subject import Convention, LocalSubject, NoConvention
from polyref.subject.chance import SeededSubject
from polyref.subject.client import Subject
from polyref.subject.frameworks import framework, install_hint
from polyref.subject.frameworks.base import Call
from polyref.subject.frameworks.detect import candidates, finished_by
from polyref.subject.identify import identify
from polyref.subject.manner import Manner
from polyref.verdict import Verdict
from subject.cases import POLY_1, PRINTED

pytestmark = pytest.mark.usefixtures("one_thread")

AUDITED = (BINARY64, BINARY32, BINARY16, BFLOAT16)
ALL = tuple(f.name for f in AUDITED)
LAWS = {law.id: law for law in load_properties()}
GRADIENT = (0.7166797624729372, -0.9803315129903634, 0.2636517505174261)


def needs(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a library says while it is imported is not ours
        pytest.importorskip(name, reason=f"{name} is not installed: {install_hint(name)}")


def foreign(target: str):
    """``jax:poly1`` is poly1 of the module of subjects that are written in JAX."""
    name, _, attribute = target.partition(":")
    needs(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(importlib.import_module(f"subject.foreign.of_{name}"), attribute)


def local(target: str) -> LocalSubject:
    return LocalSubject(foreign(target))


def test_a_base_class_of_keras_casts_and_reduces_for_its_losses():
    needs("tensorflow")
    keras, tf = importlib.import_module("keras"), importlib.import_module("tensorflow")

    class Zeros(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return tf.reduce_sum(y_true * 0 + y_pred * 0, -1)

    class Own(Zeros):
        def __call__(self, y_true, y_pred):
            return self.call(y_true, y_pred)

    wide = tf.zeros((0, 3), "float64")
    for reduction in ("sum", "none", "sum_over_batch_size"):
        loss = Zeros(reduction=reduction)(wide, wide)
        assert (loss.dtype.name, tuple(loss.shape)) == ("float32", (0,))  # the framework's doing, not the subject's
    assert finished_by(Zeros) == finished_by(Zeros()) == "keras.losses.Loss"
    assert (
        finished_by(Own) is finished_by(keras.losses.categorical_crossentropy) is finished_by(torch.nn.NLLLoss) is None
    )
    runner = local("tensorflow:Poly1")
    dialect = identify(runner)
    for law in ("dtype-is-kept", "empty-batch"):
        assert "keras.losses.Loss" in objection(LAWS[law], runner.convention, dialect)
    assert any("keras.losses.Loss" in note for note in runner.convention.notes)


@pytest.mark.parametrize("name", ["tensorflow", "jax"])
def test_what_importing_a_framework_changes_is_not_told_of_its_subject(name, tmp_path):
    needs(name)
    file = tmp_path / "theirs.py"
    file.write_text(
        f"import os\nimport {name}\nos.environ['THEIRS'] = '1'\n"
        "def loss(logits, labels):\n    return logits[0, 0] * 0\n"
    )
    with Subject.open(f"{file}:loss", framework=name) as subject:
        assert subject.changed == ("the environment variable THEIRS",)


def judged(runner, law: str, fmt=BINARY32, examples=12) -> Verdict:
    context = Context(runner, identify(runner), fmt)
    return search(LAWS[law], context, examples=examples).verdict


# --- numbers ------------------------------------------------------------------------------------------------------


def telling(fmt) -> torch.Tensor:
    """Zeros of both signs, subnormals, neighbours of one, the extremes and infinities."""
    sub, tiny, u = fmt.smallest_subnormal, fmt.smallest_normal, fmt.unit_roundoff
    found = [0.0, -0.0, sub, -sub, tiny - sub, tiny, 1 - u, 1.0, 1 + 2 * u, fmt.largest, -fmt.largest]
    return torch.tensor([*found, float("inf"), -float("inf")], dtype=torch.float64).to(getattr(torch, fmt.torch_name))


@pytest.mark.parametrize("fmt", AUDITED, ids=ALL)
@pytest.mark.parametrize("name", ["torch", "numpy", "jax", "tensorflow"])
def test_numbers_go_there_and_back_bit_by_bit(name, fmt):
    needs(name)
    given = telling(fmt)
    call = Call(lambda z, y: (z, {"y": y}["y"]), None, None, (given, torch.tensor([3, 1])), {}, given)
    if (name, fmt) == ("numpy", BFLOAT16):
        with pytest.raises(TypeError, match="numpy has no bfloat16"):
            framework(name).run(call)
        return
    back, labels = framework(name).run(call)
    assert back.dtype is given.dtype
    assert [v.hex() for v in back.double().tolist()] == [v.hex() for v in given.double().tolist()]
    assert labels.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("target", "text", "formats"),
    [
        ("numpy:poly1", "poly1(logits, labels, epsilon=…) → (N,)", ALL[:3]),
        ("jax:poly1", "poly1(logits, labels, epsilon=…) → (N,)", ALL),
        ("jax:jitted", "poly1(logits, labels, epsilon=…) → (N,)", ALL),
        ("jax:branching", "branching(logits, labels, epsilon=…) → (N,)", ALL),
        ("jax:Poly1", 'Poly1(epsilon=…, reduction="none", weight=…)(logits, labels) → (N,)', ALL),
        ("tensorflow:poly1", "poly1(logits, labels, epsilon=…) → (N,)", ALL),
        ("tensorflow:traced", "poly1(logits, labels, epsilon=…) → (N,)", ALL),
    ],
)
def test_value_and_gradient_of_a_right_loss(target, text, formats):
    subject = local(target)
    name = target.partition(":")[0]
    convention = subject.convention
    assert (convention.framework, convention.text, convention.formats) == (name, text, formats)
    assert type(convention).from_json(convention.to_json()) == convention
    assert subject.environment()["framework"].startswith(f"{name} ")
    seen = subject.observe(PRINTED.with_spec(epsilon=(1.0,)), twice=True)
    assert seen.value == pytest.approx(POLY_1, rel=1e-15)
    assert (seen.shape, seen.dtype, seen.inputs_untouched) == ((2,), "binary64", True)
    assert seen.second.value_equal
    if name == "numpy":
        assert seen.gradient is None
        assert seen.gradient_reason == "numpy has no automatic differentiation"
    else:
        assert seen.gradient[0] == pytest.approx(GRADIENT, rel=1e-14)
        assert seen.second.gradient_equal
    for fmt in formats[1:]:
        assert subject.observe(replace(PRINTED, format=FORMATS[fmt], logits=((1.0, 2.0),), target=(0,))).dtype == fmt


def test_epsilon_and_weights_of_one_call_are_not_those_of_another():
    subject = local("jax:Poly1")
    plain = subject.observe(PRINTED.with_spec(epsilon=(0.0,))).value
    for epsilon in (1.0, -1.0, 2.0):
        for weight in ((1.0, 1.0, 1.0), (0.5, 2.0, 0.25)):
            seen = subject.observe(replace(PRINTED.with_spec(epsilon=(epsilon,)), weight=weight))
            polynomial = [a - b for a, b in zip(POLY_1, plain, strict=True)]
            due = [w * (p + epsilon * x) for w, p, x in zip(weight[1:], plain, polynomial, strict=True)]
            assert seen.value == pytest.approx(due, rel=1e-14)


def test_sixty_four_bits_are_enabled_for_binary64_alone():
    # With them ones of its own accord would be binary64, and so the loss of a batch in binary32.
    needs("jax")
    import jax.numpy as jnp

    def ones(logits, labels):
        return jnp.ones(len(logits)) * logits[jnp.arange(len(logits)), labels]

    subject, case = LocalSubject(ones), replace(PRINTED, logits=((1.0, 2.0),), target=(0,))
    for fmt in (BINARY64, BINARY32, BINARY64):
        assert subject.observe(replace(case, format=fmt)).dtype == fmt.name


# --- what is wrong is found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["numpy:poly1", "jax:poly1", "tensorflow:poly1"])
def test_a_right_loss_holds_the_laws_of_value_and_gradient(target):
    subject = local(target)
    assert judged(subject, "value-matches-the-reference") is Verdict.HOLDS
    if subject.convention.differentiable:
        assert judged(subject, "gradient-matches-the-reference") is Verdict.HOLDS
        assert judged(subject, "gradient-is-that-of-the-value", BINARY64) is Verdict.HOLDS
    else:
        law = LAWS["gradient-matches-the-reference"]
        assert objection(law, subject.convention, identify(subject)) == "numpy has no automatic differentiation"


def test_wrong_ones_are_found():
    assert "x^2" in identify(local("numpy:squared")).formula
    assert judged(local("numpy:squared"), "first-term-gradient-is-minus-one") is not Verdict.HOLDS
    assert judged(local("numpy:squared"), "eps-minus-one-cancels-first-term", BINARY64) is Verdict.VIOLATED
    assert judged(local("numpy:greedy"), "inputs-untouched-and-repeatable") is Verdict.VIOLATED
    assert judged(local("jax:detached"), "gradient-is-that-of-the-value", BINARY64) is Verdict.VIOLATED
    assert judged(local("jax:detached"), "gradient-matches-the-reference") is Verdict.VIOLATED
    cut = local("tensorflow:cut").observe(PRINTED)
    assert (cut.gradient, cut.gradient_reason) == (None, "the value does not depend on the logits")


@pytest.mark.parametrize("name", ["jax", "tensorflow"])
def test_flushed_subnormals_are_allowed_for_and_nothing_else_is(name):
    subject = local(f"{name}:poly1")
    dialect = identify(subject)
    assert dialect.flushes == {"binary64", "binary32", "bfloat16"}
    case = Case(Spec(epsilon=(1.0,)), BINARY32, ((88.02969360351562, 0.0),), (0,))
    assert subject.observe(case).gradient[0][1] == 0.0  # 1.2e-38, which binary32 has
    law = LAWS["gradient-matches-the-reference"]
    assert check(law, case, Context(subject, dialect, BINARY32)).ratio <= 1
    assert check(law, case, Context(subject, replace(dialect, flushes=frozenset()), BINARY32)).ratio > 1e4
    # A gradient that is twice too large where it is a normal number is none of that.
    milder = replace(case, logits=((70.0, 0.0),))
    truth = Context(subject, dialect, BINARY32).truth(milder)
    assert truth.gradient_ratio(0, 1, 2 * float(truth.gradient(0, 1))) > 1e4
    assert LocalSubject(torch.nn.functional.cross_entropy).environment().get("flushes") is None


@pytest.mark.parametrize("name", ["dropped", "dropped_alike"])
def test_chance_is_the_same_for_the_same_case(name):
    convention = Convention(name, "function", formats=("binary32",), reductions=("none",), framework="tensorflow")
    subject = SeededSubject(foreign(f"tensorflow:{name}"), convention=convention)
    case, other = (Case(Spec(), BINARY32, ((z,) * 40,), (1,)) for z in (3.0, 2.0))
    first, again = subject.observe(case).gradient, subject.observe(case).gradient
    assert first != again  # asked twice in a row
    subject.observe(other)
    assert first is not None
    assert subject.observe(case).gradient == first


# --- how it is called ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy", "jax", "tensorflow"])
def test_manners_of_torch_are_refused_and_their_laws_do_not_apply(name):
    subject = local(f"{name}:poly1")
    for mode in ("compiled", "autocast", "copied", "reloaded", "moved"):
        seen = subject.observe(PRINTED, gradient=False, manner=Manner(mode=mode))
        assert seen.refused
        assert seen.error == f"not asked: the mode {mode} is of torch, and this is {name}"
    assert "second derivatives" in subject.observe(PRINTED, manner=Manner(curvature=True)).error
    strided = subject.observe(PRINTED, gradient=False, manner=Manner(layout="strided"))
    assert strided.refused == (name != "numpy")
    dialect = identify(subject)
    for law in ("compiled-is-the-same", "autocast", "second-derivative-matches-the-reference", "classes-before-places"):
        assert name in (objection(LAWS[law], subject.convention, dialect) or "")


def test_a_loss_that_cannot_be_traced_is_run_as_it_is():
    convention = Convention("looking", "function", formats=("binary64",), reductions=("none",), framework="jax")
    seen = LocalSubject(foreign("jax:looking"), convention=convention).observe(PRINTED)
    assert seen.value == pytest.approx((1.9643687841079448, 0.17425452502421608), rel=1e-15)
    assert sum(seen.gradient[0]) == pytest.approx(0, abs=1e-15)


def test_one_program_of_jax_gives_the_value_and_the_gradient():
    # To compile a program takes a thousand times as long as to run it.
    poly1, traced = foreign("jax:poly1"), []

    def counted(logits, labels):
        traced.append(logits.shape)
        return poly1(logits, labels)

    convention = Convention("counted", "function", formats=("binary64",), reductions=("none",), framework="jax")
    subject = LocalSubject(counted, convention=convention)
    alone = subject.observe(PRINTED, gradient=False)
    with_gradient = subject.observe(PRINTED, gradient=True)
    assert traced == [(2, 3)] * 2  # once to look for a value of its own, and once to compile it
    assert alone.value == with_gradient.value
    assert alone.gradient is None
    assert with_gradient.gradient is not None


def test_a_value_of_its_own_is_seen_where_no_gradient_is_asked():
    needs("jax")
    import jax

    poly1 = foreign("jax:poly1")

    @jax.custom_vjp
    def doubled(logits, labels):
        return 2 * poly1(logits, labels)

    def forward(logits, labels):
        return jax.vjp(lambda z: poly1(z, labels), logits)

    doubled.defvjp(forward, lambda pull, upstream: (*pull(upstream), None))

    def nested(logits, labels):
        return jax.jit(lambda z: doubled(z, labels))(logits)

    for number, loss in enumerate((doubled, nested)):
        convention = Convention(f"l{number}", "function", formats=("binary64",), reductions=("none",), framework="jax")
        subject = LocalSubject(loss, convention=convention)
        assert subject.observe(PRINTED).value == pytest.approx(POLY_1, rel=1e-14)
        twice = tuple(2 * v for v in POLY_1)
        assert subject.observe(PRINTED, gradient=False).value == pytest.approx(twice, rel=1e-14)


def test_a_loss_in_jax_without_a_derivative_keeps_its_value():
    needs("jax")
    import jax

    poly1 = foreign("jax:poly1")

    def opaque(logits, labels):
        return jax.pure_callback(poly1, jax.ShapeDtypeStruct(logits.shape[:1], logits.dtype), logits, labels)

    convention = Convention("opaque", "function", formats=("binary64",), reductions=("none",), framework="jax")
    subject = LocalSubject(opaque, convention=convention)
    for _ in range(2):
        assert subject.observe(PRINTED, gradient=False).value == pytest.approx(POLY_1, rel=1e-15)
    seen = subject.observe(PRINTED)
    assert (seen.value, seen.gradient) == (pytest.approx(POLY_1, rel=1e-15), None)


def test_a_loss_of_keras():
    convention = local("tensorflow:Poly1").convention
    assert convention.text == 'Poly1(epsilon=…, reduction="none", from_logits=True)(one_hot_labels, logits) → (N,)'
    assert dict(convention.reduction_values) == {"none": "none", "sum": "sum", "mean": "sum_over_batch_size"}
    assert local("tensorflow:Poly1").observe(PRINTED).dtype == "binary32"  # Keras converts what it is given


def test_graphs_and_sessions():
    needs("tensorflow")
    with Subject.open("subject.foreign.of_graphs:poly1") as subject:
        assert subject.convention.framework == "tensorflow"
        for epsilon in (1.0, 0.0, 1.0):
            seen = subject.observe(PRINTED.with_spec(epsilon=(epsilon,)))
            due = POLY_1 if epsilon else (1.9643687841079448, 0.17425452502421608)
            assert seen.value == pytest.approx(due, rel=1e-14)
        assert seen.gradient[0] == pytest.approx(GRADIENT, rel=1e-14)
        assert "deprecated" not in " ".join(subject.log_tail()).lower()


def uses(names: str, code: str, module: str = "mine"):
    """A function f of a module that imported these packages, which need not be installed."""
    scope: dict = {"__name__": module} | {n: ModuleType(n) for n in names.split()}
    exec(code, scope)
    found = scope["f"]
    assert isinstance(found, FunctionType)
    return found


@pytest.mark.parametrize(
    ("names", "code", "order"),
    [
        ("torch numpy", "def f(z, y): return torch.exp(numpy.array(z))", ["torch", "numpy"]),
        ("torch jax", "def f(z, y): return jax.exp(z)", ["jax"]),
        ("numpy jax tensorflow", "def f(z, y): return g(z)\ndef g(z): return tensorflow.exp(z)", ["tensorflow"]),
        ("jax", "def f(z, y):\n def g(z): return jax.exp(z)\n return g(z)", ["jax"]),
        ("", "def f(z, y):\n import jax.numpy as jnp\n return jnp.exp(z)", ["jax"]),
        ("numpy", "def f(z, y): return numpy.exp(z)", ["numpy", "torch"]),
        ("jax", "def f(z, y): return z.exp()", ["jax"]),
        ("keras", "def f(z, y): return keras.ops.exp(z)", ["tensorflow"]),
    ],
)
def test_the_framework_is_the_one_that_the_code_names(monkeypatch, names, code, order):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    assert list(candidates(uses(names, code))) == order


def test_code_that_names_none_is_of_torch_first():
    assert next(iter(candidates(uses("", "def f(z, y): return z.exp()")))) == "torch"


def test_the_choice_can_be_made_by_hand():
    def norm(logits, labels):
        return logits.sum(-1)

    assert LocalSubject(norm).convention.framework == "torch"
    assert LocalSubject(norm, framework="numpy").convention.framework == "numpy"
    with pytest.raises(NoConvention, match="no way of calling it works"):
        LocalSubject(foreign("numpy:poly1"), framework="torch")


# --- what is not installed ----------------------------------------------------------------------------------------


def test_a_framework_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr("polyref.subject.frameworks.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"^framework jax is not installed: pip install 'polyref\[jax\]'$"):
        Subject.open("subject.foreign.of_jax:poly1", framework="jax")
    with pytest.raises(UsageError, match="'mxnet' is not known: choose one of torch, tensorflow, jax, numpy"):
        Subject.open("subject.foreign.of_jax:poly1", framework="mxnet")


@pytest.mark.parametrize("name", ["jax", "tensorflow"])
def test_a_target_whose_framework_is_not_installed_is_one_line(tmp_path, capsys, name):
    (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}', name={name!r})\n")
    loss = tmp_path / "loss.py"
    loss.write_text(f"import {name}\n\ndef loss(logits, labels): ...\n")
    assert run(["audit", f"{loss}:loss"]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert f"pip install 'polyref[{name}]'" in said


def test_polyref_loads_no_framework_of_its_own_accord():
    code = (
        "import sys, polyref.subject, polyref.subject.client, polyref.gallery; "
        "print(sorted({'torch', 'jax', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = (
        "import sys, torch, polyref.subject.local, polyref.subject.call; "
        "print(sorted({'jax', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
