"""What the second process of an audit does before there is work for it.

It stands alone because a process that has imported no more than this can have a third one load torch beside it.
"""

from __future__ import annotations

from contextlib import ExitStack

from polyref.subject.child import WORKER
from polyref.subject.slot import prepared

_for_life = ExitStack()


def stand_by(memory_bytes: int) -> None:
    """Start the process of a subject, and load what the searches need meanwhile.

    Args:
        memory_bytes: what the subject may use.
    """
    _for_life.enter_context(prepared(module=WORKER, memory_bytes=memory_bytes))
    from polyref import halves  # noqa: F401, PLC0415 -- what it will be asked for
    from polyref.property import load_properties  # noqa: PLC0415

    load_properties()
