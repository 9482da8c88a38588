"""What a wrong implementation does otherwise is said in words, and nothing is said against a right one."""

from __future__ import annotations

import importlib

import pytest
import torch
from right import entropy, made, x
from torch.nn import functional as F

from polyref.gallery import ENTRIES
from polyref.subject.deviation import number, tidy
from polyref.subject.hypotheses import CHOICES, Formula
from polyref.subject.hypotheses.choice import RIGHT
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from polyref_properties.mutants import all_mutants, harmless

pytestmark = pytest.mark.usefixtures("one_thread")

RIGHT_LAW = "w [x^gamma CE + sum_j eps_j x^(gamma+j)]"

#: Mutants by name: what the formula or the deviation must say of each.
WORDS = {
    "squared-term": ("eps_j x^2", "Where gamma is 0 and there is one epsilon: The exponent is fixed at 2"),
    "sign-flipped": ("-eps_j x", "Epsilon has the wrong sign."),
    "epsilon-ignored": ("The first epsilon is ignored: its coefficient is always 1.",),
    "epsilon-as-exponent": ("x^(gamma+1+|eps|)", "Epsilon is an exponent, not a factor"),
    "epsilon-squared": ("eps_j^2 x", "Epsilon is squared."),
    "polynomial-without-epsilon": ("(eps_j + 0.001) x", "0.001 is added to epsilon."),
    "sigmoid-probability": ("(1 - sigmoid z_y)", "In the place of Pt stands the sigmoid of the target's logit."),
    "softmax-twice": ("CE of the probabilities", "softmax is applied twice"),
    "negated": ("-(w [", "The loss is negated"),
    "log-probability-as-pt": ("(1 - log Pt)", "In the place of Pt stands the logarithm of Pt."),
    "predicted-probability": ("(1 - max_k p_k)", "the largest probability, that of the predicted class"),
    "batch-mean-probability": ("(1 - batch mean of Pt)", "In the place of Pt stands the batch's mean Pt."),
    "class-mean-probability": ("(1 - mean_k p_k)", "which is always 1/C"),
    "temperature-two": ("Pt at temperature 2",),
    "truncated-series": ("sum_(j=1..10) x^j/j", "cut off after 10 terms"),
    "entropy-in-bits": ("CE/log 2", "The logarithm is to base 2."),
    "entropy-of-the-prediction": ("(-sum_k p_k log p_k)", "The entropy of the prediction"),
    "only-the-last-term": ("Only the last of the N terms is there.",),
    "only-the-first-term": ("Only the first of the N terms is there.",),
    "terms-from-zero": ("eps_j x^(gamma+j-1)", "The exponents begin with gamma"),
    "epsilon-over-next-j": ("eps_j/(j+1)", "Epsilon_j is divided by j + 1."),
    "epsilon-times-j": ("j eps_j", "Epsilon_j is multiplied by j."),
    "ten-bit-coefficient": ("(1 + 2^-10) eps_j", "Epsilon is multiplied by (1 + 2^-10)."),
    "twenty-bit-coefficient": ("(1 + 2^-20) eps_j", "Epsilon is multiplied by (1 + 2^-20)."),
    "polynomial-of-pt": ("eps_j Pt^(gamma+j)", "The polynomial is one of Pt, not of 1 - Pt"),
    "powers-of-pt": ("eps_j (1 - Pt^(gamma+j))", "1 - Pt^j stands in the place of (1 - Pt)^j"),
    "epsilon-alone": ("sum_j eps_j]", "The coefficient stands alone"),
    "exponent-two": ("eps_j x^2]", "The exponent is fixed at 2, whatever gamma and j are."),
    "exponent-three": ("eps_j x^3]", "The exponent is fixed at 3, whatever gamma and j are."),
    "exponent-gamma": ("eps_j x^gamma]", "The exponent is gamma, not gamma + j."),
    "polynomial-not-focal": ("eps_j x^j]", "The polynomial has no focal factor"),
    "entropy-not-focal": ("w [CE + sum_j eps_j x^(gamma+j)]", "The logarithm has no focal factor."),
    "gamma-plus-one": ("x (w [", "the focal exponent is gamma + 1"),
    "focal-factor-of-pt": ("Pt^gamma CE", "The focal factor is Pt^gamma"),
    "focal-factor-of-sigmoid": ("(1 - sigmoid z_y)^gamma CE + sum_j eps_j x^", "that of a sigmoid, beside a softmax"),
    "polynomial-detached": (RIGHT_LAW, "that of the logarithmic part alone: the polynomial has no gradient."),
    "cross-entropy-detached": (RIGHT_LAW, "that of the polynomial alone: the logarithmic part has no gradient."),
    "normaliser-detached": (RIGHT_LAW, "log-sum-exp has no gradient."),
    "mean-half-detached": (RIGHT_LAW, "Where reduction is mean: The gradient is 0.5 times that of the value."),
    "focal-factor-detached": (RIGHT_LAW, "Where gamma is above 0", "the focal factor has no gradient."),
    "target-detached-in-x": (RIGHT_LAW, "a constant in the place of the target's logit in x"),
    "target-logit-detached": (RIGHT_LAW, "p in the place of p - 1"),
    "gradient-halved": (RIGHT_LAW, "The gradient is 0.5 times that of the value."),
    "gradient-clipped": (RIGHT_LAW, "The gradient is clipped to [-0.1, 0.1]."),
    "wrong-predictions-reversed": (RIGHT_LAW, "The gradient is turned round where the prediction is wrong"),
    "weight-on-cross-entropy-only": (
        "w x^gamma CE + sum_j eps_j x^(gamma+j)",
        "The class weight multiplies the logarithm alone, not the polynomial.",
    ),
    "weight-on-polynomial-only": (
        "x^gamma CE + w sum_j eps_j x^(gamma+j)",
        "The class weight multiplies the polynomial alone, not the cross-entropy.",
    ),
    "probabilities-rescaled": ("(1 - Pt w/mu)", "Pt times w/mean(w)", "multiplies the cross-entropy alone"),
    "weight-normalised": ("w/sum(w) [", "The class weights are divided by their sum."),
    "weight-of-mean-one": ("w/mean(w) [", "The class weights are divided by their mean."),
    "weight-without-effect": ("x^gamma CE + sum_j", "The class weights are taken and not used."),
    "weight-squared": ("w^2 [", "The class weights are squared"),
    "weight-floored": ("max(w, 0.001) [", "The class weights are at least 0.001."),
    "weight-of-the-predicted-class": ("w of the predicted class [", "not of the label's"),
    "weight-twice-in-the-mean": ("sum w^2 l / sum w",),
    "polynomial-mean-over-samples": ("the polynomial by the number of samples",),
    "batch-mean-plus-samples": (
        "batch mean of CE",
        "reduced to its batch mean before the term of each sample is added",
    ),
    "first-row-for-all": ("(1 - Pt of row 0)", "the Pt of the first row"),
    "probabilities-over-the-batch": ("Pt divided by the batch's sum of Pt",),
    "batch-reversed": ("Reduction none returns the rows in reverse order.",),
    "none-is-mean": ("Reduction none returns the mean, in every row.",),
    "sum-is-mean": ("Reduction sum returns the mean.",),
    "sum-times-n": ("Reduction sum returns N times the sum.",),
    "mean-is-sum": ("Reduction mean returns the sum.",),
    "mean-is-the-largest": ("Reduction mean returns the largest loss.",),
    "mean-over-classes-too": ("Reduction mean divides by the number of classes as well.",),
    "ignored-rows-in-the-denominator": ("The mean counts ignored rows in what it divides by.",),
    "unknown-reduction-is-mean": ("The mean counts ignored rows in what it divides by.",),
    "smoothing-slipped-in": ("Label smoothing of 0.05 is built into the cross-entropy",),
    "smoothing-in-cross-entropy-only": ("Label smoothing acts on the cross-entropy alone",),
    "smoothing-in-polynomial-only": ("Label smoothing acts on the polynomial alone",),
    "smoothing-over-other-classes": ("s/(C - 1) to each other class",),
    "smoothing-of-indices-only": ("Soft labels are not smoothed, indices are.",),
    "soft-labels-made-indices": ("Soft labels are turned into their argmax.",),
    "soft-product": ("(1 - prod_k p_k^q_k)", "the product of p_k^q_k"),
    "soft-squares": ("(1 - sum_k q_k^2 p_k)",),
    "soft-labels-taken-for-logits": ("Soft labels are taken for logits",),
    "soft-labels-unweighted": ("The class weights have no effect on soft labels.",),
    "soft-weight-of-the-likeliest": ("that of its likeliest class",),
    "soft-labels-transposed": ("Soft labels are read as (C, N)",),
    "index-as-number": ("Pt times the class index as a number",),
    "labels-shifted": ("Each class is taken for the next one.",),
    "ignored-label-wraps": ("Labels that are to be ignored are taken modulo C",),
    "ignored-rows-with-a-gradient": (RIGHT_LAW, "Ignored rows have a gradient."),
    "ignore-index-is-minus-hundred": ("it is always -100",),
    "classes-over-the-batch": ("a softmax over the batch, where it has as many rows as there are classes",),
    "classes-sorted": ("The logits are sorted",),
    "logits-floored": ("No logit is further than 20 below the largest.",),
    "second-logit-alone": ("the sigmoid of the second of two logits",),
    "polynomial-as-a-column": ("(N, N) numbers",),
    "class-count-fixed": ("a softmax of the first 3 classes",),
    "offset-of-1e-8": ("log(Pt + 1e-08)",),
    "offset-of-1e-12": ("log(Pt + 1e-12)",),
    "probability-clamped": ("clamped to [1e-07, 1 - 1e-07]",),
    "probability-clamped-at-1e-3": ("clamped to [0.001, 1 - 0.001]",),
    "probability-clamped-at-1e-12": ("clamped to [1e-12, 1 - 1e-12]",),
    "probability-clamped-at-roundoff": ("clamped to [2^-52, 1 - 2^-52]",),
    "exponentials-in-binary16": ("added up in binary16",),
    "exponentials-in-bfloat16": ("added up in bfloat16",),
    "logits-clamped": ("The logits are clamped to [-30, 30].",),
    "ten-bit-logits": ("cut off after 10 bits of fraction",),
    "remainder-of-one-term": ("Where gamma is 0 and epsilon is -1", "cut off after 2 terms"),
    "remainder-truncated": ("Where gamma is 0 and epsilon is -1", "cut off after 8 terms"),
    "complement-through-binary16": ("rounded to binary16",),
    "focal-factor-offset": ("(x + 1e-06)^gamma",),
    "three-decimals": ("The losses are rounded to 3 decimals.",),
    "noise-added": ("changed by chance",),
    "epsilon-jittered": ("changed by chance",),
    "probabilities-guessed": ("Logits that all lie between 0 and 1 are taken for probabilities.",),
    "state-kept": (RIGHT_LAW, "A second call of one instance answers otherwise"),
    "running-mean-subtracted": (RIGHT_LAW, "A second call of one instance answers otherwise"),
    "inputs-overwritten": (RIGHT_LAW, "It writes into the tensors that it is given."),
    "logits-overwritten": (RIGHT_LAW, "It writes into the tensors that it is given."),
    "weight-overwritten": (RIGHT_LAW, "It writes into the tensors that it is given."),
    "epsilon-after-the-first-call": ("Where labels are soft or smoothed, no formula was found.",),
}

