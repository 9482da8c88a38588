"""The errors that a user can cause.

Each message is one line: the value that was given, what is wrong with it, and how to mend it. The command line turns
the class into an exit code (design section 7) and prints the message without a traceback.
"""


class PolyrefError(Exception):
    """Base of every error that polyref raises on purpose."""

    exit_code = 2


class UsageError(PolyrefError, ValueError):
    """An argument, a case or a target that cannot be used as given; exit code 2."""

    exit_code = 2


class NotComparable(PolyrefError):
    """A baseline that a run cannot be held against; exit code 5."""

    exit_code = 5


class NothingMeasured(PolyrefError):
    """A run that ended without one measurement; exit code 3, never a success."""

    exit_code = 3
