"""Sweeps by a Dask cluster of separate processes: the same tallies, whoever dies, leaves or comes back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dask_cluster import PATIENCE, DaskCluster, runs, until

from polyref import cluster as engine
from polyref.cli import run as command
from polyref.errors import UsageError
from polyref.sweep.checkpoint import Checkpoint
from polyref.sweep.cluster import Cluster
from polyref.sweep.hand import Failed, Swept
from polyref.sweep.job import Job, Range, source_digest
from polyref.sweep.run import sweep

from . import subjects
from .jobs import job_of, unbroken

pytestmark = pytest.mark.usefixtures("one_thread")

#: What the subjects treat in a way of their own: the bit pattern of 10.1875 in bfloat16.
SPOT = 0x4123
MEMORY = 4 << 30


def many_ranges(name: str, **changes: Any) -> Job:
    """Many short ranges of one of the tests' losses."""
    return job_of(name, **{"stop": 0x4140, "length": 2} | changes)


def swept_here(name: str) -> dict[Range, Any]:
    """What is found here."""
    return unbroken(many_ranges(name))


def swept_there(job: Job, cluster: DaskCluster, checkpoint: Checkpoint | None = None, seconds: float = PATIENCE):
    found = sweep(job, Cluster(job, cluster.address, seconds=seconds, memory_bytes=MEMORY), checkpoint)
    return found.swept, found.failed


def tallies(swept: dict[Range, Swept]) -> dict[Range, Any]:
    """What was found, without the times."""
    return {r: s.tallies for r, s in sorted(swept.items())}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    found = DaskCluster(tmp_path_factory.mktemp("dask"))
    yield found
    found.close()


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[DaskCluster]:
    """A cluster of its own for a test, which gives up a task with the first worker that dies of it."""
    folder = tmp_path / "dask"
    folder.mkdir()
    found = DaskCluster(folder, workers=1, allowed_failures=0)
    yield found
    found.close()


def test_the_tallies_are_those_of_this_machine(cluster: DaskCluster) -> None:
    swept, failed = swept_there(many_ranges("planted"), cluster)
    assert not failed
    assert sorted(swept) == many_ranges("planted").ranges
    assert tallies(swept) == swept_here("planted")
    assert tallies(swept) != swept_here("textbook")


def test_a_worker_is_killed_in_the_middle(cluster: DaskCluster) -> None:
    job = many_ranges("slow")
    executor = Cluster(job, cluster.address, seconds=PATIENCE, memory_bytes=MEMORY)
    children: list[int] = []
    found: list[tuple[Range, Swept | Failed]] = []
    for r, outcome in executor.results(job.ranges):
        found.append((r, outcome))
        if len(found) == 4:
            children = cluster.kill(cluster.workers[0])
    executor.close()
    assert Counter(r for r, _ in found) == Counter(job.ranges)
    swept = {r: s for r, s in found if isinstance(s, Swept)}
    assert tallies(swept) == swept_here("textbook")
    assert children
    until(lambda: not any(map(runs, children)))
    cluster.add_worker()


def test_the_client_leaves_and_comes_back(cluster: DaskCluster, tmp_path: Path) -> None:
    job = many_ranges("slow")
    checkpoint = Checkpoint(tmp_path / "kept", job)
    executor = Cluster(job, cluster.address, seconds=PATIENCE, memory_bytes=MEMORY)
    for r, outcome in executor.results(job.ranges):
        assert isinstance(outcome, Swept)
        checkpoint.keep(r, outcome)
        if len(checkpoint.done()) == 5:
            break
    executor.close()
    before = checkpoint.done()
    swept, failed = swept_there(job, cluster, checkpoint)
    assert not failed
    assert all(swept[r] == s for r, s in before.items())
    assert tallies(swept) == swept_here("textbook")


@pytest.mark.parametrize(
    ("name", "reason", "seconds"),
    [
        ("raising", "raised ValueError: not this one", PATIENCE),
        # The child processes are those of a sweep here, whose tests have these too.
        pytest.param("dying", "ended its process (exit 7)", PATIENCE, marks=pytest.mark.long),
        pytest.param("hanging", "took more than 3 s", 3.0, marks=pytest.mark.long),
    ],
)
def test_a_range_that_the_subject_refuses(cluster: DaskCluster, name: str, reason: str, seconds: float) -> None:
    job = many_ranges(name, start=0x4120, stop=0x4128)
    swept, failed = swept_there(job, cluster, seconds=seconds)
    (wrong,) = [r for r in job.ranges if r.start <= SPOT < r.stop]
    assert failed == {wrong: Failed(reason, final=name == "raising")}
    assert tallies(swept) == {r: s for r, s in swept_here("textbook").items() if r in job.ranges and r != wrong}


