"""JAX: under jax.jit as a training step has it, gradients from jax.vjp in the same program, on the CPU.

64 bits are enabled for logits in binary64 and for no others: what a subject makes of its own accord, an array of ones
say, would be binary64 otherwise, and the loss of a binary32 batch with it.

A program is compiled once for each shape, dtype and setting, which takes far longer than to run it. So epsilon is
traced like the data, where the subject can be traced so; else it is a constant; and a subject that cannot be traced at
all is run operation by operation. And there is one program for the value alone and for the value with its gradient: the
latter, where the subject can be differentiated and has no jax.custom_vjp, which gives the value otherwise then.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyref.subject.frameworks.base import Call, Framework, attached
from polyref.subject.frameworks.numpy_ import to_numpy, to_tensor
from polyref.subject.signature import role_named

#: How a subject is run, the preferred way first.
_TRACED, _CONSTANT, _EAGER = range(3)


class Jax(Framework):
    """JAX on the CPU."""

    name = "jax"
    makes_anew = True

    def __init__(self) -> None:
        self._jax: Any = import_module("jax")
        self._numpy: Any = import_module("jax.numpy")
        self._programs: dict[Any, Any] = {}
        #: By id, the subject, whose id must not be used again, the way in which it was last seen to work, and whether
        #: its value may be had from the program with the gradient; None where that was not asked yet.
        self._ways: dict[int, tuple[Any, int, bool | None]] = {}

    def array(self, tensor: Tensor) -> Any:
        with self._jax.enable_x64(tensor.dtype is torch.float64):
            return self._numpy.array(to_numpy(tensor))

    def run(self, call: Call) -> Any:
        with self._jax.enable_x64(call.logits.dtype is torch.float64):
            values, gradients = self._answer(call)
            leaves, tree = self._jax.tree.flatten(values)
            found = [
                attached(call.logits, to_tensor(v), g if g is None or isinstance(g, Exception) else to_tensor(g))
                if isinstance(v, self._jax.Array)
                else v
                for v, g in zip(leaves, gradients or [None] * len(leaves), strict=True)
            ]
            return tree.unflatten(found)

    def _answer(self, call: Call) -> tuple[Any, list[Any] | None]:
        """What is returned, and the gradient of each array in it."""
        _, first, shared = self._ways.get(id(call.subject), (None, _TRACED, None))
        if first == _EAGER:
            return self._eager(call)
        wanted = call.logits.requires_grad
        if not wanted and shared is None:
            shared = not self._has_a_value_of_its_own(call)
        with_gradient = (True,) if wanted else (True, False) if shared else (False,)
        for way, gradient in product(range(first, _EAGER), with_gradient):
            try:
                values, gradients = self._compiled(call, way, gradient=gradient)
            except Exception:  # whatever tracing stumbles over, the next way may do without; the last one raises
                continue
            self._ways[id(call.subject)] = call.subject, way, shared if wanted else gradient
            return values, gradients if wanted else None
        found = self._eager(call)
        self._ways[id(call.subject)] = call.subject, _EAGER, None
        return found

    def _has_a_value_of_its_own(self, call: Call) -> bool:
        """Whether the subject may compute its value otherwise when it is differentiated."""
        arrays, at = self.arrays(dict(call.values())), _logits_of(call)
        try:
            return _has_custom_vjp(self._jax.make_jaxpr(_anew(call, arrays, at))(arrays[at]).jaxpr)
        except Exception:  # it cannot be traced so, and the ways tell how it can
            return False

    def _compiled(self, call: Call, way: int, *, gradient: bool) -> tuple[Any, list[Any] | None]:
        fixed, given, at = {}, {}, ""
        for name, value in call.values():
            if value is call.logits:
                at = name
            elif isinstance(value, Tensor):
                given[name] = self.array(value)
            elif way == _TRACED and role_named(name.partition(" ")[2]) == "epsilon":
                given[name] = value
            else:
                fixed[name] = value
        settings = repr(sorted(fixed.items()))
        key = (id(call.subject), way, at, gradient, tuple(sorted(given)), settings)
        if key not in self._programs:

            def program(given: dict[str, Any], logits: Any) -> tuple[Any, list[Any] | None]:
                loss = _anew(call, fixed | given, at)
                return self._differentiated(loss, logits) if gradient else (loss(logits), None)

            self._programs[key] = self._jax.jit(program)
        found: tuple[Any, list[Any] | None] = self._programs[key](given, self.array(call.logits))
        return found

    def _eager(self, call: Call) -> tuple[Any, list[Any] | None]:
        names, at = self.arrays(dict(call.values())), _logits_of(call)

        def loss(z: Any) -> Any:
            _, positional, keywords = call.bound(names | {at: z})
            return call.made(*positional, **keywords)

        if not call.logits.requires_grad:
            return loss(names[at]), None
        try:
            return self._differentiated(loss, names[at])
        except Exception as e:
            values = loss(names[at])
            return values, [e] * len(self._jax.tree.leaves(values))

    def _differentiated(self, loss: Callable[[Any], Any], logits: Any) -> tuple[Any, list[Any]]:
        """The values, and for each of them the gradient of its sum; None for whole numbers."""
        values, pull = self._jax.vjp(loss, logits)
        leaves, tree = self._jax.tree.flatten(values)
        gradients: list[Any] = []
        for i, leaf in enumerate(leaves):
            if not self._numpy.issubdtype(leaf.dtype, self._numpy.floating):
                gradients.append(None)
                continue
            upstream = [self._upstream(other, ones=i == k) for k, other in enumerate(leaves)]
            gradients.append(pull(tree.unflatten(upstream))[0])
        return values, gradients

    def _upstream(self, leaf: Any, *, ones: bool) -> Any:
        if self._numpy.issubdtype(leaf.dtype, self._numpy.floating):
            return self._numpy.full_like(leaf, 1 if ones else 0)
        return np.zeros(leaf.shape, self._jax.dtypes.float0)

    def version(self) -> str:
        return str(self._jax.__version__)


def _logits_of(call: Call) -> str:
    """The name of the logits among the values of a call."""
    return next(name for name, value in call.values() if value is call.logits)


def _anew(call: Call, values: dict[str, Any], at: str) -> Callable[[Any], Any]:
    """The loss of the logits of that name, whose subject is made inside of what is traced."""

    def loss(logits: Any) -> Any:
        settings, positional, keywords = call.bound(values | {at: logits})
        made = call.subject if settings is None else call.subject(**settings)
        return made(*positional, **keywords)

    return loss


def _has_custom_vjp(jaxpr: Any) -> bool:
    """Whether a traced program calls a function with a jax.custom_vjp, in a part of it perhaps."""
    for equation in jaxpr.eqns:
        if equation.primitive.name.startswith("custom_vjp"):
            return True
        for value in equation.params.values():
            for part in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns") and _has_custom_vjp(inner):
                    return True
    return False
