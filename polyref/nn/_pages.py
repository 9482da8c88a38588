"""Large pages for memory that is about to be written for the first time."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

from torch import Tensor

_PAGE = 1 << 21
_MADV_HUGEPAGE = 14


@cache
def _madvise() -> Any:
    """The system's madvise, or None where there is none or where it knows no such advice."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


def advise_large_pages(fresh: Tensor) -> Tensor:
    """Ask for large pages for a new tensor, and return it; of another device than the CPU, just return it.

    The first write to new memory costs a fault for each of its pages: of a gradient of 128 MiB, the third part of a
    loss's time. It is advice, to whole large pages within the tensor alone; where the system does not follow it,
    nothing changes.
    """
    size = fresh.nbytes
    if size < _PAGE or fresh.device.type != "cpu" or (function := _madvise()) is None:
        return fresh
    address = fresh.data_ptr()
    begin, end = -(-address // _PAGE) * _PAGE, (address + size) // _PAGE * _PAGE
    if end > begin:
        function(begin, end - begin, _MADV_HUGEPAGE)
    return fresh
