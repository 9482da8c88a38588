"""``python -m polyref``."""

from polyref.cli import main

main()
