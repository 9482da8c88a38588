"""Work for a Dask cluster of separate processes: audits and self-tests find there what they find here."""

from __future__ import annotations

import operator
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cluster_pieces as pieces
import msgspec
import pytest
from dask_cluster import DaskCluster, children_of, runs, until

from polyref import cli, many
from polyref import cluster as engine
from polyref.cluster import Cluster
from polyref.errand import ProcessEnded
from polyref.errors import NothingMeasured, UsageError
from polyref.formats import BFLOAT16
from polyref.options import Options
from polyref.report import document
from polyref.report import selftest as selftest_document
from polyref.selftest import run as selftest
from polyref.selftest.crew import Crew, WorkerDied
from polyref.subject.lasting import lasting

pytestmark = pytest.mark.usefixtures("one_thread")

GOOD, GONE = "cluster_subject:loss", "gone.py:loss"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    found = DaskCluster(tmp_path_factory.mktemp("dask"))
    yield found
    found.close()


def test_functions_are_called_in_child_processes_of_the_workers(cluster: DaskCluster) -> None:
    with Cluster(cluster.address, initializer=pieces.begin) as there:
        assert there.threads == 2
        assert [f.result() for f in [there.submit(pieces.add, i, b=i) for i in range(6)]] == [0, 2, 4, 6, 8, 10]
        begun, folder, pid = there.submit(pieces.state).result()
        assert begun == [pid]  # once, and in a process of this executor alone
        assert folder == os.getcwd()
        assert pid in [c for w in cluster.workers for c in children_of(w.pid)]
        assert there.task("a sum", operator.add, 1, 2).result() == 3
        with pytest.raises(UsageError, match=r"cannot do a sum \(.*\): install the same polyref with its workers"):
            there.task("a sum", pieces.add, 1, 2).result()  # a module that the cluster does not have
    with Cluster(cluster.address) as there:
        assert there.submit(pieces.state).result()[0] == []


def test_what_a_function_raises_is_raised_here(cluster: DaskCluster) -> None:
    with Cluster(cluster.address) as there:
        with pytest.raises(NothingMeasured, match=r"^there was nothing$"):
            there.submit(pieces.refuse).result()
        with pytest.raises(ZeroDivisionError) as caught:
            there.submit(pieces.divide, 1).result()
        assert "return a / 0" in "".join(caught.value.__notes__)
        with pytest.raises(RuntimeError, match="Odd: this and that"):
            there.submit(pieces.odd).result()
        with pytest.raises(ProcessEnded, match=r"it ended its process \(exit 5\), and another one"):
            there.submit(pieces.end).result()
        assert there.submit(pieces.add, 1).result() == 2


def test_a_worker_is_killed(cluster: DaskCluster) -> None:
    with Cluster(cluster.address) as there:
        futures = [there.submit(pieces.slowly, i) for i in range(12)]
        assert futures[0].result() == 0
        children = cluster.kill(cluster.workers[0])
        assert [f.result() for f in futures] == list(range(12))
    assert children
    until(lambda: not any(map(runs, children)))
    cluster.add_worker()


def test_the_scheduler_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_PATIENCE", 2.0)
    fragile = DaskCluster(tmp_path, workers=1, allowed_failures=0)
    try:
        with Cluster(fragile.address) as there:
            assert there.submit(pieces.add, 1).result() == 2
            future = there.submit(pieces.slowly, "this one")
            fragile.scheduler.kill()
            with pytest.raises(engine.SchedulerGone, match=f"the scheduler {fragile.address} is gone"):
                future.result(timeout=60)
            with pytest.raises(engine.SchedulerGone):
                there.submit(pieces.add, 1).result(timeout=60)
    finally:
        fragile.close()


def test_nobody_waits_for_a_result_when_the_cluster_is_left(cluster: DaskCluster, monkeypatch) -> None:
    """A client that is closed answers nobody: the thread that waits would keep the process from ending."""
    monkeypatch.setattr(engine, "_FETCH", 0.01)

    class Unanswered:
        asked = 0

        def result(self, timeout: float) -> None:
            assert timeout == 0.01
            self.asked += 1
            if self.asked == 3:
                there.shutdown(cancel_futures=True)
            raise TimeoutError

    there, remote = Cluster(cluster.address), Unanswered()
    with pytest.raises(TimeoutError):
        there._result("a sum", remote)
    assert remote.asked == 3


