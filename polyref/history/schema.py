"""What the file of a history holds.

A run is one document. Its grades lie beside those of other runs in the same series, and its verdicts beside those of
the same law, so that a question about one of them reads one stretch of the file. No table uses what SQLite learned
after 3.25, which is what the systems with the oldest Python 3.11 have.

SQLite has no NaN. One is held as the text ``nan``, which orders after every number, infinity too: it is the worst.
"""

from __future__ import annotations

from typing import Final

#: "Poly" in ASCII: how the file says whose it is.
APPLICATION: Final = 0x506F6C79
VERSION: Final = 1

_REAL = "{0} REAL NOT NULL CHECK (typeof({0}) = 'real' OR {0} = 'nan')"

TABLES: Final = (
    """CREATE TABLE environment (
    id INTEGER PRIMARY KEY,
    polyref TEXT NOT NULL, torch TEXT NOT NULL, framework TEXT NOT NULL, python TEXT NOT NULL,
    device TEXT NOT NULL, machine TEXT NOT NULL,
    UNIQUE (polyref, torch, framework, python, device, machine)
)""",
    # An id is never given twice, so that one in an old log is not that of another run.
    """CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL UNIQUE,
    target TEXT NOT NULL, name TEXT NOT NULL, started TEXT NOT NULL, label TEXT NOT NULL,
    environment INTEGER NOT NULL REFERENCES environment,
    profile TEXT NOT NULL, seed TEXT NOT NULL, formula TEXT NOT NULL,
    outcome TEXT NOT NULL, verdict TEXT NOT NULL
)""",
    """CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    target TEXT NOT NULL, quantity TEXT NOT NULL, format TEXT NOT NULL, device TEXT NOT NULL, regime TEXT NOT NULL,
    UNIQUE (target, quantity, format, device, regime)
)""",
    """CREATE TABLE worst_case (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
)""",
    f"""CREATE TABLE grade (
    series INTEGER NOT NULL REFERENCES series,
    run INTEGER NOT NULL REFERENCES run,
    grade TEXT NOT NULL,
    {_REAL.format("max_ulp")},
    {_REAL.format("max_ratio")},
    worst_case INTEGER REFERENCES worst_case,
    PRIMARY KEY (series, run)
) WITHOUT ROWID""",
    """CREATE TABLE law (
    id INTEGER PRIMARY KEY,
    target TEXT NOT NULL, property TEXT NOT NULL, format TEXT NOT NULL, device TEXT NOT NULL,
    UNIQUE (target, property, format, device)
)""",
    """CREATE TABLE verdict (
    law INTEGER NOT NULL REFERENCES law,
    run INTEGER NOT NULL REFERENCES run,
    verdict TEXT NOT NULL,
    ratio REAL CHECK (typeof(ratio) IN ('real', 'null') OR ratio = 'nan'),
    PRIMARY KEY (law, run)
) WITHOUT ROWID""",
)
