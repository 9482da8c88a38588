"""How formulas are written: one line of text for a dialect, and for the right loss with some steps chosen otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence

from polyref.spec import Link, Weighting
from polyref.subject.convention import Convention
from polyref.subject.deviation import Explained, number
from polyref.subject.dialect import Dialect
from polyref.subject.hypotheses import Formula

#: How many class weights are written out.
_SHOWN = 8


def formula(dialect: Dialect, convention: Convention) -> str:
    """The law in one line of text."""
    spec = dialect.spec
    gamma = "gamma" if "gamma" in dialect.settable else f"{spec.gamma:g}" if spec.gamma else ""
    ce = "BCE" if spec.link is Link.SIGMOID else "CE"
    log = f"x^{gamma} {ce}" if gamma else ce
    polynomial = _polynomial(dialect, convention, gamma)
    weighted = convention.can("weight") or dialect.built_in is not None
    together = spec.alpha_on_polynomial and bool(polynomial) and (not weighted or spec.weighting is Weighting.BOTH)
    if spec.alpha is not None and not together:
        log = f"alpha_t {log}"
        polynomial = f"alpha_t {polynomial}" if spec.alpha_on_polynomial and polynomial else polynomial
    if not polynomial:
        text = f"w {log}" if weighted else log
    elif together:
        text = f"{'w ' if weighted else ''}alpha_t [{log} + {polynomial}]"
    elif not weighted:
        text = f"{log} + {polynomial}"
    elif spec.weighting is Weighting.BOTH:
        text = f"w [{log} + {polynomial}]"
    elif spec.weighting is Weighting.CE_ONLY:
        text = f"w {log} + {polynomial}"
    else:
        text = _rescaled(gamma, polynomial, list_of_terms=convention.epsilon_form == "list", log=log)
    if dialect.built_in is not None:
        text += f", w {_classwise(dialect.built_in, convention)}"
    if spec.alpha is not None:
        text += f", alpha_t = {spec.alpha:g} for the target class, {1 - spec.alpha:g} for the others"
    text = text.replace("+ -", "- ")
    return f"{text}, for each logit by itself" if spec.link is Link.SIGMOID else text


def _polynomial(dialect: Dialect, convention: Convention, gamma: str) -> str:
    x = "mean_k x_k" if dialect.spec.mixed else "x"
    if convention.epsilon_form == "list":
        power = f"x^({gamma}+j)" if gamma else "x^j"
        return f"sum_j eps_j {power}"
    fixed = dialect.spec.polynomial_gamma
    exponent = dialect.spec.gamma if fixed is None else fixed
    follows = gamma == "gamma" and fixed is None

    def term(factor: str, j: int) -> str:
        power = f"^(gamma+{j})" if follows else f"^{exponent + j:g}" if exponent + j != 1 else ""
        return f"{factor}{x}{power}"

    if "epsilon" in dialect.settable:
        text = term("eps ", 1)
    else:
        plain = {1.0: "", -1.0: "-"}
        terms = [term(plain.get(e, f"{e:g} "), j) for j, e in enumerate(dialect.spec.epsilon, start=1) if e]
        if not terms:
            return ""
        text = " + ".join(terms)
    return text + (" (x_k = 1 - Pt of sigmoid)" if dialect.spec.mixed else "")


def _classwise(weights: tuple[float, ...], convention: Convention) -> str:
    """What built-in weights are, and whether a parameter says so."""
    shown = ", ".join(f"{w:g}" for w in weights[:_SHOWN]) + (", ..." if len(weights) > _SHOWN else "")
    if convention.default("weight") is None and convention.default("alpha") is None:
        return f"measured as ({shown})"
    return f"= {weights[0]:g} for class 0, {weights[1]:g} for the others" if len(weights) == 2 else f"= ({shown})"


def _rescaled(gamma: str, polynomial: str, *, list_of_terms: bool, log: str) -> str:
    if gamma or list_of_terms or not polynomial.startswith("eps "):
        rescaled = polynomial.replace("x^j", "(1 - Pt w/mu)^j")
        return f"w {log} + {rescaled} with Pt rescaled by w/mu in the polynomial"
    return "w [CE + (eps/mu) x] + eps (1 - w/mu)"


# --- formulas outside the family ----------------------------------------------------------------------------------


def law(dialect: Dialect, convention: Convention, found: Sequence[Explained]) -> str:
    """The formula of a subject that does some steps otherwise, everywhere or under conditions.

    Args:
        dialect: the member of the family that it is nearest to.
        convention: how it is called.
        found: what it does otherwise.
    """
    main = formula(dialect, convention) if dialect.known else otherwise(Formula(), dialect, convention)
    behind = []
    for explained in found:
        steps = explained.formula
        shown = any(choice.step in _IN_THE_FORMULA for choice, _ in explained.own)
        text = otherwise(steps, dialect, convention) if shown else ""
        remarks = [c.text.replace("{c}", number(n)) for c, n in explained.own if c.step not in _IN_THE_FORMULA]
        if explained.condition:
            behind.append(f"where {explained.condition}: {', '.join(filter(None, (text, *remarks)))}")
        else:
            main = text or main
            behind += remarks
    return "; ".join((main, *behind))


def otherwise(steps: Formula, dialect: Dialect, convention: Convention) -> str:
    """The formula of the right loss with some steps chosen otherwise, as far as a formula shows them."""
    spec = dialect.spec
    gamma = "gamma" if "gamma" in dialect.settable else f"{spec.gamma:g}" if spec.gamma else ""
    ce = "BCE" if spec.link is Link.SIGMOID else "CE"
    chosen = {choice.step: choice.text.replace("{c}", number(c)) for choice, c in steps.chosen}
    focal = chosen.get("focal", "x^{g}") if gamma else ""
    if gamma and "probability" in chosen and "focal" not in chosen:
        focal = f"{chosen['probability']}^{{g}}"
    logarithm = _product(focal.replace("{g}", gamma), chosen.get("logarithm", ce))
    if spec.alpha is not None:
        logarithm = f"alpha_t {logarithm}"
    polynomial = _otherwise_polynomial(chosen, dialect, convention, gamma)
    if spec.alpha_on_polynomial and polynomial:
        polynomial = f"alpha_t {polynomial}"
    text = _otherwise_weighted(chosen, dialect, convention, logarithm, polynomial)
    if dialect.built_in is not None:
        text += f", w {_classwise(dialect.built_in, convention)}"
    if "factor" in chosen:
        text = f"{chosen['factor']}({text})"
    return f"{text}, for each logit by itself" if spec.link is Link.SIGMOID else text


#: The steps that a formula shows; what is chosen for others is said behind it.
_IN_THE_FORMULA = frozenset(
    {
        "focal",
        "probability",
        "polynomial probability",
        "logarithm",
        "polynomial",
        "power",
        "coefficient",
        "factor",
        "given weights",
        "weight",
        "weight of the logarithm",
        "weight of the polynomial",
    }
)


def _otherwise_polynomial(chosen: dict[str, str], dialect: Dialect, convention: Convention, gamma: str) -> str:
    x = chosen.get("polynomial probability", chosen.get("probability", "x"))
    if dialect.spec.weighting is Weighting.RESCALED_P and x == "x":
        x = "(1 - Pt w/mu)"
    if "polynomial" in chosen:
        return _tidied(chosen["polynomial"].replace("{X}", x).replace("{g}", gamma or "0"))
    power, coefficient = chosen.get("power", "{X}^({g}+{j})"), chosen.get("coefficient", "{e}")
    if "epsilon" in dialect.settable:
        several = convention.epsilon_form == "list"
        terms = [("eps_j", "j")] if several else [("eps", "1")]
    else:
        several = False
        terms = [(f"{e:g}", str(j)) for j, e in enumerate(dialect.spec.epsilon, start=1) if e]
    parts = []
    for e, j in terms:
        first = coefficient.replace("{e}", e).replace("{j}", j)
        if first == "0":
            continue
        last = power.replace("{X}", x).replace("{g}", gamma or "0").replace("{j}", j)
        parts.append(_tidied(_product(first, last)))
    text = _sum(parts)
    return f"sum_j {text}" if several and text else text


def _otherwise_weighted(
    chosen: dict[str, str], dialect: Dialect, convention: Convention, logarithm: str, polynomial: str
) -> str:
    if not convention.can("weight") and dialect.built_in is None:
        return _sum((logarithm, polynomial))
    every = chosen.get("weight", chosen.get("given weights", "w"))
    of_log = chosen.get("weight of the logarithm", every)
    alone = dialect.spec.weighting is not Weighting.BOTH
    of_poly = chosen.get("weight of the polynomial", "" if alone else every)
    if of_log == of_poly and of_log and polynomial:
        return f"{of_log} [{_sum((logarithm, polynomial))}]"
    return _sum((_product(of_log, logarithm), _product(of_poly, polynomial) if polynomial else ""))


def _product(first: str, second: str) -> str:
    if first in ("", "1"):
        return second
    if second in ("", "1"):
        return first
    return f"-{second}" if first == "-1" else f"{first} {second}"


def _sum(parts: tuple[str, ...] | list[str]) -> str:
    return " + ".join(filter(None, parts)).replace("+ -", "- ")


def _tidied(text: str) -> str:
    """The text with exponents and quotients of plain numbers worked out: x^(0+1) is x."""

    def total(match: re.Match[str]) -> str:
        value = sum(float(term) for term in re.findall(r"[+-]?[0-9.]+", match[1]))
        return f"^{value:g}"

    text = re.sub(r"\^\(([0-9.+-]+)\)", total, text)
    text = text.replace("(0+", "(").replace("/(1+1)", "/2").replace("1+0)", "1)")
    text = re.sub(r"(\w|\))\^1(?![0-9.])", r"\1", text)
    text = re.sub(r"(\([^()]*\)|[xX])\^0(?![0-9.])", "1", text)
    return re.sub(r" 1$", "", text)


# --- members of the family that are no PolyLoss -------------------------------------------------------------------

_BOTH_PARTS = "Multiply both parts by the class weight: w[target] * (CE + epsilon * (1 - Pt))."


def member_defect(dialect: Dialect) -> tuple[str, str]:
    """What a member of the family does otherwise than the whole-loss law, and what mends it: nothing for that law."""
    spec = dialect.spec
    told: list[str] = []
    mended: list[str] = []
    if spec.mixed:
        told.append("The polynomial takes its probabilities from sigmoids, beside a softmax in the logarithm.")
        mended.append("Use the softmax probability of the target in both parts.")
    if spec.polynomial_gamma is not None and "gamma" in dialect.settable:
        told.append(f"Its exponent is fixed at {spec.polynomial_gamma + 1:g}, whatever gamma is.")
        mended.append("Raise 1 - Pt to gamma + 1.")
    weighted = "weight" in dialect.settable or dialect.built_in is not None
    present = "epsilon" in dialect.settable or any(spec.epsilon)
    if weighted and present and spec.weighting is Weighting.CE_ONLY:
        also = " and alpha multiply" if spec.alpha is not None and not spec.alpha_on_polynomial else " multiplies"
        told.append(f"The class weight{also} the logarithm alone, not the polynomial.")
        mended.append(_BOTH_PARTS)
    elif weighted and present and spec.weighting is Weighting.RESCALED_P:
        told.append(
            "The class weight multiplies the logarithm alone, and in the polynomial it rescales Pt by w/mean(w), which "
            "leaves a constant."
        )
        mended.append(_BOTH_PARTS)
    return " ".join(told), " ".join(mended)
