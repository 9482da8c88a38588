"""The child process: one subject, its cases in order, an answer for each.

Started by the client as ``python -m polyref.subject.worker``. It speaks on the two pipes it is given and never on
standard output, which belongs to the subject. It ends when its parent does.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from typing import Any

from polyref.errors import UsageError
from polyref.subject import wire
from polyref.subject.convention import Convention, NoConvention, NotJudged, ReturnsNothing
from polyref.subject.load import load, parse_target
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation
from polyref.subject.overrides import Forms
from polyref.subject.said import one_line
from polyref.subject.service import Log, Pipes, loading, serve_parent

#: How torch's allocator says that memory has run out, in an exception that is no MemoryError.
_NO_MEMORY = re.compile(r"^(MemoryError|.*(can't allocate memory|not enough memory|out of memory))", re.IGNORECASE)


def says_no_memory(error: str) -> bool:
    """Whether an exception, as one line, says that memory has run out."""
    return _NO_MEMORY.match(error) is not None


def serve(pipes: Pipes) -> None:
    """Answer the parent until it closes its end."""
    # Before the target: what is measured with is bound to torch's own functions, whatever the target replaces.
    with loading():
        import polyref.subject.chance  # noqa: PLC0415 -- the parent does without torch
        import polyref.subject.probe  # noqa: F401, PLC0415
    lines = pipes.lines()
    first = next(lines, None)
    if first is None:
        return
    opened = _opened(pipes, wire.decode(first)["open"])
    if opened is None:
        return
    from polyref.subject.state import seeded_otherwise  # noqa: PLC0415 -- loaded already

    runner, state, log = opened
    for line in lines:
        request = wire.decode(line)
        case = wire.unpack_case(request["case"])
        manner = Manner.from_json(request["manner"]) if "manner" in request else PLAIN
        if "afresh" in request:
            runner.afresh()
        try:
            observation = runner.observe(case, gradient=request["gradient"], twice=request["twice"], manner=manner)
        except Exception:  # of polyref's own making: those of the subject are in the observation
            raise
        except BaseException as e:  # no key and no signal of polyref's reaches this process: the subject raised it
            observation = Observation(error=one_line(e))
        state.restore()
        changed = (*state.put_back(), *seeded_otherwise(runner.times))
        if changed and manner == PLAIN:  # in the others some of it is torch's or polyref's own doing
            observation = replace(observation, changed=changed)
        if observation.error is not None and says_no_memory(observation.error):
            observation = replace(observation, killed="memory")
        seen: dict[str, Any] = {"event": "seen", "observation": wire.pack_observation(observation)}
        if log.grew() and manner == PLAIN:
            seen["wrote"] = True
        pipes.send(seen)


def _opened(pipes: Pipes, request: dict[str, Any]) -> Any:
    """Load the target and find or take over its convention; None if it is refused, and then the parent knows why."""
    sys.path.extend(p for p in request["path"] if p not in sys.path)
    import torch  # noqa: PLC0415 -- loaded already

    from polyref.subject.chance import SeededSubject  # noqa: PLC0415
    from polyref.subject.local import environment  # noqa: PLC0415
    from polyref.subject.probe import probe  # noqa: PLC0415
    from polyref.subject.state import ProcessState, seed, without_frameworks  # noqa: PLC0415

    if request["device"].startswith("cuda") and not torch.cuda.is_available():
        lacking = f"device {request['device']!r} is not there: torch.cuda.is_available() is false here"
        pipes.send({"event": "refused", "kind": "usage", "message": lacking})
        return None
    torch.set_num_threads(1)
    clean = ProcessState()
    log, began = Log(), time.monotonic()
    try:
        loaded = load(parse_target(request["target"]))
    except UsageError as e:
        pipes.send({"event": "refused", "kind": "usage", "message": str(e)})
        return None
    changed = without_frameworks((*clean.restore_builtins(), *clean.changed()))
    # What importing it changed stays, as for anybody who uses it; what a call changes is put back.
    state = ProcessState()

    def trying(text: str) -> None:
        state.restore()
        pipes.send({"event": "trying", "call": text})

    pipes.send({"event": "loaded", "seconds": time.monotonic() - began, "wrote": log.grew()})
    name, device = loaded.target.attribute, request["device"]
    try:
        if request["convention"] is not None:
            convention = Convention.from_json(request["convention"])
        else:
            seed(0)
            convention = probe(
                loaded.subject,
                name,
                init=request["init"],
                call=request["call"],
                forms=Forms.told(request["forms"]),
                device=device,
                framework=request["framework"],
                trying=trying,
            )
    except ReturnsNothing as e:
        pipes.send({"event": "refused", "kind": "nothing", "message": str(e), "convention": e.convention.to_json()})
        return None
    except NotJudged as e:
        pipes.send({"event": "refused", "kind": "not judged", "message": str(e)})
        return None
    except NoConvention as e:
        pipes.send({"event": "refused", "kind": "convention", "message": str(e), "attempts": e.attempts})
        return None
    source = loaded.source
    pipes.send(
        {
            "event": "opened",
            "convention": convention.to_json(),
            "source": {"file": source.file, "line": source.line, "doc": source.doc},
            "environment": environment(device, convention.framework),
            "changed": changed,
        }
    )
    state.restore()
    found = replace(convention, attempts=())
    # Before a result is read, too: what a call did to torch must not falsify how it is read.
    runner = SeededSubject(loaded.subject, name=name, convention=found, device=device, settle=state.restore)
    log.grew()  # what the probe's trials wrote, unusual calls among them
    return runner, state, log


if __name__ == "__main__":
    serve_parent(serve, "polyref.subject.worker", __doc__)