#: Mutants whose value and gradient are those of the right formula for every case that a formula is asked for: what is
#: wrong with them shows elsewhere, and a law says so.
RIGHT_ELSEWHERE = {
    "a second derivative": ("curvature-halved",),
    "another dtype, a copy, a mode": (
        "weight-left-behind",
        "exp-without-max-in-half",
        "half-in-binary64",
        "weight-left-out-of-the-state",
        "copy-resets-epsilon",
        "compiled-differs",
        "autocast-without-max",
        "result-in-binary32",
    ),
    "labels and names that are errors": (
        "unknown-reduction-is-none",
        "label-clamped",
        "label-wrapped",
        "label-from-the-end",
        "label-out-of-range-ignored",
    ),
    "no rows, or a number of them": ("sum-from-mean", "empty-batch-is-a-zero", "batch-size-fixed"),
    "another shape or layout": (
        "class-axis-last",
        "labels-in-another-order",
        "mean-over-places",
        "squeezed",
        "row-as-a-batch",
        "storage-read",
    ),
    "digits lost at the ends of the range": (
        "one-hot-times-logarithm",
        "log-of-softmax",
        "one-hot-product",
        "exp-without-max",
        "batch-maximum-subtracted",
        "normaliser-rounded",
        "denormals-flushed",
        "plain-power",
        "nan-to-num",
        "scaled-up",
    ),
    "a batch of one size": ("nothing-for-a-batch-of-three",),
}
EXEMPT = {name: why for why, names in RIGHT_ELSEWHERE.items() for name in names}


