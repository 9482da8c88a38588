"""Never done importing."""

from subject.hostile import base

loss = base.poly

while True:
    pass
