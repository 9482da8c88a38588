"""One case run on one subject under one convention: exact tensors in, an observation out.

This is the only place where polyref calls foreign code with data. The probe's trials, the worker and the in-process
runner all come through here.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from polyref.case import Case
from polyref.formats import FORMATS, Format
from polyref.subject.convention import Convention, Parameter, Where
from polyref.subject.forms import brought_back, formed, presented, require_told
from polyref.subject.frameworks import framework
from polyref.subject.frameworks.base import Call
from polyref.subject.handover import Inputs, Refused, arranged, curved, prepared, surroundings
from polyref.subject.lookup import has
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation, Row, Second
from polyref.subject.result import described, exit_status, is_number, tensor_at
from polyref.subject.said import first_line, one_line, text_of
from polyref.subject.signature import reduction_enum, role_named

#: An integer dtype of each width, to compare bits where NaN differs from NaN.
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_NAMES = {getattr(torch, f.torch_name): f.name for f in FORMATS.values()}
#: More numbers than any case has, or any mistake in reducing them makes: what is larger is no loss, and is not read.
_MOST_NUMBERS = 1 << 16
#: More different warnings than anybody reads.
_MOST_WARNINGS = 20
# Bound before any subject is imported: one that replaces a function of torch must not falsify what is measured of it.
_tensor, _ones, _ones_like, _full_like = torch.tensor, torch.ones, torch.ones_like, torch.full_like
_equal, _grad = torch.equal, torch.autograd.grad
#: The weight of every class of a second instance, which is to take over the first one's.
_OTHER_WEIGHT = 0.25


class Caller:
    """A subject and its convention, ready for cases.

    Args:
        subject: the class, function, factory or instance.
        convention: how it is called; the probe's candidates are conventions too.
        device: the torch device that the tensors are put on.
        settle: called after every call, before its result is read.
    """

    def __init__(
        self,
        subject: Any,
        convention: Convention,
        *,
        device: str = "cpu",
        settle: Callable[[], object] = lambda: None,
    ) -> None:
        self.subject = subject
        self.convention = convention
        self.device = device
        self._settle = settle
        # A member of an enumeration is known by its name in a convention, which travels through JSON.
        self._reductions = reduction_enum(subject, convention)
        self.framework = framework(convention.framework)
        self._copies = convention.kind == "instance" and not _holds_compiled_code(subject)

    def inputs(self, case: Case) -> Inputs:
        """The tensors of ``case``, exact, in its format; labels in the convention's form."""
        dtype = torch_dtype(case.format)
        logits = self._exact(case.logits, dtype)
        if case.soft:
            labels = self._exact(case.target, dtype)
        else:
            labels = _tensor(case.target, dtype=torch.int64, device=self.device)
            labels = formed(labels, self.convention.labels, case.classes, dtype)
        return Inputs(logits, labels, None if case.weight is None else self._exact(case.weight, dtype))

    def _exact(self, values: Any, dtype: torch.dtype) -> torch.Tensor:
        # Every value is a number of the dtype and of binary64, so neither step rounds.
        return _tensor(values, dtype=torch.float64, device=self.device).to(dtype)

    def make(self, case: Case, weight: torch.Tensor | None, manner: Manner = PLAIN) -> Any:
        """The callable that takes the data: constructed anew for every case, so that no state is carried over.

        An instance is deep-copied for the same reason, where it can be and no compiled code would be lost.
        """
        if self.convention.kind in ("class", "factory"):
            settings = self._settings("constructor", case, weight, manner)
            made = self._placed(self.framework.make(self.subject, settings))
            for name, value in self._settings("attribute", case, weight).items():
                _assign(made, name, value)
            return made
        if self._copies:
            try:
                return self._placed(copy.deepcopy(self.subject))
            except Exception:  # whatever a stranger's __deepcopy__ raises, the object itself still works
                self._copies = False
        return self._placed(self.subject)

    def _placed(self, made: Any) -> Any:
        moves = self.device != "cpu" and isinstance(made, torch.nn.Module)
        return made.to(self.device) if moves else made

    def call(self, made: Callable[..., Any], case: Case, inputs: Inputs, manner: Manner = PLAIN) -> Any:
        """What the subject returns, as it stands.

        Raises:
            Refused: for a shape that is not the one shape of data that the subject takes.
        """
        convention = self.convention
        if manner.shape is not None and convention.layout != "rows":
            raise Refused("it takes data of one shape only")
        logits, labels = presented(inputs.logits, inputs.labels, convention)
        data = [(convention.logits_name, logits), (convention.labels_name, labels)]
        if convention.order == "labels_first":
            data.reverse()
        positional = tuple(value for keyword, value in data if keyword is None)
        keywords = {keyword: value for keyword, value in data if keyword is not None}
        settings = self._settings("call", case, inputs.weight, manner)
        anew = self.framework.makes_anew and convention.kind in ("class", "factory")
        constructor = self._settings("constructor", case, inputs.weight, manner) if anew else None
        try:
            return self.framework.run(Call(made, self.subject, constructor, positional, keywords | settings, logits))
        finally:
            self._settle()

    def _settings(
        self, where: Where, case: Case, weight: torch.Tensor | None, manner: Manner = PLAIN
    ) -> dict[str, Any]:
        settings = {}
        for p in self.convention.parameters:
            if p.where == where:
                named = p.name == "reduction" and manner.reduction is not None
                value = manner.reduction if named else self._setting(p, case, weight)
                if value is not _DEFAULT:
                    settings[p.subject_name] = value
        always = {"constructor": self.convention.init, "call": self.convention.call}
        for name, value in always.get(where, ()):
            settings[name] = self._override(name, value, case)
        return settings

    def _override(self, name: str, value: Any, case: Case) -> Any:
        if not isinstance(value, tuple):
            return value
        # The user can write numbers but not tensors, and class weights are a tensor.
        return self._exact(value, torch_dtype(case.format)) if role_named(name) == "weight" else list(value)

    def _setting(self, parameter: Parameter, case: Case, weight: torch.Tensor | None) -> Any:
        spec = case.spec
        match parameter.name:
            case "num_classes":
                return case.classes
            case "epsilon":
                form = self.convention.epsilon_form
                if form == "list":
                    return list(spec.epsilon)
                first = spec.epsilon[0] if spec.epsilon else 0.0
                return self._exact([first], torch_dtype(case.format)) if form == "tensor" else first
            case "terms":
                return len(spec.epsilon)
            case "gamma":
                return spec.gamma
            case "alpha":
                # Without a factor in the spec there is nothing to ask for, and the subject's own default stands.
                return _DEFAULT if spec.alpha is None else spec.alpha
            case "reduction":
                value = self.convention.reduction_value(spec.reduction)
                return value if self._reductions is None else self._reductions[value]
            case "weight":
                if weight is not None:
                    return weight
                # Weights of its own by default would be another case than the one without weights.
                weighted = parameter.required or parameter.default is not None
                return _ones(case.classes, dtype=torch_dtype(case.format)) if weighted else _DEFAULT
            case "smoothing":
                return spec.smoothing
            case "ignore_index":
                return case.ignore_index
        raise AssertionError(f"no rule for parameter {parameter.name!r}")

    def observe(self, case: Case, *, gradient: bool = True, twice: bool = False, manner: Manner = PLAIN) -> Observation:
        """Run ``case`` and report; whatever the subject raises becomes part of the observation.

        Args:
            case: the case; it must be one that the convention supports.
            gradient: ask for the gradient with respect to the logits too.
            twice: call the same instance again and compare.
            manner: how the case is handed over.

        Raises:
            NotOffered: if the convention has no way to ask for the case.
        """
        self.convention.require(case)
        refused = gradient and not self.convention.differentiable
        inputs = self.inputs(case)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            observation = self._observe(case, inputs, manner, gradient=gradient and not refused, twice=twice)
        if refused and observation.ok:
            observation = replace(observation, gradient_reason=self.framework.no_gradient or _NO_GRADIENT)
        texts = dict.fromkeys(first_line(text_of(w.message)) for w in seen)
        return replace(observation, warnings=tuple(texts)[:_MOST_WARNINGS]) if texts else observation

    def _observe(self, case: Case, inputs: Inputs, manner: Manner, *, gradient: bool, twice: bool) -> Observation:
        try:
            self._require(manner)
            before = arranged(inputs, manner)
            leaf, given = handed_over(inputs, manner, gradient=gradient)
        except Refused as e:
            return _not_asked(e)
        try:
            made = self._made(case, given.weight, manner)
            first = self._run(made, case, leaf, given, manner)
        except Refused as e:
            return _not_asked(e)
        except SystemExit as e:
            return Observation(error=f"SystemExit: {e.code}", killed=f"exit {exit_status(e)}")
        except Exception as e:
            return Observation(error=one_line(e), inputs_untouched=_untouched(before, given))
        try:
            seen = self._seen(first, before, given)
            if not twice or first.value is None:
                return seen
            return replace(seen, second=self._again(made, case, inputs, first, manner, gradient=gradient))
        except Exception as e:  # a tensor without numbers, or of a class that does something else
            return Observation(error=f"{one_line(e)}, when its result was read")

    @staticmethod
    def _seen(first: _Run, before: Inputs, given: Inputs) -> Observation:
        value = first.value
        return Observation(
            value=None if value is None else _flat(value),
            shape=() if value is None else tuple(value.shape),
            dtype=None if value is None else _dtype_name(value.dtype),
            gradient=None if first.gradient is None else _rows(first.gradient),
            gradient_reason=first.reason,
            curvature=None if first.curvature is None else _rows(first.curvature),
            error=first.error,
            inputs_untouched=_untouched(before, given),
        )

    def _require(self, manner: Manner) -> None:
        objection = self.framework.objection(manner)
        if objection is not None:
            raise Refused(objection)

    def _made(self, case: Case, weight: torch.Tensor | None, manner: Manner) -> Any:
        """The subject, made and then made ready for the manner."""
        narrow = weight.float() if weight is not None and manner.mode == "moved" else weight

        def another() -> Any:
            return self.make(case, None if weight is None else _full_like(weight, _OTHER_WEIGHT), manner)

        return prepared(self.make(case, narrow, manner), another, manner, torch_dtype(case.format))

    def _run(
        self, made: Callable[..., Any], case: Case, leaf: torch.Tensor | None, given: Inputs, manner: Manner
    ) -> _Run:
        require_told(given.logits, self.convention.inputs)
        with surroundings(manner, self.device):
            raw = self.call(made, case, given, manner)
        run = _Run.of(raw, self.convention, case)
        if leaf is None or run.value is None:
            return run.kept()
        try:
            return run.differentiated(leaf, curvature=manner.curvature)
        finally:
            self._settle()  # before the gradient is read

    def _again(
        self, made: Callable[..., Any], case: Case, inputs: Inputs, first: _Run, manner: Manner, *, gradient: bool
    ) -> Second:
        # Weights that went to the constructor stay the first call's: they are part of the instance.
        leaf, given = handed_over(inputs, manner, gradient=gradient)
        try:
            run = self._run(made, case, leaf, given, manner)
        except SystemExit as e:
            return Second(value_equal=False, error=f"SystemExit: {e.code}")
        except Exception as e:
            return Second(value_equal=False, error=one_line(e))
        return Second(
            value_equal=_same_bits(first.value, run.value),
            gradient_equal=None if first.gradient is None else _same_bits(first.gradient, run.gradient),
            error=run.error,
        )