def test_a_target_that_cannot_be_loaded_there(cluster: DaskCluster) -> None:
    with pytest.raises(UsageError, match="missing"):
        swept_there(msgspec.structs.replace(many_ranges("textbook"), target="sweep.subjects:missing"), cluster)


def test_a_target_that_is_another_one_there(cluster: DaskCluster) -> None:
    with pytest.raises(UsageError, match=r"subjects\.py is not what it was when the sweep began: sweep it anew"):
        swept_there(many_ranges("textbook", source="0123456789abcdef"), cluster)
    job = many_ranges("textbook", source=source_digest(subjects.__file__), stop=0x4102)
    assert len(swept_there(job, cluster)[0]) == 1


def test_a_range_that_costs_every_worker_its_life_is_named(fragile: DaskCluster) -> None:
    job = many_ranges("hanging", start=0x4120, stop=0x4128)
    executor = Cluster(job, fragile.address, seconds=1000.0, memory_bytes=MEMORY)
    found, children = {}, []
    for r, outcome in executor.results(sorted(job.ranges, key=lambda r: r.start <= SPOT < r.stop)):
        found[r] = outcome
        if len(found) == len(job.ranges) - 1:  # what is left does not end, not even when its pipes are closed
            (worker,) = fragile.workers
            children = fragile.kill(worker)
            fragile.add_worker()
    executor.close()
    (wrong,) = [r for r in job.ranges if r.start <= SPOT < r.stop]
    assert found.pop(wrong) == Failed("the worker died that got places 0x4122 to 0x4124")
    assert all(isinstance(s, Swept) for s in found.values())
    assert children
    until(lambda: not any(map(runs, children)))


LOSS = """
import time
import torch.nn.functional as F

def loss(logits, labels, epsilon=1.0, reduction="mean"):
    if len(logits) > 1000:
        time.sleep(1)
    ce = F.cross_entropy(logits, labels, reduction="none")
    x = ce + epsilon * (1 - F.softmax(logits, 1).gather(1, labels[:, None]).squeeze(1))
    return {"mean": x.mean, "sum": x.sum, "none": lambda: x}[reduction]()
"""


def test_the_scheduler_is_killed_and_another_one_goes_on(
    fragile: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slow.py").write_text(LOSS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "_PATIENCE", 2.0)
    kept = tmp_path / "kept"
    asked = [
        *("sweep", "slow.py:loss", "--format", "bfloat16", "--margins", "--epsilon", "1", "--no-gradient"),
        *("--json", "found.json"),
    ]

    def kill() -> None:
        until(lambda: list(kept.glob("range-*.json")))
        fragile.scheduler.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    assert command([*asked, "--checkpoint", "kept", "--scheduler", fragile.address]) == 2
    thread.join()
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == (
        "",
        [f"polyref: the scheduler {fragile.address} is gone (the connection is lost): start it again, and go on"],
    )
    assert 1 <= len(list(kept.glob("range-*.json"))) < 4
    folder = tmp_path / "second"
    folder.mkdir()
    second = DaskCluster(folder)
    monkeypatch.setattr(engine, "_PATIENCE", PATIENCE)
    try:
        assert command([*asked, "--resume", "kept", "--scheduler", second.address]) in (0, 1)
    finally:
        second.close()
    assert capsys.readouterr().err == ""
    document = msgspec.json.decode((tmp_path / "found.json").read_bytes())
    assert document["judged"] == document["inputs"] == 1 << 16
    assert document["failures"] == []


def test_all_workers_are_gone(fragile: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    job = many_ranges("slow")
    executor = Cluster(job, fragile.address, seconds=PATIENCE, memory_bytes=MEMORY)
    monkeypatch.setattr(engine, "_PATIENCE", 2.0)
    results = executor.results(job.ranges)
    next(results)
    (worker,) = fragile.workers
    fragile.kill(worker)
    found = []
    with pytest.raises(UsageError, match=f"^the scheduler {fragile.address} has had no worker for 2 s: start some"):
        found.extend(results)
    executor.close()
    # What the worker held when it died is named; nothing else is.
    assert all(isinstance(s, (Swept, Failed)) for _, s in found)
    with pytest.raises(UsageError, match="has no workers: start some with dask worker"):
        Cluster(job, fragile.address, seconds=PATIENCE, memory_bytes=MEMORY)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_PATIENCE", 0.5)
    for address in ("tcp://127.0.0.1:9", "nowhere", "udp://127.0.0.1:1"):
        with pytest.raises(UsageError, match=f"^no scheduler answers at {address!r} .*: give the tcp://HOST:PORT"):
            Cluster(many_ranges("textbook"), address, seconds=1.0, memory_bytes=MEMORY)
