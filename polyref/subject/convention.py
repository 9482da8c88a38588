"""How a subject is called: a frozen value that travels through JSON and reads as one line of code.

The probe finds it, the call obeys it, the report states it. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, NamedTuple, cast

from polyref.case import Case
from polyref.errors import NothingMeasured, PolyrefError, UsageError
from polyref.spec import Reduction

#: polyref's names of what a subject may be told, in the order in which they are tried and shown.
PARAMETERS = (
    "num_classes",
    "epsilon",
    "terms",
    "gamma",
    "alpha",
    "reduction",
    "weight",
    "smoothing",
    "ignore_index",
)

FrameworkName = Literal["torch", "tensorflow", "jax", "numpy"]
Kind = Literal["class", "function", "factory", "instance"]
Order = Literal["logits_first", "labels_first"]
LabelForm = Literal["index", "one_hot", "one_hot_integer", "index_column", "one_hot_bool", "index_int32"]
Inputs = Literal["logits", "probabilities", "sigmoid_probabilities", "log_probabilities"]
Layout = Literal["rows", "images", "images_last", "flat", "flat_column"]
Result = Literal["per_sample", "column", "scalar", "elements", "nothing"]
Where = Literal["constructor", "call", "attribute"]
EpsilonForm = Literal["scalar", "list", "tensor"]

#: The inputs that are rounded once before the subject sees them, so that it can be no better than they are.
PROBABILITIES: tuple[Inputs, ...] = ("probabilities", "sigmoid_probabilities")

#: Stands for a parameter that is not passed, in :meth:`Convention.render`.
LEFT_OUT: Final = object()

_SHAPES: dict[Result, str] = {
    "per_sample": "(N,)",
    "column": "(N, 1)",
    "scalar": "a scalar",
    "elements": "(N, C)",
    "nothing": "None",
}
_LABELS: dict[LabelForm, str] = {
    "index": "labels",
    "one_hot": "one_hot_labels",
    "one_hot_integer": "one_hot_integer_labels",
    "index_column": "labels[:, None]",
    "one_hot_bool": "one_hot_bool_labels",
    "index_int32": "int32_labels",
}
_INPUTS: dict[Inputs, str] = {
    "logits": "logits",
    "probabilities": "softmax(logits)",
    "sigmoid_probabilities": "sigmoid(logits)",
    "log_probabilities": "log_softmax(logits)",
}
#: What is done to an argument, and the shapes of a loss for each row and for each element.
_LAYOUTS: dict[Layout, tuple[str, str, str]] = {
    "rows": ("", "(N,)", "(N, C)"),
    "images": ("[..., None, None]", "(N, 1, 1)", "(N, C, 1, 1)"),
    "images_last": ("[:, None, None]", "(N, 1, 1)", "(N, 1, 1, C)"),
    "flat": (".flatten()", "(N,)", "(N*C,)"),
    "flat_column": (".flatten()[:, None]", "(N,)", "(N*C, 1)"),
}


class Attempt(NamedTuple):
    """One call that was tried and how it went, in one line each."""

    call: str
    outcome: str


@dataclass(frozen=True)
class Parameter:
    """One parameter that a subject was seen to accept.

    Attributes:
        name: polyref's name, one of :data:`PARAMETERS`.
        subject_name: the subject's own name for it.
        where: whether the constructor (or factory) takes it, or the call.
        default: the subject's default as read from the signature: a number, text, bool, None or a tuple of them;
            anything else as its text.
        required: whether the signature has no default.
    """

    name: str
    subject_name: str
    where: Where
    default: Any = None
    required: bool = False


class NotOffered(PolyrefError, ValueError):
    """A case was sent to a subject whose convention has no way to ask for it: check ``objection`` first."""


class NoConvention(UsageError):
    """No way of calling the target worked; ``attempts`` says what was tried."""

    def __init__(self, message: str, attempts: tuple[Attempt, ...] = ()) -> None:
        super().__init__(message)
        self.attempts = attempts


class NotJudged(NothingMeasured):
    """The target can be called, and what it returns is no loss that polyref can judge; the message says what it is."""


class ReturnsNothing(UsageError):
    """The target can be called, and every call returned None; ``convention`` says how it is called."""

    def __init__(self, message: str, convention: Convention) -> None:
        super().__init__(message)
        self.convention = convention


@dataclass(frozen=True)
class Convention:
    """How one subject is called, and what it accepts.

    Attributes:
        name: the subject's name in the text.
        kind: class, function, factory (a function that returns the loss) or instance.
        order: which of logits and labels comes first.
        logits_name: the keyword that the logits go under, None where they go by position.
        labels_name: the same for the labels.
        labels: the form in which index targets are handed over.
        soft: whether rows of probabilities are accepted as labels too.
        inputs: what it takes of the logits: themselves, their softmax, their sigmoid or their log_softmax.
        layout: the shape of the data: rows (N, C); images (N, C, 1, 1), or with the classes last; every element of the
            rows as a loss of two classes by itself, (N*C,) or (N*C, 1), with one-hot labels.
        parameters: what it accepted, in the order of :data:`PARAMETERS`.
        epsilon_form: whether epsilon is one number, a list of N or a tensor of one; None where it cannot be given.
        reductions: the reductions that can be asked for, of none, sum and mean. Where there is no parameter for it,
            the one that it does.
        reduction_values: what the subject's parameter is set to for each of them, if there is a parameter.
        result: the form of the unreduced result where there is one, else scalar.
        result_path: the index or key of the loss in a tuple or dict that is returned, a name after a dot for an
            attribute, None for a bare result.
        negated: whether it returns the loss with its sign turned, to be maximised; it is judged with the sign turned
            back.
        formats: the names of the formats that it accepts, widest first.
        differentiable: whether it accepts logits that require a gradient.
        classes: the one number of classes that it works with, None for any.
        init: constructor arguments that are always passed: overrides, and a switch that the probe turned.
        call: the same for the call.
        fixed: parameters (polyref's names) that cannot be varied but whose values are known: from the overrides, or
            from the attributes of an instance.
        left: the parameters that stay at their defaults, which nothing is tested of: (the subject's name, default).
        notes: what else was noticed, in a person's words.
        attempts: what was tried, in order.
        framework: whose arrays it takes.
        finished_by: the class it inherits from that makes the result of what it computes: casts it, and reduces it.
    """

    name: str
    kind: Kind
    order: Order = "logits_first"
    logits_name: str | None = None
    labels_name: str | None = None
    labels: LabelForm = "index"
    soft: bool = False
    inputs: Inputs = "logits"
    layout: Layout = "rows"
    parameters: tuple[Parameter, ...] = ()
    epsilon_form: EpsilonForm | None = None
    reductions: tuple[str, ...] = ()
    reduction_values: tuple[tuple[str, Any], ...] = ()
    result: Result = "scalar"
    result_path: int | str | None = None
    negated: bool = False
    formats: tuple[str, ...] = ()
    differentiable: bool = True
    classes: int | None = None
    init: tuple[tuple[str, Any], ...] = ()
    call: tuple[tuple[str, Any], ...] = ()
    fixed: tuple[tuple[str, Any], ...] = ()
    left: tuple[tuple[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    framework: FrameworkName = "torch"
    finished_by: str | None = None

    @property
    def few_shapes(self) -> bool:
        """Whether data of few shapes are to be tried: JAX compiles a program for each, a thousand times as long as a
        call takes."""
        return self.framework == "jax"

    def parameter(self, name: str) -> Parameter | None:
        """The accepted parameter of polyref's name ``name``, or None."""
        return next((p for p in self.parameters if p.name == name), None)

    def can(self, name: str) -> bool:
        """Whether the subject can be told ``name``: one of :data:`PARAMETERS`, or ``soft`` for soft labels.

        Raises:
            ValueError: for any other name, so that a misspelling is never a silent no.
        """
        if name == "soft":
            return self.soft
        if name not in PARAMETERS:
            raise ValueError(f"{name!r} is no parameter: ask for soft or one of {', '.join(PARAMETERS)}")
        return self.parameter(name) is not None

    def default(self, name: str) -> Any:
        """The value that ``name`` has when the subject is not told: its default, or what it is fixed at, or None."""
        found = self.parameter(name)
        return found.default if found is not None else dict(self.fixed).get(name)

    def supports(self, case: Case) -> bool:
        """Whether the subject can be asked for this case."""
        return self.objection(case) is None

    def objection(self, case: Case) -> str | None:
        """Why the subject cannot be asked for this case, None if it can.

        It is about what must be handed over: format, class count, labels, weights, reduction, terms. An epsilon, gamma,
        alpha or smoothing that the subject has no parameter for is no objection: the spec then states what the
        subject does of itself.
        """
        spec = case.spec
        if case.format.name not in self.formats:
            return f"it does not accept {case.format.name}, only {', '.join(self.formats) or 'nothing'}"
        if self.classes is not None and case.classes != self.classes:
            return f"it works with {self.classes} classes only, and the case has {case.classes}"
        if _askable(spec.reduction) not in self.reductions:
            return f"reduction {str(spec.reduction)!r} cannot be asked for, only {', '.join(self.reductions) or 'none'}"
        if len(spec.epsilon) > 1 and self.epsilon_form in ("scalar", "tensor"):
            return f"it takes one epsilon, and the spec has {len(spec.epsilon)}"
        if case.weight is not None and not self.can("weight"):
            return "it takes no class weights"
        if case.soft:
            if not self.soft:
                return "it takes no soft labels"
            if not all(case.format.contains(q) for row in case.target if isinstance(row, tuple) for q in row):
                return f"a soft label is no number of {case.format.name}"
        elif self.labels.startswith("one_hot") and any(case.ignored(i) for i in range(len(case.target))):
            return "it takes one-hot labels, which cannot say that a row is ignored"
        return None

    def require(self, case: Case) -> None:
        """Check that the subject can be asked for ``case``.

        Raises:
            NotOffered: if it cannot, with the reason.
        """
        objection = self.objection(case)
        if objection is not None:
            raise NotOffered(f"{self.name} cannot be asked for this case: {objection}")

    def reduction_value(self, reduction: Reduction) -> Any:
        """What the subject's reduction parameter is set to for ``reduction``.

        Raises:
            NotOffered: if it was not seen to accept that reduction.
        """
        for name, value in self.reduction_values:
            if name == _askable(reduction):
                return value
        raise NotOffered(f"{self.name} cannot be asked for reduction {str(reduction)!r}")

    @property
    def text(self) -> str:
        """The call in one line for a person, with ``…`` for what polyref varies."""
        values: dict[str, Any] = {"num_classes": Code("C" if self.classes is None else str(self.classes))}
        if self.reduction_values:
            values["reduction"] = self.reduction_values[0][1]
        _, rows, elements = _LAYOUTS[self.layout]
        shape = {"per_sample": rows, "elements": elements}.get(self.result, _SHAPES[self.result])
        sign = "-" if self.negated else ""
        return f"{sign}{self.render(values)}{path_text(self.result_path)} → {shape}"

    def render(self, values: Mapping[str, Any]) -> str:
        """The call as text.

        Args:
            values: what parameters (polyref's names) are set to; :data:`LEFT_OUT` for one that is not passed. One that
                is not among them is shown as ``…``.
        """
        shaped, *_ = _LAYOUTS[self.layout]
        data = [(self.logits_name, _INPUTS[self.inputs] + shaped), (self.labels_name, _LABELS[self.labels] + shaped)]
        if self.order == "labels_first":
            data.reverse()
        arguments = [
            *(text if keyword is None else f"{keyword}={text}" for keyword, text in data),
            *self._told("call", values),
            *(f"{k}={_literal(v)}" for k, v in self.call),
        ]
        return f"{self.render_made(values)}({', '.join(arguments)})"

    def render_made(self, values: Mapping[str, Any]) -> str:
        """The part of :meth:`render` before the data: the subject's name, with the constructor's arguments if any."""
        if self.kind not in ("class", "factory"):
            return self.name
        constructor = [*self._told("constructor", values), *(f"{k}={_literal(v)}" for k, v in self.init)]
        made = f"{self.name}({', '.join(constructor)})"
        attributes = ", ".join(self._told("attribute", values))
        return f"({made} with .{attributes})" if attributes else made

    def _told(self, where: Where, values: Mapping[str, Any]) -> Iterator[str]:
        for p in self.parameters:
            value = values.get(p.name, Code("…"))
            if p.where == where and value is not LEFT_OUT:
                yield f"{p.subject_name}={_literal(value)}"

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict that :meth:`from_json` reads back to an equal convention."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data["parameters"] = [{f.name: _thawed(getattr(p, f.name)) for f in fields(p)} for p in self.parameters]
        return cast("dict[str, Any]", _thawed(data))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Convention:
        """The convention that :meth:`to_json` wrote.

        Raises:
            UsageError: if a field is missing or unknown.
        """
        try:
            frozen = {name: frozen_value(value) for name, value in data.items()}
            return replace(
                cls(**frozen),
                parameters=tuple(
                    Parameter(**{k: frozen_value(v) for k, v in p.items()})  # dicts stay dicts until here
                    for p in data["parameters"]
                ),
                attempts=tuple(Attempt(*a) for a in data["attempts"]),
            )
        except (KeyError, TypeError) as e:
            raise UsageError(f"this is no convention document: {type(e).__name__}: {e}") from e


def path_text(path: int | str | None) -> str:
    """Where the loss is in a result, as the code that gets at it."""
    if path is None:
        return ""
    return path if isinstance(path, str) and path.startswith(".") else f"[{_literal(path)}]"


class Code(str):
    """Text that :meth:`Convention.render` shows as it stands, not as a quoted string."""

    __slots__ = ()


def _askable(reduction: Reduction) -> str:
    # A subject knows one mean; whether it divides by N or by the weights is part of its dialect.
    return "mean" if reduction is Reduction.MEAN_OVER_SAMPLES else str(reduction)


def _literal(value: Any) -> str:
    if isinstance(value, Code):
        return value
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)


def frozen_value(value: Any) -> Any:
    """``value`` with lists made tuples, so that it can be a field of a frozen dataclass."""
    return tuple(map(frozen_value, value)) if isinstance(value, (list, tuple)) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_thawed(v) for v in value]
    if isinstance(value, dict):
        return {k: _thawed(v) for k, v in value.items()}
    return value
