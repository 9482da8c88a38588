"""The data in the form that a convention asks for, and the result brought back to rows.

Every form is a rearrangement, or one function of torch, that is differentiable in the logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polyref.subject.convention import PROBABILITIES, Convention, Inputs, LabelForm, Layout
from polyref.subject.handover import Refused

# Bound before any subject is imported, as in :mod:`polyref.subject.call`.
_one_hot, _minimum = torch.nn.functional.one_hot, torch.minimum
_softmax, _log_softmax, _sigmoid = torch.softmax, torch.log_softmax, torch.sigmoid


def formed(labels: Tensor, form: LabelForm, classes: int, dtype: torch.dtype) -> Tensor:
    """Class indices (N,) in the form of the convention."""
    match form:
        case "index":
            return labels
        case "index_int32":
            return labels.int()
        case "index_column":
            return labels[:, None]
    hot = _one_hot(labels, classes)
    return {"one_hot": hot.to(dtype), "one_hot_bool": hot.bool()}.get(form, hot)


def presented(logits: Tensor, labels: Tensor, convention: Convention) -> tuple[Tensor, Tensor]:
    """Logits and labels as the subject gets them."""
    logits = _inputs(logits, convention.inputs)
    return _shaped(logits, convention.layout), _shaped(labels, convention.layout)


def _inputs(logits: Tensor, inputs: Inputs) -> Tensor:
    dim = 1 if logits.dim() > 1 else 0
    match inputs:
        case "probabilities":
            return _softmax(logits, dim)
        case "log_probabilities":
            return _log_softmax(logits, dim)
        case "sigmoid_probabilities":
            return _sigmoid(logits)
    return logits


def require_told(logits: Tensor, inputs: Inputs) -> None:
    """Check that rounded probabilities say as much of the logits as the leading half of their digits.

    Raises:
        Refused: where they do not, and whatever the subject made of them would tell nothing about it.
    """
    if inputs not in PROBABILITIES:
        return
    p, finfo = _inputs(logits.detach(), inputs), torch.finfo(logits.dtype)
    least, limit = p, finfo.smallest_normal
    if inputs == "sigmoid_probabilities":
        least, limit = _minimum(p, 1 - p), finfo.eps**0.5
    if bool((least < limit).any()):
        raise Refused("its probabilities are rounded to too few digits")


def _shaped(data: Tensor, layout: Layout) -> Tensor:
    match layout:
        case "images":
            return data[..., None, None]
        case "images_last":
            return data[:, None, None]
        case "flat":
            return data.flatten()
        case "flat_column":
            return data.flatten()[:, None]
    return data


def brought_back(value: Tensor, convention: Convention, rows: int, classes: int) -> Tensor:
    """The numbers of a result as a subject of plain rows would return them, a loss to be minimised."""
    if convention.layout != "rows" and value.dim() > 0:
        if value.numel() == rows and convention.result != "elements":
            value = value.reshape(rows)
        elif value.numel() == rows * classes:
            value = value.reshape(rows, classes)
    return -value if convention.negated else value