def found_of(mutant):
    return identify(LocalSubject(mutant.loss, name=mutant.name, convention=mutant.convention))


def test_every_mutant_is_in_one_of_the_tables():
    assert set(WORDS).isdisjoint(EXEMPT)
    assert set(WORDS) | set(EXEMPT) == set(all_mutants())


@pytest.mark.parametrize("name", sorted(WORDS))
def test_the_defect_is_named(name):
    found = found_of(all_mutants()[name])
    for words in WORDS[name]:
        assert words in f"{found.formula} | {found.deviation}"
    assert found.deviation
    assert found.remedy or "no formula was found" in found.deviation


@pytest.mark.parametrize("name", sorted(EXEMPT))
def test_what_is_wrong_elsewhere_has_the_right_formula(name):
    found = found_of(all_mutants()[name])
    assert found.known
    assert (found.formula, found.deviation, found.remedy) == (RIGHT_LAW, "", "")


@pytest.mark.parametrize("name", sorted(harmless()))
def test_nothing_is_said_against_a_harmless_variant(name):
    variant = harmless()[name]
    found = identify(LocalSubject(variant.loss, name=name, convention=variant.convention))
    assert found.known
    assert (found.deviation, found.remedy, found.notes) == ("", "", ())
    assert found.formula in {RIGHT_LAW, "CE + eps x", "CE + sum_j eps_j x^j"}


