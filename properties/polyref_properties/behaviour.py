"""Laws of behaviour: what a loss must not do beside its mathematics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY32, named
from polyref.property import Context, Property
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.manner import Manner, Mode
from polyref.subject.observation import Observation
from polyref.verdict import Outcome, Truth
from polyref_properties.checks import UNDECIDED, answer, compare_values, same_numbers
from polyref_properties.conditions import all_of, always, needs_own_result, needs_torch
from polyref_properties.strategies import BENIGN, cases


def _batches(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, rows=(1, 3))


def _untouched(case: Case, context: Context) -> Outcome:
    seen = context.observe(case, gradient=context.convention.differentiable, twice=True)
    complaints = []
    if seen.inputs_untouched is False:
        complaints.append("the caller's tensors were overwritten")
    if seen.changed:
        complaints.append(f"the call changed {', '.join(seen.changed)}")
    second = seen.second
    if second is not None:
        if second.error is not None:
            complaints.append(f"the second call raised {second.error}")
        elif not second.value_equal:
            complaints.append("the second call returned another value")
        elif second.gradient_equal is False:
            complaints.append("the second call gave another gradient")
    text = "; ".join(complaints)
    return Outcome.of(
        float("inf") if complaints else 0.0,
        "inputs as they were, and the same result twice",
        text,
        f"{text[:1].upper()}{text[1:]}: the loss keeps state between calls, draws by chance, or changes what is not "
        "its own.",
    )


UNTOUCHED = Property(
    id="inputs-untouched-and-repeatable",
    theme="behaviour",
    statement="A call leaves its inputs as they were, and a second call with the same inputs returns the same.",
    formula="f(z, y) = f(z, y), bit by bit; z, y, w unchanged",
    citation="Convention of torch.nn losses",
    remedy="Assign results to local names, never to self or into the arguments.",
    applies=always,
    strategy=_batches,
    check=_untouched,
    mutants=(
        "state-kept",
        "inputs-overwritten",
        "logits-overwritten",
        "weight-overwritten",
        "running-mean-subtracted",
        "epsilon-after-the-first-call",
        "nothing-for-a-batch-of-three",
    ),
    of_chance=True,
)


# --- the same computation once more -------------------------------------------------------------------------------


def _same_bits(a: Observation, b: Observation) -> bool:
    """NaN is NaN, and 0 is not -0."""
    return repr((a.value, a.shape, a.gradient)) == repr((b.value, b.shape, b.gradient))


def _identical(first: Observation, other: Observation, how: str, explanation: str) -> Outcome:
    same = _same_bits(first, other)
    return Outcome.of(
        0.0 if same else math.inf,
        f"the same value and gradient {how}, bit by bit",
        "the same" if same else "others",
        explanation,
    )


def _deterministic(case: Case, context: Context) -> Outcome:
    gradient = context.convention.differentiable
    return _identical(
        context.observe(case, gradient=gradient),
        context.observe(case, gradient=gradient),
        "from another instance",
        "Two instances that are made and called alike return different results: the loss depends on chance.",
    )


DETERMINISTIC = Property(
    id="deterministic",
    theme="behaviour",
    statement="Two instances made alike return the same for the same inputs, bit by bit.",
    formula="f(z, y) = f'(z, y)",
    citation="torch.use_deterministic_algorithms, documentation",
    remedy="Draw no random numbers in a loss, and keep nothing that outlives an instance.",
    applies=always,
    strategy=_batches,
    check=_deterministic,
    mutants=("noise-added", "epsilon-jittered"),
    self_scaled=True,
    of_chance=True,
)


def _identical_in(mode: Mode, how: str, explanation: str) -> Callable[[Case, Context], Outcome]:
    """The check that the subject returns the same in a mode that it may refuse."""

    def check(case: Case, context: Context) -> Outcome:
        gradient = context.convention.differentiable
        seen = answer(context, case, Manner(mode=mode), gradient=gradient)
        if seen is None:
            return UNDECIDED
        return _identical(context.observe(case, gradient=gradient), seen, how, explanation)

    return check


def _needs_an_object(convention: Convention, _: Dialect) -> str | None:
    return "it is a function, and has no state to copy" if convention.kind == "function" else None


COPIED = Property(
    id="deep-copy-is-the-same",
    theme="behaviour",
    statement="A deep copy of the loss returns what the loss itself returns.",
    formula="copy.deepcopy(f)(z, y) = f(z, y), bit by bit",
    citation="copy.deepcopy, documentation; averaged models are made by it",
    remedy="Keep parameters in attributes and tensors in buffers, and define no __deepcopy__.",
    applies=all_of(needs_torch, _needs_an_object),
    strategy=_batches,
    check=_identical_in(
        "copied", "from a deep copy", "A deep copy of the loss returns something else than the loss itself."
    ),
    mutants=("copy-resets-epsilon",),
    self_scaled=True,
)


def _needs_weights_kept(convention: Convention, _: Dialect) -> str | None:
    weight = convention.parameter("weight")
    if weight is None or weight.where != "constructor":
        return "no class weights are given to its constructor"
    return None


def _weighted(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, rows=(2, 3), weighted=True)


RELOADED = Property(
    id="state-dict-carries-everything",
    theme="behaviour",
    statement="A module that is given the state_dict of another one has its class weights.",
    formula="f'.load_state_dict(f.state_dict()): f'(z, y) = f(z, y), bit by bit",
    citation="torch.nn.Module.register_buffer, documentation",
    remedy="Keep class weights with register_buffer, not as a plain attribute.",
    applies=all_of(needs_torch, _needs_weights_kept),
    strategy=_weighted,
    check=_identical_in(
        "reloaded",
        "from another instance that has its state_dict",
        "The class weights are not in the state_dict: a reloaded model trains with others.",
    ),
    mutants=("weight-left-out-of-the-state",),
    self_scaled=True,
)


# --- the dtype ----------------------------------------------------------------------------------------------------


def _eighths(context: Context) -> SearchStrategy[Case]:
    """Numbers of every format."""
    return cases(context, kinds=("eighths",), rows=(1, 3))


def _kept(case: Case, context: Context) -> Outcome:
    """In every format that the subject accepts."""
    wrong = []
    for name in context.convention.formats:
        seen = context.observe(replace(case, format=named(name)))
        if seen.dtype != name:
            wrong.append((name, seen.dtype))
    asked, got = wrong[0] if wrong else (context.format.name, context.format.name)
    return Outcome.of(
        math.inf if wrong else 0.0,
        f"{asked} for logits in {asked}",
        str(got),
        f"Logits in {asked} have a loss in {got}: "
        + "; ".join(f"{g} comes for {a}" for a, g in wrong or [(asked, got)])
        + ".",
    )


DTYPE = Property(
    id="dtype-is-kept",
    theme="behaviour",
    statement="The loss has the dtype of the logits, whatever it computes with.",
    formula="f(z, y).dtype = z.dtype",
    citation="Convention of torch.nn losses",
    remedy="Convert the result back with .to(logits.dtype), and make new tensors by new_zeros or zeros_like.",
    applies=needs_own_result,
    strategy=_eighths,
    check=_kept,
    mutants=("result-in-binary32", "half-in-binary64"),
    self_scaled=True,
    of_chance=True,
)


# --- modes of torch -----------------------------------------------------------------------------------------------


def _compiled(case: Case, context: Context) -> Outcome:
    gradient = context.convention.differentiable
    manner = Manner(mode="compiled")
    seen = context.attempt(case, gradient=gradient, manner=manner)
    if seen.killed == "timeout":
        return UNDECIDED  # the compiler's doing
    if seen.error is not None and answer(context, case, manner, gradient=gradient) is None:
        return UNDECIDED
    plain = context.observe(case, gradient=gradient)
    return same_numbers(seen, plain, context.truth(case), "Under torch.compile the loss is another one.")


COMPILED = Property(
    id="compiled-is-the-same",
    theme="behaviour",
    statement="Under torch.compile the loss and its gradient are the same, or it cannot be compiled.",
    formula="|torch.compile(f)(z, y) - f(z, y)| <= both tolerances",
    citation="torch.compile, documentation",
    remedy="Do not ask torch.compiler.is_compiling, and keep Python state and data-dependent branches out of forward.",
    applies=needs_torch,
    strategy=_batches,
    check=_compiled,
    mutants=("compiled-differs",),
    limit=2,
)


def _needs_binary32(convention: Convention, _: Dialect) -> str | None:
    return None if "binary32" in convention.formats else "it does not take binary32"


@st.composite
def _scaled_eighths(draw: DrawFn, context: Context) -> Case:
    """Numbers of bfloat16, up to those whose exponentials no format holds."""
    case = draw(_eighths(context))
    factor = draw(st.sampled_from((1, 64, 8)))
    return replace(case, logits=tuple(tuple(z * factor for z in row) for row in case.logits))


def _autocast(case: Case, context: Context) -> Outcome:
    case = replace(case, format=BINARY32)
    manner = Manner(mode="autocast")
    seen = answer(context, case, manner)
    if seen is None:
        return UNDECIDED
    truth = Truth.of(context.dialect.own(case), compute=BFLOAT16)
    plain = context.observe(case)
    if len(seen.value or ()) != len(plain.value or ()):
        return Outcome.of(math.inf, f"{len(plain.value or ())} values", f"{len(seen.value or ())} values")
    return compare_values(seen, truth, "Under autocast the loss is further off than bfloat16 explains.")


AUTOCAST = Property(
    id="autocast",
    theme="behaviour",
    statement="Under autocast to bfloat16 the loss is the formula's, as nearly as bfloat16 gives it.",
    formula="|f(z, y) under autocast - exact| <= radius of the rounding model in bfloat16",
    citation="Automatic mixed precision package, torch.amp, documentation",
    remedy="Take log_softmax and softmax of the logits in float32, and round at the end if at all.",
    applies=all_of(needs_torch, _needs_binary32),
    strategy=_scaled_eighths,
    check=_autocast,
    mutants=("autocast-without-max",),
)

LAWS = (UNTOUCHED, DETERMINISTIC, DTYPE, COPIED, RELOADED, COMPILED, AUTOCAST)