def _not_asked(refused: Refused) -> Observation:
    return Observation(error=f"not asked: {refused}", refused=True)


def same_bits(a: Inputs, b: Inputs) -> bool:
    """Whether shapes, dtypes and all bits agree."""
    return all(_same_bits(x, y) for x, y in zip(a, b, strict=True))


def _untouched(before: Inputs, given: Inputs) -> bool | None:
    try:
        return same_bits(before, given)
    except Exception:  # their memory was taken away, say
        return None


def handed_over(inputs: Inputs, manner: Manner = PLAIN, *, gradient: bool) -> tuple[torch.Tensor | None, Inputs]:
    """Copies for the subject, and the leaf (N, C) behind the logits if a gradient is wanted.

    The subject gets what a network would give it, logits that are no leaf: writing into a leaf would raise, and an
    in-place change is to be seen, not prevented.

    Raises:
        Refused: if the case cannot be arranged in this manner.
    """
    given = inputs.clone()
    if not gradient:
        return None, arranged(given, manner)
    leaf = given.logits.requires_grad_()
    return leaf, arranged(given._replace(logits=leaf.clone()), manner)


class _Run(NamedTuple):
    """One call's result, still as tensors."""

    value: torch.Tensor | None
    gradient: torch.Tensor | None = None
    reason: str | None = None
    error: str | None = None
    curvature: torch.Tensor | None = None

    @classmethod
    def of(cls, raw: Any, convention: Convention, case: Case) -> _Run:
        value = tensor_at(raw, convention.result_path)
        if value is None:
            return cls(None, error=f"returned {described(raw)}, no numbers")
        if value.is_complex():
            return cls(None, error=f"returned {_dtype_name(value.dtype)} numbers, which are no losses")
        if value.numel() > _MOST_NUMBERS:
            return cls(None, error=f"returned {value.numel()} numbers of shape {tuple(value.shape)}, which is no loss")
        if is_number(raw, convention.result_path):
            # A Python number is one of binary64, whatever it was computed in.
            narrow = value.to(torch_dtype(case.format))
            value = narrow if _equal(narrow.to(value), value) else value
        return cls(brought_back(value, convention, len(case.logits), case.classes))

    def kept(self) -> _Run:
        """The same with a copy of the value, which a second call cannot change."""
        return self if self.value is None else self._replace(value=self.value.detach().clone())

    def differentiated(self, leaf: torch.Tensor, *, curvature: bool = False) -> _Run:
        """The same with the gradient of the sum of the value, or the reason why there is none."""
        value = self.value
        assert value is not None
        if not value.requires_grad:
            return self.kept()._replace(reason="the value is cut off from the logits (no grad_fn)")
        kept = value.detach().clone()
        try:
            # Ones upstream are the gradient of the sum, without rounding or overflowing a sum.
            found: tuple[torch.Tensor | None, ...] = _grad(
                value, leaf, _ones_like(value), allow_unused=True, create_graph=curvature
            )
        except Exception as e:
            return self._replace(value=kept, reason=f"the backward pass raised {one_line(e)}")
        if found[0] is None:
            return self._replace(value=kept, reason="the value does not depend on the logits")
        if not curvature:
            return self._replace(value=kept, gradient=found[0])
        second, reason = curved(found[0], leaf)
        return self._replace(value=kept, gradient=found[0], reason=reason, curvature=second)


