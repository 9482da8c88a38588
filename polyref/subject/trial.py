"""Trials: small exact cases, and what came back from one call of them.

The batch has another size than the class count, so that a result of N numbers is not mistaken for one of C, and its
labels name the last class, so that code which counts the classes by the largest label counts right.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from polyref.case import Case
from polyref.formats import BINARY32
from polyref.spec import Spec
from polyref.subject.call import Caller, handed_over
from polyref.subject.convention import LEFT_OUT, Attempt, Code, Convention, Result, path_text
from polyref.subject.forms import brought_back
from polyref.subject.result import described, find_tensor, is_number, tensor_at
from polyref.subject.said import one_line

_isfinite = torch.isfinite  # as in :mod:`polyref.subject.call`


def trial_case(classes: int = 4) -> Case:
    """A case in binary32 whose numbers are exact in every 16-bit format too; N is 3, or 2 where C is 3."""
    rows = 2 if classes == 3 else 3
    logits = tuple(
        tuple((((7 * i + 5 * k) * 3) % 17 - 8) / 4 for k in range(classes))  # quarters from -2 to 2, no ties in a row
        for i in range(rows)
    )
    target = tuple([0, classes - 1, min(1, classes - 1)][:rows])
    return Case(Spec(gamma=2.0), BINARY32, logits, target)


def soft_case(classes: int) -> Case:
    """The trial case with each target half on its class and half on the next."""
    base = trial_case(classes)
    target = tuple(
        tuple(0.5 if k in (t, (t + 1) % classes) else 0.0 for k in range(classes))
        for t in base.target
        if isinstance(t, int)
    )
    return replace(base, target=target)


class Outcome(NamedTuple):
    """A call that raised nothing.

    Attributes:
        kind: the form of the result.
        path: where it lies in what was returned.
        value: the numbers, brought back to rows; None for no result.
        python_number: whether it was no tensor but a number.
    """

    kind: Result
    path: int | str | None
    value: torch.Tensor | None
    python_number: bool = False


@dataclass(frozen=True)
class Found:
    """A call that went through, and whether it makes sense of certain predictions."""

    convention: Convention
    outcome: Outcome
    sensible: bool = False

    @property
    def kept(self) -> Convention:
        """The convention, with the form of the result in it."""
        return replace(self.convention, result=self.outcome.kind, result_path=self.outcome.path)


class Trials:
    """Runs trials on one subject and keeps the list of them.

    Args:
        subject: the object under trial.
        device: the torch device.
        trying: told the text of every call before it is made, so that a call that kills its process is known.
    """

    def __init__(self, subject: Any, *, device: str, trying: Callable[[str], None]) -> None:
        self.subject = subject
        self.device = device
        self.trying = trying
        self.attempts: list[Attempt] = []
        self.wanted: dict[str, None] = {}

    def note(self, call: str, outcome: str) -> None:
        """Add a line to the list of attempts."""
        self.attempts.append(Attempt(call, outcome))

    @property
    def last(self) -> str:
        """How the last attempt went."""
        return self.attempts[-1].outcome if self.attempts else ""

    def lacking(self, option: str, names: tuple[str, ...]) -> None:
        """Take down arguments that must be given and that only the user can give."""
        self.wanted |= dict.fromkeys(f"{option} {name}=value" for name in names)

    def make(self, convention: Convention, case: Case) -> Any:
        """The callable that takes the data, or None (and a note) if it cannot be made."""
        call = convention.render_made(_values(convention, case))
        self.trying(call)
        caller = Caller(self.subject, convention, device=self.device)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = caller.make(case, caller.inputs(case).weight)
        except (Exception, SystemExit) as e:
            self.note(call, one_line(e))
            return None
        if not callable(made):
            self.note(call, f"gives {described(made)}, which cannot be called")
            return None
        return made

    def run(self, convention: Convention, case: Case, *, suffix: str = "", quiet: bool = False) -> Outcome | None:
        """Call the subject once.

        Args:
            convention: the candidate.
            case: a trial case.
            suffix: what the note says after the call's text.
            quiet: leave no note; for calls that only measure.

        Returns:
            The outcome, or None (and a note) if the call raised or its result has no known form.
        """
        text = text_of(convention, case) + suffix
        self.trying(text)
        caller = Caller(self.subject, convention, device=self.device)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _, given = handed_over(caller.inputs(case), gradient=convention.differentiable)
                raw = caller.call(caller.make(case, given.weight), case, given)
            outcome, words = classified(raw, convention, case)
        except (Exception, SystemExit) as e:
            if not quiet:
                self.note(text, one_line(e))
            return None
        if not quiet:
            self.note(text, words)
        return outcome


def finite(outcome: Outcome) -> bool:
    """Whether every number of the outcome is finite."""
    return outcome.value is None or bool(_isfinite(outcome.value).all())


def text_of(convention: Convention, case: Case) -> str:
    """The call of ``case`` as text, with the values that are passed."""
    return convention.render(_values(convention, case))


def _values(convention: Convention, case: Case) -> dict[str, Any]:
    spec = case.spec
    return {
        "num_classes": case.classes,
        "epsilon": _epsilon_text(convention, spec.epsilon),
        "terms": len(spec.epsilon),
        "gamma": spec.gamma,
        "alpha": LEFT_OUT if spec.alpha is None else spec.alpha,
        "weight": _weight_text(convention, case),
        "reduction": dict(convention.reduction_values).get(str(spec.reduction)),
        "smoothing": spec.smoothing,
        "ignore_index": case.ignore_index,
    }


def _epsilon_text(convention: Convention, epsilon: tuple[float, ...]) -> Any:
    first = (*epsilon, 0.0)[0]
    return {"list": epsilon, "tensor": Code(f"tensor([{first!r}])")}.get(convention.epsilon_form or "", first)


def _weight_text(convention: Convention, case: Case) -> Any:
    parameter = convention.parameter("weight")
    if case.weight is None and parameter is not None and not parameter.required:
        return LEFT_OUT
    return Code(f"tensor({list(case.weight) if case.weight is not None else [1.0] * case.classes})")


def classified(raw: Any, convention: Convention, case: Case) -> tuple[Outcome | None, str]:
    """What kind of result ``raw`` is for a batch of this shape, and in words; None for one that is no loss."""
    rows, classes = len(case.logits), case.classes
    if raw is None:
        return Outcome("nothing", None, None), "returned None"
    path: int | str | None = None
    value = tensor_at(raw, None)
    if value is None:
        try:
            path = find_tensor(raw)
        except LookupError:
            return None, f"returned {described(raw)}"
        value = tensor_at(raw, path)
    assert value is not None
    words = f"returned {described(raw)}, shape {tuple(value.shape)} at {path_text(path)}"
    if path is None:
        words = f"returned shape {tuple(value.shape)}"
    if not value.is_floating_point():
        return None, f"{words} of {str(value.dtype).removeprefix('torch.')}, which is no floating-point result"
    value = brought_back(value.detach(), convention, rows, classes)
    shape = tuple(value.shape)
    kind: Result
    if shape == (rows,):
        kind = "per_sample"
    elif shape == (rows, 1):
        kind = "column"
    elif shape == (rows, classes):
        kind = "elements"
    elif value.numel() == 1:
        kind = "scalar"
    else:
        return None, f"{words} for {rows} rows of {classes} classes, which is no known form of a result"
    # A tensor on the meta device has no numbers, and says so here.
    return Outcome(kind, path, value.to("cpu"), is_number(raw, path)), words
