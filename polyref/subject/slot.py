"""A place for one child process at a time, and for what it writes; both end with it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import weakref
from collections.abc import Iterator
from typing import IO

from polyref.subject.child import Child, ChildGone


class Slot:
    """A place for a child process, which ends with the last reference to it.

    Args:
        module: what children run.
        memory_bytes: what each may use; -1 for no limit.

    Attributes:
        log: what the children wrote to standard output and error.
    """

    def __init__(self, *, module: str, memory_bytes: int) -> None:
        self._module, self._memory = module, memory_bytes
        self.log = tempfile.TemporaryFile(prefix="polyref-")  # noqa: SIM115 -- closed by the finalizer
        # Whatever empties the file, what is written next goes to its end.
        flags = fcntl.fcntl(self.log.fileno(), fcntl.F_GETFL)
        fcntl.fcntl(self.log.fileno(), fcntl.F_SETFL, flags | os.O_APPEND)
        self._children: list[Child] = []
        self._finalizer = weakref.finalize(self, _shut, self._children, self.log)
        _slots.add(self)

    @property
    def child(self) -> Child | None:
        """The child, if there is one."""
        return self._children[0] if self._children else None

    @property
    def closed(self) -> bool:
        """Whether no child can be started any more."""
        return not self._finalizer.alive

    def start(self) -> Child:
        """Start a child; there must be none.

        Raises:
            ChildGone: if the slot is closed.
        """
        if self.closed:
            raise ChildGone("it was closed")
        child = Child(self._memory, self.log, module=self._module)
        self._children.append(child)
        if not self._finalizer.alive:  # another thread has closed it, and did not see this one
            child.kill()
            raise ChildGone("it was closed")
        return child

    def drop(self) -> None:
        """End the child, if there is one; the next may be started."""
        _drop(self._children)

    def close(self) -> None:
        """End it for good; what it still does is lost."""
        self._finalizer()


_slots: weakref.WeakSet[Slot] = weakref.WeakSet()
#: With a child that nothing has been asked of, by module and memory.
_prepared: dict[tuple[str, int], Slot] = {}


@contextlib.contextmanager
def prepared(*, module: str, memory_bytes: int) -> Iterator[None]:
    """Start a child for the first :func:`slot` of this kind in the block: it loads what it needs meanwhile.

    A child that was not asked for ends with the block.

    Args:
        module: what it runs.
        memory_bytes: what it may use.
    """
    kind = module, memory_bytes
    with contextlib.suppress(OSError, RuntimeError):  # no file, process or thread is left: whoever needs one says so
        made = Slot(module=module, memory_bytes=memory_bytes)
        made.start()
        _prepared[kind] = made
    try:
        yield
    finally:
        left = _prepared.pop(kind, None)
        if left is not None:
            left.close()


def slot(*, module: str, memory_bytes: int) -> Slot:
    """A slot: a prepared one, whose child is there already, or one without a child.

    Args:
        module: what children run.
        memory_bytes: what each may use.
    """
    found = _prepared.pop((module, memory_bytes), None)
    if found is not None and found.child is not None and found.child.lives:
        return found
    return Slot(module=module, memory_bytes=memory_bytes)


def close_all() -> None:
    """End the children of every slot, with what they have started."""
    for slot in list(_slots):
        slot.close()


def _drop(children: list[Child]) -> None:
    for child in children:
        child.kill()
    children.clear()


def _shut(children: list[Child], log: IO[bytes]) -> None:
    _drop(children)
    log.close()