_DEFAULT = object()
_NO_GRADIENT = "it takes no logits that require a gradient, or returns a number that has none"


def _assign(made: Any, name: str, value: float) -> None:
    """Set an attribute, in place where it is a parameter or a buffer."""
    held = getattr(made, name)
    if isinstance(held, torch.Tensor):
        with torch.no_grad():
            held.fill_(value)
    else:
        setattr(made, name, value)


def _dtype_name(dtype: torch.dtype) -> str:
    return _NAMES.get(dtype, str(dtype).removeprefix("torch."))


def torch_dtype(wanted: Format) -> torch.dtype:
    """The torch dtype of a format."""
    return getattr(torch, wanted.torch_name)  # type: ignore[no-any-return]


def _holds_compiled_code(subject: Any) -> bool:
    return has(subject, "_orig_mod") or has(subject, "_torchdynamo_orig_callable")


def _same_bits(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
        return False
    bits = _BITS.get(a.element_size())
    a, b = a.detach(), b.detach()
    if bits is None:
        return _equal(a, b)
    # A view by another dtype needs the numbers to lie one after the other.
    return _equal(a.contiguous().view(bits), b.contiguous().view(bits))


def _flat(value: torch.Tensor) -> Row:
    return tuple(value.detach().to("cpu", torch.float64).flatten().tolist())


def _rows(gradient: torch.Tensor) -> tuple[Row, ...]:
    return tuple(map(tuple, gradient.detach().to("cpu", torch.float64).tolist()))
