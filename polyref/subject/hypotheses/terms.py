"""The hypotheses on exponents, coefficients, the focal factor and factors of the whole loss."""

from __future__ import annotations

import numpy as np

from polyref.subject.hypotheses.choice import Choice
from polyref.subject.rows import Array


def _sigmoid(z: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0, -z)))


_FOCAL = "Multiply both parts by (1 - Pt) ** gamma."
_POWER = "Raise 1 - Pt to gamma + j in the term of epsilon_j."
_COEFFICIENT = "Multiply (1 - Pt) ** (gamma + j) by epsilon_j, as it is given."

_POWERS = (
    *(
        Choice(
            "power",
            f"{{X}}^{m}",
            f"The exponent is fixed at {m}, whatever gamma and j are.",
            _POWER,
            lambda rows, x, j, m=m: x**m,
        )
        for m in (1, 2, 3, 4)
    ),
    Choice(
        "power",
        "1",
        "The coefficient stands alone, without a power of x: a constant, which trains nothing.",
        _POWER,
        lambda rows, x, j: np.ones_like(x),
    ),
    Choice("power", "{X}^{g}", "The exponent is gamma, not gamma + j.", _POWER, lambda rows, x, j: x**rows.gamma),
    Choice(
        "power",
        "{X}^{j}",
        "The polynomial has no focal factor: its exponent is j, not gamma + j.",
        _POWER,
        lambda rows, x, j: x**j,
    ),
    Choice(
        "power",
        "{X}^({g}+{j}-1)",
        "The exponents begin with gamma, not with gamma + 1: the first term is not x.",
        _POWER,
        lambda rows, x, j: x ** (rows.gamma + j - 1),
    ),
    Choice(
        "power",
        "{X}^({g}+{j}+1)",
        "The exponent of the polynomial is one too large.",
        _POWER,
        lambda rows, x, j: x ** (rows.gamma + j + 1),
    ),
    Choice(
        "power",
        "(1 - Pt^({g}+{j}))",
        "The power is taken of Pt, not of 1 - Pt: 1 - Pt^j stands in the place of (1 - Pt)^j.",
        _POWER,
        lambda rows, x, j: 1 - (1 - x) ** (rows.gamma + j),
    ),
    Choice(
        "power",
        "Pt^({g}+{j})",
        "The polynomial is one of Pt, not of 1 - Pt: it rewards a wrong prediction.",
        _POWER,
        lambda rows, x, j: (1 - x) ** (rows.gamma + j),
    ),
    Choice(
        "power",
        "{X}^(1+({g}))^{j}",
        "The exponent is (gamma + 1) j, not gamma + j.",
        _POWER,
        lambda rows, x, j: x ** ((rows.gamma + 1) * j),
    ),
)

_EXPONENT = "Multiply by epsilon, and leave gamma + j as the exponent."

_POLYNOMIALS = (
    Choice(
        "polynomial",
        "{X}^({g}+1+|eps|)",
        "Epsilon is an exponent, not a factor: (1 - Pt)^(gamma + 1 + |epsilon|).",
        _EXPONENT,
        lambda rows, x: x ** (rows.gamma + 1 + abs(rows.epsilon[0])),
    ),
    Choice(
        "polynomial",
        "{X}^({g}+1+eps)",
        "Epsilon is an exponent, not a factor: (1 - Pt)^(gamma + 1 + epsilon).",
        _EXPONENT,
        lambda rows, x: x ** (rows.gamma + 1 + rows.epsilon[0]),
    ),
    Choice(
        "polynomial",
        "{X}^({g}+eps)",
        "Epsilon is an exponent, not a factor: (1 - Pt)^(gamma + epsilon).",
        _EXPONENT,
        lambda rows, x: x ** (rows.gamma + rows.epsilon[0]),
    ),
)

