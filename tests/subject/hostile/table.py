"""Every hostile subject, with what an audit of it must say."""

from __future__ import annotations

from dataclasses import dataclass

PROCESS = "keeps-its-process"
CLASSES_LAST = "classes-before-places"
UNTOUCHED = "inputs-untouched-and-repeatable"
VALUE = "value-matches-the-reference"
GRADIENT = "gradient-matches-the-reference"


@dataclass(frozen=True)
class Entry:
    """A subject, and what must be said of it.

    Attributes:
        name: the module and the attribute.
        law: the law that it breaks; None if it breaks none, or cannot be audited.
        says: a part of what the finding says, of the refusal, or of a note.
        refused: whether it cannot be loaded or called, so that one line is all there is.
    """

    name: str
    law: str | None
    says: str = ""
    refused: bool = False

    @property
    def target(self) -> str:
        """The target that is audited."""
        return f"subject.hostile.{self.name}"


def _broken(law: str, **says: str) -> list[Entry]:
    return [Entry(name.replace("__", ":"), law, text) for name, text in says.items()]


ENTRIES = (
    *_broken(
        PROCESS,
        dying__segfault="signal SIGSEGV. Its last words: Fatal Python error: Segmentation fault",
        dying__abort="signal SIGABRT",
        dying__exit_0="exit 0",
        dying__exit_3="exit 3",
        dying__sys_exit="exit 4",
        dying__deaf="timeout",
        dying__deeper="ended the process, ",  # by time or memory, whichever is used up first
        dying__backward="signal SIGABRT",
        dying__identified_by_a_segfault="signal SIGSEGV",
        hanging__call="timeout",
        hanging__allocation="memory",
        hanging__python_allocation="memory",
        hanging__leak="memory",
        returning__inputs_freed="signal SIGSEGV",
        writing__everywhere="pipe closed",
        writing__numbers_everywhere="pipe closed",
        writing__answers_everywhere="pipe closed",
        writing__closed="pipe closed",
    ),
    *_broken(
        VALUE,
        dying__interrupted="raised KeyboardInterrupt",
        dying__deep="raised RecursionError: maximum recursion depth exceeded",
        raising__bare="raised ValueError.",
        raising__long="raised ValueError: mmmm",
        raising__lines="raised ValueError: first.",
        raising__mute="raised Mute: its message cannot be read: __str__ raised RuntimeError",
        raising__deadly="raised Deadly: its message cannot be read: __str__ raised SystemExit",
        raising__interrupt="raised KeyboardInterrupt",
        raising__generator="raised GeneratorExit",
        returning__nan="The value is nan",
        returning__text="returned a str, no numbers",
        returning__huge="returned 100000000 numbers of shape (100000000,), which is no loss",
        returning__integers="",
        returning__complex_numbers="returned complex128 numbers, which are no losses",
        returning__float8="",
        returning__meta="when its result was read",
        returning__shy="hands off",
        meddling__folder_gone="raised FileNotFoundError",
        meddling__hooks="raised ValueError: hooked",
    ),
    *_broken(
        GRADIENT,
        returning__cut_off="has no gradient: the value is cut off from the logits (no grad_fn)",
        returning__labels_changed="has been modified by an inplace operation",
        meddling__gradients_off="has no gradient: the value is cut off from the logits (no grad_fn)",
    ),
    *_broken(
        UNTOUCHED,
        dying__fork="the call changed whether there are child processes",
        dying__fork_bomb="the call changed whether there are child processes",
        dying__daemon_thread="the call changed the number of threads",
        dying__thread="the call changed the number of threads",
        dying__killed_later="the call changed the alarm clock",
        raising__SecondCall="the second call raised RuntimeError: once is enough",
        returning__other="the second call returned another value",
        returning__logits_changed="the caller's tensors were overwritten",
        meddling__dtype="the call changed the default dtype of torch (torch.float32 before, torch.float64 now)",
        meddling__seeds="the call changed the seed of torch",
        meddling__flags="the call changed torch's deterministic algorithms (False before, True now)",
        meddling__environment="the environment variable OMP_NUM_THREADS, the environment variable PATH",
        meddling__functions="the call changed torch.softmax, torch.tensor, torch.nn.functional.cross_entropy",
        meddling__gradient="the call changed torch.equal, torch.autograd.grad",
        meddling__methods="the call changed torch.Tensor.tolist, torch.Tensor.clone",
        meddling__built_in="the call changed builtins.len, builtins.print",
        meddling__folder="the call changed the current folder",
        meddling__recursion="the call changed the recursion limit (1000 before, 5000 now)",
    ),
    Entry("hanging:slow", None, "the time for the audit"),
    Entry("meddling:messages", None),
    Entry("meddling:filters", None),
    Entry("writing:megabytes", None, "It writes to standard output or error when it is called."),
    Entry("import_waits:loss", None, "Importing it takes longer than 2 s."),
    Entry("import_replaces:loss", None, "Importing it changed builtins.len, the default dtype of torch"),
    Entry(
        "dying:always_segfault",
        None,
        "the call always_segfault(logits, labels) ended the process (signal SIGSEGV)",
        True,
    ),
    Entry("hanging:Constructor", None, "took more than", True),
    Entry("returning:always_meta", None, "meta", True),
    Entry("import_hangs:loss", None, "importing it took more than", True),
    Entry("import_leaves:loss", None, "calls sys.exit(0) when it is imported", True),
    Entry("import_dies:loss", None, "importing it ended the process (exit 3)", True),
    Entry("import_raises:loss", None, "it raises ValueError: mmmm", True),
)
