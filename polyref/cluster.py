"""Work done by a Dask cluster in the place of processes of this machine; the extra ``cluster`` brings what that needs.

    Cluster.submit(function, arguments) ──> perform (in a worker) ──> errand (a child process of it) ──> function
    Cluster.task(function, arguments)   ──> perform (in a worker) ──> function

The scheduler gives a task to another worker when its own dies, ``distributed.scheduler.allowed-failures`` times, and a
task that was done twice has one result. A child process is kept by each thread of a worker, so that what a subject does
to its process cannot take the worker down; it dies with the worker, and is ended when it was idle for a while.

An empty task took 11 to 24 ms from here and back and an empty errand 22 to 48 ms (medians of 100), with a scheduler and
two workers on two cores that others were using too: pieces of work should take a second or more. Workers and scheduler
need the same polyref and torch, and the files that targets are in, under the same names.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypeVar

from polyref.errand import Errands, Order
from polyref.errors import UsageError

_T = TypeVar("_T")

#: Seconds that a scheduler may take to answer, and a cluster without workers to get one.
_PATIENCE = 20.0
_LOOK = 1.0
#: Seconds between two looks whether a result that is on its way is still wanted.
_FETCH = 5.0
#: Seconds that a child process is kept for the next task.
_IDLE = 300.0


class WorkerLost(UsageError):
    """A piece of work for which one worker after the other died; exit code 2."""


class SchedulerGone(UsageError):
    """A scheduler that does not answer any more, or has no workers left; exit code 2."""


class Cluster(Executor):
    """The workers of one scheduler, as an executor.

    Args:
        address: of the scheduler, ``tcp://HOST:PORT``.
        initializer: called once in each child process that is to do what is submitted.

    Attributes:
        address: of the scheduler.

    Raises:
        UsageError: if ``distributed`` is not installed, nobody answers there, or there are no workers.
    """

    def __init__(self, address: str, initializer: Callable[[], object] | None = None) -> None:
        self.address = address
        self._client = _connected(address)
        self._order = Order.here(uuid.uuid4().hex, initializer)
        self._versions = _versions()
        self._open: dict[Future[Any], Any] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="polyref-cluster", daemon=True).start()

    @property
    def threads(self) -> int:
        """How many tasks are done at once."""
        return max(1, self._count())

    def _count(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except Exception as e:
            raise self._gone("the connection is lost") from e

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Call a function in the child process of a worker; function, arguments and result are pickled.

        Beside what the function raises, the future may raise :class:`WorkerLost` and :class:`SchedulerGone`.
        """
        name = " ".join([fn.__name__.strip("_"), *(repr(a) for a in args[:1] if isinstance(a, str))])
        return self._given(name, _errand, (self._order, pickle.dumps((fn, args, kwargs))))

    def task(self, name: str, fn: Callable[..., _T], /, *args: Any) -> Future[_T]:
        """Call a function in a worker itself, which it must not harm.

        Args:
            name: of the piece of work, for errors.
            fn: the function.
            args: its arguments.
        """
        return self._given(name, fn, args)

    def _given(self, name: str, fn: Callable[..., Any], args: tuple[Any, ...]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            remote = self._client.submit(
                perform, self._versions, fn, *args, key=f"polyref-{uuid.uuid4().hex}", pure=False
            )
        except Exception as e:
            raise self._gone(str(e)) from e
        with self._lock:
            self._open[future] = remote
        remote.add_done_callback(partial(self._done, name, future))
        return future

    def _done(self, name: str, future: Future[Any], remote: Any) -> None:
        """Hand over what became of a task."""
        try:
            result = self._result(name, remote)
        except Exception as e:
            result = None, e if isinstance(e, WorkerLost) else self._failed(name, remote.status, e)
        self._settle(future, *result)
        with contextlib.suppress(Exception):
            remote.release()

    def _result(self, name: str, remote: Any) -> tuple[Any, BaseException | None]:
        """The result of a task, or what its function raised.

        Raises:
            WorkerLost: if its workers died.
            TimeoutError: if the cluster was left meanwhile.
            Exception: if the cluster could not do it.
        """
        from distributed import KilledWorker  # noqa: PLC0415

        while True:
            try:
                outcome: tuple[Any, BaseException | None] = remote.result(timeout=_FETCH)
            except KilledWorker as e:
                count = getattr(e, "allowed_failures", 0) + 1
                who = "the worker" if count == 1 else f"{count} workers, one after the other,"
                raise WorkerLost(f"{who} died that got {name}") from e
            except TimeoutError:  # a client that is closed answers nobody, who then would wait to the end of days
                if self._closed.is_set():
                    raise
            else:
                return outcome

    def _failed(self, name: str, status: str, error: Exception) -> UsageError:
        """What is said of a task that came to no result of its own."""
        if status in ("cancelled", "lost", "pending") or isinstance(error, (OSError, TimeoutError)):
            return self._gone("the connection is lost")
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return UsageError(
            f"the cluster {self.address} cannot do {name} ({text:.200}): install the same polyref with its workers"
        )

    def _gone(self, reason: str) -> SchedulerGone:
        return SchedulerGone(f"the scheduler {self.address} is gone ({reason}): start it again, and go on")

    def _settle(self, future: Future[Any], result: Any, error: BaseException | None) -> None:
        with self._lock:
            if self._open.pop(future, None) is None:
                return  # whoever waited has been told something else
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def _watch(self) -> None:
        """See to it that nobody waits for ever: for a connection that was closed, or for workers that do not come."""
        alone = 0.0
        while not self._closed.wait(_LOOK):
            gone = None
            try:
                alone = 0.0 if self._count() else alone + _LOOK
            except SchedulerGone as e:  # the client may be about to connect again, and has cancelled its tasks anyway
                gone = e if self._client.status == "closed" else None
            if alone > _PATIENCE:
                gone = SchedulerGone(
                    f"the scheduler {self.address} has had no worker for {_PATIENCE:g} s: start some, and go on"
                )
            if gone is not None:
                for future in list(self._open):
                    self._settle(future, None, gone)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster.

        Args:
            wait: whether to wait for what was submitted.
            cancel_futures: whether to forget it first; what has begun in a worker goes on to its end there.
        """
        if not cancel_futures and wait:
            for future in list(self._open):
                with contextlib.suppress(Exception):
                    future.exception()
        self._closed.set()
        with self._lock:
            left, self._open = list(self._open), {}
        for future in left:
            future.set_exception(self._gone("it was left"))
        with contextlib.suppress(Exception):
            self._client.close(timeout=_PATIENCE)


def perform(versions: dict[str, str], fn: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
    """Run in a worker: what a function returns, or what it raises."""
    for package, ours in _versions().items():
        if ours != versions.get(package):
            text = f"the worker on {socket.gethostname()} has {package} {ours}, not {versions.get(package)}"
            return None, UsageError(f"{text}: install the same versions there")
    try:
        return fn(*args), None
    except Exception as e:
        return None, e


@cache
def _versions() -> dict[str, str]:
    """What must be the same in all processes, as what is sent and what is found depend on it."""
    found = {}
    for package in ("polyref", "torch"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _errand(order: Order, piece: bytes) -> Any:
    """Run in a worker: what became of a piece of work in the child process of this thread."""
    with kept(order.session, lambda: Errands(order)) as errands:
        return errands.run(piece)


class Closable(Protocol):
    """What holds a child process."""

    def close(self) -> None:
        """End it."""


_Held = TypeVar("_Held", bound=Closable)


class _Slot:
    """What one thread of a worker keeps from one task to the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: object = None
        self._held: Closable | None = None
        self._uses = 0

    @contextlib.contextmanager
    def using(self, key: object, make: Callable[[], Any]) -> Iterator[Any]:
        with self._lock:
            self._uses += 1
            if self._held is None or self._key != key:
                self._close()
                self._key, self._held = key, make()
            try:
                yield self._held
            finally:
                timer = threading.Timer(_IDLE, self._leave, (self._uses,))
                timer.daemon = True
                timer.start()

    def _leave(self, uses: int) -> None:
        """Close what nobody has used since."""
        with self._lock:
            if uses == self._uses:
                self._close()

    def _close(self) -> None:
        if self._held is not None:
            self._held.close()
        self._held = None


_slots = threading.local()


def kept(key: object, make: Callable[[], _Held]) -> contextlib.AbstractContextManager[_Held]:
    """What this thread has kept under a key, or else makes now; what it kept under another one is closed."""
    if not hasattr(_slots, "mine"):
        _slots.mine = _Slot()
    slot: _Slot = _slots.mine
    return slot.using(key, make)


def _connected(address: str) -> Any:
    """A client of the scheduler at an address that has workers."""
    try:
        from distributed import Client  # noqa: PLC0415
    except ImportError:
        raise UsageError("--scheduler needs the package distributed: pip install 'polyref[cluster]'") from None
    # What happens to the cluster is said in one line of our own.
    for name in ("distributed", "distributed.client", "distributed.core", "distributed.comm", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as e:
        raise UsageError(
            f"no scheduler answers at {address!r} ({type(e).__name__}): give the tcp://HOST:PORT of one that runs"
        ) from e
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except (OSError, TimeoutError):
        client.close(timeout=_LOOK)  # type: ignore[no-untyped-call]
        raise UsageError(f"the scheduler {address} has no workers: start some with dask worker {address}") from None
    return client
