"""Ends the process that imports it."""

import os

from subject.hostile import base

loss = base.poly

os._exit(3)