_COEFFICIENTS = (
    Choice("coefficient", "-{e}", "Epsilon has the wrong sign.", _COEFFICIENT, lambda rows, j: -rows.epsilon[j - 1]),
    Choice("coefficient", "0", "The polynomial is missing.", _COEFFICIENT, lambda rows, j: 0.0),
    Choice(
        "coefficient",
        "1",
        "Epsilon is ignored: every coefficient is 1.",
        _COEFFICIENT,
        lambda rows, j: 1.0,
    ),
    Choice(
        "coefficient",
        "1 (j = 1), {e}",
        "The first epsilon is ignored: its coefficient is always 1.",
        _COEFFICIENT,
        lambda rows, j: 1.0 if j == 1 else rows.epsilon[j - 1],
    ),
    Choice(
        "coefficient",
        "{e}^2",
        "Epsilon is squared.",
        _COEFFICIENT,
        lambda rows, j: rows.epsilon[j - 1] ** 2,
    ),
    Choice(
        "coefficient",
        "|{e}|",
        "The sign of epsilon is lost.",
        _COEFFICIENT,
        lambda rows, j: abs(rows.epsilon[j - 1]),
    ),
    Choice(
        "coefficient",
        "{e} (j = N only)",
        "Only the last of the N terms is there.",
        "Add up all terms: total = total + epsilon_j * (1 - Pt) ** j.",
        lambda rows, j: rows.epsilon[j - 1] if j == len(rows.epsilon) else 0.0,
    ),
    Choice(
        "coefficient",
        "{e} (j = 1 only)",
        "Only the first of the N terms is there.",
        "Add up all terms: total = total + epsilon_j * (1 - Pt) ** j.",
        lambda rows, j: rows.epsilon[0] if j == 1 else 0.0,
    ),
    Choice(
        "coefficient",
        "{e}/({j}+1)",
        "Epsilon_j is divided by j + 1.",
        _COEFFICIENT,
        lambda rows, j: rows.epsilon[j - 1] / (j + 1),
    ),
    Choice(
        "coefficient",
        "{e}/{j}",
        "Epsilon_j is divided by j.",
        _COEFFICIENT,
        lambda rows, j: rows.epsilon[j - 1] / j,
    ),
    Choice(
        "coefficient",
        "{j} {e}",
        "Epsilon_j is multiplied by j.",
        _COEFFICIENT,
        lambda rows, j: rows.epsilon[j - 1] * j,
    ),
    Choice(
        "coefficient",
        "{c} {e}",
        "Epsilon is multiplied by {c}.",
        _COEFFICIENT,
        lambda rows, j, c: c * rows.epsilon[j - 1],
        (-100.0, 100.0),
    ),
    Choice(
        "coefficient",
        "({e} + {c})",
        "{c} is added to epsilon.",
        _COEFFICIENT,
        lambda rows, j, c: c + rows.epsilon[j - 1],
        (-100.0, 100.0),
    ),
)

_FOCALS = (
    Choice("focal", "", "The logarithm has no focal factor.", _FOCAL, lambda rows, x: np.ones_like(x)),
    Choice(
        "focal",
        "Pt^{g}",
        "The focal factor is Pt^gamma, not (1 - Pt)^gamma: it attends to what is right already.",
        _FOCAL,
        lambda rows, x: (1 - x) ** rows.gamma,
    ),
    Choice(
        "focal",
        "(1 - sigmoid z_y)^{g}",
        "The focal factor is that of a sigmoid, beside a softmax in the rest.",
        _FOCAL,
        lambda rows, x: (1 - _sigmoid(rows.z)) ** rows.gamma,
    ),
    Choice(
        "focal",
        "(x + {c})^{g}",
        "The focal factor is guarded: (x + {c})^gamma.",
        "Raise 1 - Pt itself to gamma.",
        lambda rows, x, c: (x + c) ** rows.gamma,
        (1e-16, 0.2),
    ),
)

_FACTORS = (
    Choice("factor", "-", "The loss is negated: it is to be maximised.", "Return -loss.", lambda rows: -1.0),
    Choice(
        "factor",
        "x ",
        "The whole loss is multiplied by x once more: the focal exponent is gamma + 1.",
        _FOCAL,
        lambda rows: 1 - rows.p,
    ),
    Choice(
        "factor",
        "{c} ",
        "The whole loss is multiplied by {c}.",
        "Leave the factor out.",
        lambda rows, c: c,
        (-100.0, 100.0),
    ),
)

TERMS: tuple[Choice, ...] = (*_POWERS, *_POLYNOMIALS, *_COEFFICIENTS, *_FOCALS, *_FACTORS)
