"""TensorFlow and Keras: eager with a GradientTape, or graphs and sessions where a subject turned eager mode off."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, NamedTuple

from torch import Tensor

from polyref.subject.frameworks.base import Call, Framework, attached, mapped
from polyref.subject.frameworks.numpy_ import to_numpy, to_tensor


class _Graph(NamedTuple):
    """A graph that was built for one shape, dtype and setting."""

    session: Any
    placeholders: dict[str, Any]
    result: Any
    gradients: list[Any]


class TensorFlow(Framework):
    """TensorFlow 2, in the mode that the process is in."""

    name = "tensorflow"
    makes_anew = True

    def __init__(self) -> None:
        self._tf: Any = import_module("tensorflow")
        with suppress(RuntimeError):  # what has begun to compute on a GPU goes on there
            self._tf.config.set_visible_devices([], "GPU")
        self._seeds: Any = sys.modules[self._tf.compat.v1.get_seed.__module__]
        self._tf.random.set_seed(0)
        self._draws = False
        self._graphs: dict[Any, _Graph] = {}

    def array(self, tensor: Tensor) -> Any:
        # A copy: TensorFlow may keep the memory of an array that it is given.
        return self._tf.constant(to_numpy(tensor.clone()))

    def run(self, call: Call) -> Any:
        with self._noting_draws():
            return self._eager(call) if self._tf.executing_eagerly() else self._in_graph(call)

    def _eager(self, call: Call) -> Any:
        values = self.arrays(dict(call.values()))
        at = next(name for name, value in call.values() if value is call.logits)
        _, positional, keywords = call.bound(values)
        if not call.logits.requires_grad:
            return mapped(call.made(*positional, **keywords), self._plain)
        with self._tf.GradientTape(persistent=True) as tape:
            tape.watch(values[at])
            raw = call.made(*positional, **keywords)

        def differentiated(value: Any) -> Any:
            if not self._tf.is_tensor(value):
                return value
            return attached(call.logits, self._plain(value), self._gradient(lambda: tape.gradient(value, values[at])))

        return mapped(raw, differentiated)

    def _plain(self, value: Any) -> Any:
        return to_tensor(self._tf.convert_to_tensor(value).numpy()) if self._tf.is_tensor(value) else value

    def _gradient(self, find: Callable[[], Any]) -> Tensor | Exception | None:
        try:
            found = find()
        except Exception as e:
            return e
        return None if found is None else self._plain(self._tf.convert_to_tensor(found))

    def _in_graph(self, call: Call) -> Any:
        tensors = {name: value for name, value in call.values() if isinstance(value, Tensor)}
        forms = {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()}
        fixed = {name: value for name, value in call.values() if name not in tensors}
        wanted = call.logits.requires_grad
        key = (id(call.subject), repr(sorted(forms.items())), repr(sorted(fixed.items())), wanted)
        if key not in self._graphs:
            self._graphs[key] = self._built(call, tensors)
        graph = self._graphs[key]
        feed = {graph.placeholders[name]: to_numpy(t) for name, t in tensors.items()}
        fetched: list[Any] = []
        mapped(graph.result, lambda v: fetched.append(v) if self._tf.is_tensor(v) else None)
        known = [g for g in graph.gradients if self._tf.is_tensor(g)]
        numbers = iter(graph.session.run([*fetched, *known], feed))
        values = [to_tensor(next(numbers)) for _ in fetched]
        gradients = [to_tensor(next(numbers)) if self._tf.is_tensor(g) else g for g in graph.gradients]
        answers = iter([attached(call.logits, v, g) for v, g in zip(values, gradients, strict=True)])
        return mapped(graph.result, lambda v: next(answers) if self._tf.is_tensor(v) else v)

    def _built(self, call: Call, tensors: dict[str, Tensor]) -> _Graph:
        v1 = self._tf.compat.v1
        with v1.Graph().as_default() as graph:
            given = {name: v1.placeholder(to_numpy(t).dtype, t.shape) for name, t in tensors.items()}
            settings, positional, keywords = call.bound(dict(call.values()) | given)
            made = call.subject if settings is None else call.subject(**settings)
            result = made(*positional, **keywords)
            logits = next(given[name] for name, t in tensors.items() if t is call.logits)
            gradients: list[Any] = []

            def differentiate(value: Any) -> None:
                if self._tf.is_tensor(value):
                    wanted = call.logits.requires_grad and value.dtype.is_floating
                    gradients.append(self._symbolic(value, logits) if wanted else None)

            mapped(result, differentiate)
            session = v1.Session(graph=graph)
            session.run(v1.global_variables_initializer())
        return _Graph(session, given, result, gradients)

    def _symbolic(self, value: Any, logits: Any) -> Any:
        try:
            found = self._tf.gradients(value, logits)[0]
            return None if found is None else self._tf.convert_to_tensor(found)
        except Exception as e:
            return e

    def seed(self, number: int) -> None:
        # TensorFlow forgets all its kernels for it, after which a call takes five times as long.
        if self._draws:
            self._tf.random.set_seed(number)

    @contextmanager
    def _noting_draws(self) -> Iterator[None]:
        """Note whether an operation asks for a seed, as all do that draw from the common generator."""
        original = self._seeds.get_seed

        def noting(seed: Any) -> Any:
            self._draws = True
            return original(seed)

        self._seeds.get_seed = noting
        try:
            yield
        finally:
            self._seeds.get_seed = original

    def version(self) -> str:
        return str(self._tf.__version__)
