"""Slow to import, and otherwise right."""

import time

from subject.hostile import base

loss = base.poly

time.sleep(3)
