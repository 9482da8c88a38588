"""Derivatives in the place of a loss: objectives of boosting libraries return a gradient and a Hessian, and no value.

Such a function is called like a loss and can be compared with the reference's gradients, but there is no loss to judge.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from polyref.case import Case
from polyref.reference.ball import evaluate_balls
from polyref.spec import Link, Reduction, Spec
from polyref.subject.convention import Convention, NotJudged
from polyref.subject.names import DATASETS
from polyref.subject.plausible import sure
from polyref.subject.signature import data_arguments, signature_of
from polyref.subject.trial import Found, Trials

#: Half of the digits of binary32, which the trials are made in.
_AGREES = 2.0**-12
_EPSILONS = (0.0, 1.0, -1.0, 2.0)
_GAMMAS = (0.0, 2.0)


class Dataset:
    """Labels as boosting libraries hand them over."""

    def __init__(self, labels: Tensor) -> None:
        self._labels = labels

    def get_label(self) -> Tensor:
        """The labels."""
        return self._labels

    def get_weight(self) -> None:
        """No weights."""


def labelled(subject: Any) -> Any:
    """The subject, or one that takes labels where the subject takes a data set with labels in it."""
    data = data_arguments(signature_of(subject))
    if isinstance(subject, type) or data is None or str(data.labels).lower() not in DATASETS:
        return subject

    @functools.wraps(subject)
    def taking_labels(preds: Tensor, labels: Tensor) -> Any:
        return subject(preds, Dataset(labels))

    del taking_labels.__wrapped__  # its signature would be the subject's
    return taking_labels


def refuse_derivatives(trials: Trials, found: Found, case: Case) -> None:
    """Refuse what makes no sense as a loss, if it makes sense as its gradient.

    Raises:
        NotJudged: if the result vanishes at certain right predictions, is negative for the targets of undecided ones
            and positive for all others; the message says which gradient it is.
    """
    targets = [t for t in case.target if isinstance(t, int)]

    def observed(logits: list[tuple[float, ...]]) -> Tensor | None:
        outcome = trials.run(found.convention, replace(case, logits=tuple(logits)), quiet=True)
        return outcome.value if outcome is not None and outcome.kind == "elements" else None

    right = observed([sure(case, t) for t in targets])
    undecided = observed([(0.0,) * case.classes] * len(targets))
    if right is None or undecided is None or not float(right.abs().max()) < 1e-3:
        return
    at_target = torch.nn.functional.one_hot(torch.tensor(targets), case.classes).bool()
    if bool((torch.where(at_target, -undecided, undecided) > 0).all()):
        raise NotJudged(
            f"{found.convention.name} returns derivatives in the place of a loss: called as {found.kept.text}, "
            f"{_which(found.convention, case, trials)}. There is no value to judge: give the loss itself"
        )


def _which(convention: Convention, case: Case, trials: Trials) -> str:
    """Which gradient of the family it is, in words."""
    outcome = trials.run(convention, case, quiet=True)
    values = [] if outcome is None or outcome.value is None else outcome.value.double().flatten().tolist()
    best, formula = 1.0, ""
    for link, epsilon, gamma in itertools.product((Link.SOFTMAX, Link.SIGMOID), _EPSILONS, _GAMMAS):
        asked = replace(case, spec=Spec(link=link, epsilon=(epsilon,), gamma=gamma, reduction=Reduction.SUM))
        exact = [float(g.mid()) for row in evaluate_balls(asked, bits=60, floor=-1200).gradient for g in row]
        difference = max((abs(a - b) for a, b in zip(exact, values, strict=False)), default=1.0)
        if difference < best:
            focal = f"x^{gamma:g} " if gamma else ""
            power = f"x^{gamma + 1:g}" if gamma else "x"
            polynomial = f" {epsilon:+g} {power}".replace("+1 ", "+ ").replace("-1 ", "- ") if epsilon else ""
            best, formula = difference, f"{focal}{'CE' if link is Link.SOFTMAX else 'BCE'}{polynomial}"
    if best <= _AGREES:
        return f"it gives the gradient of {formula} to within {best:.2g} on the trial batch"
    nearest = f", and that of {formula}, the nearest, is {best:.2g} away on the trial batch" if formula else ""
    return f"it gives no gradient of the family{nearest}"