#: Gallery entries by id: what the deviation must say.
GALLERY = {
    "onehot-cross-entropy": "The class weight multiplies the logarithm alone, not the polynomial.",
    "onehot-sigmoid-focal": "The class weight and alpha multiply the logarithm alone, not the polynomial.",
    "gather-rescaled": "in the polynomial it rescales Pt by w/mean(w), which leaves a constant.",
    "rewrapped-cross-entropy": "that of the polynomial alone: the logarithmic part has no gradient.",
    "rewrapped-focal": "A second call of one instance answers otherwise than the first",
    "rewrapped-mixed-focal": "The polynomial takes its probabilities from sigmoids, beside a softmax",
}


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if e.framework == "torch" and e.id != "returns-nothing"], ids=lambda e: e.id
)
def test_gallery_entries_are_named(entry):
    module, _, name = entry.target.partition(":")
    found = identify(LocalSubject(getattr(importlib.import_module(module), name)))
    assert found.known
    assert GALLERY[entry.id] in found.deviation
    assert found.remedy


# --- plain signatures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (lambda z, y, e: entropy(z, y) + e * x(z, y) ** 2, "CE + eps x^2"),
        (lambda z, y, e: entropy(z, y) + x(z, y) + 0 * e, "CE + x"),
        (lambda z, y, e: entropy(z, y) + x(z, y) ** 3 + 0 * e, "CE + x^3"),
        (lambda z, y, e: entropy(z, y) - e * x(z, y), "CE - eps x"),
        (lambda z, y, e: entropy(z, y) + abs(e) * x(z, y), "CE + |eps| x"),
        (lambda z, y, e: entropy(z, y) + 0.3 * e * x(z, y), "CE + 0.3 eps x"),
        (lambda z, y, e: x(z, y) ** 2 * entropy(z, y) + e * x(z, y), "x^2 CE + eps x"),
        (lambda z, y, e: entropy(z.softmax(-1), y) + e * x(z.softmax(-1), y), "CE + eps x; softmax of the softmax"),
        (
            lambda z, y, e: F.cross_entropy(z, y, label_smoothing=0.1, reduction="none") + e * x(z, y),
            "(CE under label smoothing 0.1) + eps x",
        ),
        (lambda z, y, e: entropy(z, y).mean() + e * x(z, y), "batch mean of CE + eps x"),
        (
            lambda z, y, e: entropy(z, y).mean() + (e * (1 - z.softmax(-1).amax(-1))).mean(),
            "CE + eps (1 - max_k p_k)",
        ),
    ],
)
def test_laws_of_plain_functions(formula, text):
    found = identify(LocalSubject(made(formula), name="loss"))
    assert not found.known
    assert found.formula == text
    assert found.residual < 1e-8
    assert found.deviation


def test_a_value_without_a_gradient():
    found = identify(LocalSubject(made(lambda z, y, e: (entropy(z, y) + e * x(z, y)).detach()), name="loss"))
    assert found.known
    assert found.deviation == "It has no gradient at all: the value is cut off from the logits."


def test_a_gradient_that_nothing_simple_explains():
    def loss(logits, labels, epsilon=1.0):
        value = entropy(logits, labels) + epsilon * x(logits, labels)
        odd = torch.sin(37 * logits).sum(-1)
        return value + odd - odd.detach()

    assert "not that of the value, nor of one" in identify(LocalSubject(loss)).deviation


# --- the hypotheses themselves ------------------------------------------------------------------------------------


def test_hypotheses_are_consistent():
    for choice in CHOICES:
        assert choice.step in RIGHT or choice.step in {
            "polynomial",
            "weight of the logarithm",
            "weight of the polynomial",
        }
        assert choice.defect.endswith(".")
        assert choice.remedy.endswith((".", "labels[:, None])."))
        assert (choice.span is None) == ("{c}" not in choice.defect)
        assert choice.step in Formula((choice, 0.0))


@pytest.mark.parametrize(
    ("measured", "meant", "text"),
    [
        (0.05 + 1e-12, 0.05, "0.05"),
        (1e-8 * (1 + 1e-9), 1e-8, "1e-08"),
        (1 + 2.0**-20 * (1 + 1e-8), 1 + 2.0**-20, "(1 + 2^-20)"),
        (2.0**-52, 2.0**-52, "2^-52"),
        (1 / 3 - 1e-13, 1 / 3, "0.3333333"),
        (0.7231234, 0.7231234, "0.7231234"),
        (0.0, 0.0, "0"),
    ],
)
def test_measured_numbers(measured, meant, text):
    assert tidy(measured) == meant
    assert number(tidy(measured)) == text
