"""A script that leaves when it has been read."""

import sys

from subject.hostile import base

loss = base.poly

sys.exit(0)
