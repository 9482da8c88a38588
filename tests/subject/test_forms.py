"""Forms of the data: what a subject replaces must not change what it is given."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch

from polyref.subject.convention import Convention, Inputs, LabelForm
from polyref.subject.forms import formed, presented

LOGITS, LABELS = torch.tensor([[0.5, -1.0], [2.0, 0.25]]), torch.tensor([1, 0])


def made() -> list[torch.Tensor]:
    base = Convention("loss", "function")
    inputs = [presented(LOGITS, LABELS, replace(base, inputs=i))[0] for i in get_args(Inputs)]
    return inputs + [formed(LABELS, form, 2, torch.float32) for form in get_args(LabelForm)]


def test_functions_of_torch_that_a_subject_replaces_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made()
    names = ("torch.softmax", "torch.log_softmax", "torch.sigmoid", "torch.minimum", "torch.nn.functional.one_hot")
    for name in names:
        monkeypatch.setattr(name, lambda *_, **__: torch.zeros(2))
    for got, want in zip(made(), before, strict=True):
        assert torch.equal(got, want)
