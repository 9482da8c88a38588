"""Objectives that return derivatives: recognised, compared with the family, and not judged."""

from __future__ import annotations

import pytest
import torch
from right import log_softmax_once

from polyref.errors import NothingMeasured
from polyref.subject.client import Subject
from polyref.subject.convention import NotJudged
from polyref.subject.probe import probe
from subject import wild


@pytest.mark.parametrize(
    ("name", "call", "gradient"),
    [
        ("softmax_objective", "softmax_objective(labels, logits)[0] → (N, C)", "CE"),
        ("binary_objective", "binary_objective(logits, one_hot_labels)[0] → (N, C)", "BCE"),
        ("poly_objective", "poly_objective(labels, logits)[0] → (N, C)", "CE + x"),
    ],
)
def test_derivatives_are_named(name, call, gradient):
    with pytest.raises(NotJudged) as caught:
        probe(getattr(wild, name), name)
    said = str(caught.value)
    assert said.startswith(
        f"{name} returns derivatives in the place of a loss: called as {call}, it gives the gradient"
    )
    assert f"the gradient of {gradient} to within" in said
    assert "\n" not in said


def test_a_gradient_of_another_formula():
    def objective(logits, labels):
        p = logits.detach().softmax(1)
        return 0.5 * (p - torch.nn.functional.one_hot(labels, p.shape[1])), p

    with pytest.raises(NotJudged, match=r"no gradient of the family, and that of .+, the nearest, is 0\.48 away"):
        probe(objective, "objective")


def test_a_loss_of_elements_is_no_derivative():
    assert probe(wild.multi_hot, "loss").result == "elements"
    assert probe(lambda z, y: (log_softmax_once(z, y), z), "loss").result == "per_sample"


def test_nothing_is_measured_and_that_is_no_success(tmp_path):
    file = tmp_path / "objective.py"
    file.write_text("def objective(y_true, y_pred):\n    p = y_pred.sigmoid()\n    return p - y_true, p * (1 - p)\n")
    with pytest.raises(NotJudged, match="the gradient of BCE") as caught, Subject.open(f"{file}:objective"):
        pass
    assert isinstance(caught.value, NothingMeasured)
    assert caught.value.exit_code == 3
