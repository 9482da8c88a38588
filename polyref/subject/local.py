"""A subject in this process: an object in hand, and what a child process runs."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64
from polyref.subject.call import Caller, torch_dtype
from polyref.subject.convention import Convention
from polyref.subject.frameworks import framework as adapter
from polyref.subject.load import Source, source_of
from polyref.subject.lookup import attribute
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation
from polyref.subject.overrides import FOUND_OUT, Forms
from polyref.subject.probe import probe

_FORMATS = (BINARY64, BINARY32, BINARY16, BFLOAT16)


class LocalSubject:
    """Runs a subject without isolation; the child process uses this class too.

    Args:
        subject: a class, a function, a factory or an instance.
        name: its name in texts; by default the one that it was defined with.
        convention: how it is called; found by the probe if it is not given.
        init: overrides of constructor arguments, for the probe.
        call: overrides of call arguments, for the probe.
        forms: the forms of the data, for the probe, where they are not to be found out.
        device: the torch device of the inputs; modules are moved there.
        settle: called after every call of the subject, before its result is read.
        framework: whose arrays it is given, for the probe; by default the one that its code names.

    Raises:
        NoConvention: if the probe finds no way to call it.
        ReturnsNothing: if it returns None.
        NotJudged: if what it returns is no loss.
    """

    # In this process there is nobody who could tell of them.
    deaths = ()
    changed = ()
    slow_import = False
    writes = ()
    exhausted = None

    def __init__(
        self,
        subject: Any,
        *,
        name: str | None = None,
        convention: Convention | None = None,
        init: Mapping[str, Any] | None = None,
        call: Mapping[str, Any] | None = None,
        forms: Forms = FOUND_OUT,
        device: str = "cpu",
        settle: Callable[[], object] = lambda: None,
        framework: str | None = None,
    ) -> None:
        self.name = name if name is not None else _name_of(subject)
        self.source: Source = source_of(subject)
        if convention is None:
            convention = probe(
                subject, self.name, init=init, call=call, forms=forms, device=device, framework=framework
            )
        self.convention = convention
        self._caller = Caller(subject, convention, device=device, settle=settle)
        self._device = device

    def observe(self, case: Case, *, gradient: bool = True, twice: bool = False, manner: Manner = PLAIN) -> Observation:
        """Run one case, in a manner.

        Raises:
            NotOffered: if the convention has no way to ask for the case.
        """
        return self._caller.observe(case, gradient=gradient, twice=twice, manner=manner)

    def observe_all(self, cases: Iterable[Case], *, gradient: bool = True, twice: bool = False) -> list[Observation]:
        """Run cases, one observation for each, in order.

        Raises:
            NotOffered: if the convention has no way to ask for one of them; none is run then.
        """
        cases = list(cases)
        for case in cases:
            self.convention.require(case)
        return [self.observe(case, gradient=gradient, twice=twice) for case in cases]

    def afresh(self) -> None:
        """Nothing: chance is left to itself here."""

    def environment(self) -> dict[str, str]:
        """Versions and machine properties of this process, as text."""
        return environment(self._device, self.convention.framework)


def environment(device: str = "cpu", framework: str = "torch") -> dict[str, str]:
    """Versions and machine properties of this process, as text: what can move a result by an ulp."""
    found = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "cpus": str(os.cpu_count()),
        "device": device,
    }
    if device.startswith("cuda"):
        found["device_name"] = torch.cuda.get_device_name(device)
        found["cuda"] = str(torch.version.cuda)
    if framework != "torch":
        used = adapter(framework)
        found["framework"] = f"{framework} {used.version()}"
        found["flushes"] = ", ".join(f.name for f in _FORMATS if used.flushes(torch_dtype(f)))
    return found


def _name_of(subject: Any) -> str:
    name = attribute(subject, "__name__")
    return name if isinstance(name, str) else type(subject).__name__