def test_workers_of_another_version_are_refused() -> None:
    assert engine.perform(engine._versions(), pieces.add, 1) == (2, None)
    _, error = engine.perform(engine._versions() | {"torch": "0.1"}, pieces.add, 1)
    assert isinstance(error, UsageError)
    assert "not 0.1: install the same versions there" in str(error)


class Held:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_what_a_thread_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine.kept("a", Held) as first:
        pass
    with engine.kept("a", Held) as again:
        assert again is first
    others: list[Held] = []

    def elsewhere() -> None:
        with engine.kept("b", Held) as mine:
            others.append(mine)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert first.closed == 0  # another thread's business is its own
    monkeypatch.setattr(engine, "_IDLE", 0.01)
    with engine.kept("b", Held) as second:
        assert first.closed == 1
    until(lambda: second.closed)
    with engine.kept("b", Held) as third:
        assert third is not second


def test_a_function_that_is_called_in_a_thread_that_lasts() -> None:
    found: list[Any] = []

    def ask() -> None:
        found.append(lasting(threading.get_ident))
        with pytest.raises(ZeroDivisionError):
            lasting(lambda: 1 / 0)

    for _ in range(2):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert found[0] == found[1] != threading.get_ident()
    assert lasting(threading.get_ident) == threading.get_ident()


def timeless(found: document.Document | many.Failure) -> bytes:
    if isinstance(found, document.Document):
        found = msgspec.structs.replace(found, settings=msgspec.structs.replace(found.settings, seconds=0, started=""))
    return msgspec.json.encode(found)


def test_audits_find_the_same(cluster: DaskCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "losses.py"
    file.write_text((Path(__file__).parent / "cluster_subject.py").read_text())
    options = Options(formats=(BFLOAT16,), profile="quick", laws=("reductions-agree",))
    targets = [f"{file}:loss", GONE, f"{file}:squared"]
    here = many.audit_all(targets, options, jobs=1, title="")
    there = many.audit_all(targets, options, jobs=1, title="", scheduler=cluster.address)
    assert [type(f).__name__ for f in there] == ["Document", "Failure", "Document"]
    assert [timeless(f) for f in there] == [timeless(f) for f in here]
    assert timeless(there[0]) != timeless(there[2])
    assert timeless(many.audit_one(targets[0], options, scheduler=cluster.address)) == timeless(here[0])
    assert cli.run(["audit", GONE, "--scheduler", cluster.address]) == 2
    assert capsys.readouterr().err.startswith(f"polyref: target {GONE!r}: there is no file")


def test_an_audit_whose_process_ends_is_named(cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_audited", pieces.ending_audit)
    (found,) = many.audit_all(["a.py:b"], Options(), jobs=1, title="", scheduler=cluster.address)
    assert isinstance(found, many.Failure)
    assert found.message == "target 'a.py:b' was not audited: it ended its process (exit 5), and another one"


def test_a_selftest_finds_the_same(cluster: DaskCluster) -> None:
    def found(**where: Any) -> bytes:
        options = selftest.Options(
            laws=("inputs-untouched-and-repeatable",), mutants=("sign-flipped",), formats=(BFLOAT16,), **where
        )
        d = selftest.selftest(options)
        settings = msgspec.structs.replace(d.settings, seconds=0.0, started="")
        laws = [msgspec.structs.replace(law, seconds={}) for law in d.laws]
        return selftest_document.dumps(msgspec.structs.replace(d, settings=settings, laws=laws))

    assert found(scheduler=cluster.address) == found(jobs=2)


def test_a_mutant_that_ends_its_process(cluster: DaskCluster) -> None:
    from polyref.report.progress import Meter

    with Crew(1, Meter(None, None), cluster.address) as crew:
        assert crew.jobs == 2
        with pytest.raises(WorkerDied, match="a mutant did"):
            crew.finish(crew.start(pieces.end, [()]))


@pytest.mark.parametrize("command", [["audit", GOOD], ["audit", GOOD, GONE], ["selftest"]])
def test_nobody_answers(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "_PATIENCE", 0.3)
    assert cli.run([*command, "--scheduler", "tcp://127.0.0.1:9"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("polyref: no scheduler answers at 'tcp://127.0.0.1:9'")


def test_distributed_is_loaded_when_a_scheduler_is_given() -> None:
    code = (
        "import sys; from polyref import cli, many, cluster; from polyref.sweep import run; "
        "from polyref.selftest import run; sys.exit('distributed' in sys.modules or 'dask' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_distributed_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'polyref\[cluster\]'"):
        Cluster("tcp://127.0.0.1:9")
