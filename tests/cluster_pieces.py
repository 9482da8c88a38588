"""Pieces of work for the tests of the cluster; its workers' child processes import them from here."""

from __future__ import annotations

import os
import time

from polyref.errors import NothingMeasured

begun = []


def begin():
    begun.append(os.getpid())


def state():
    return begun, os.getcwd(), os.getpid()


def add(a, b=1):
    return a + b


def slowly(a):
    time.sleep(0.3)
    return a


def refuse():
    raise NothingMeasured("there was nothing")


def divide(a):
    return a / 0


class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def odd():
    raise Odd("this", "that")  # cannot be unpickled


def end():
    os._exit(5)


def ending_audit(target, options):
    end()
